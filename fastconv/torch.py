"""PyTorch modules on fastconv's kernels.

`convert` makes a network of a module. Importing this module also registers the backend of
``torch.compile(module, backend="fastconv")``, which an installed fastconv is found as without it.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ImportError:
    raise ImportError("fastconv.torch needs PyTorch: pip install 'fastconv[torch]'") from None

import contextlib as _contextlib

from torch._dynamo import register_backend as _register_backend

from fastconv.formats.torch.backend import compile_graph as compile_graph
from fastconv.formats.torch.program import convert as convert

# Registered already where torch has found it by its entry point.
with _contextlib.suppress(AssertionError):
    _register_backend(compile_graph, name="fastconv")

__all__ = ["compile_graph", "convert"]
