"""Kernels on NVIDIA GPUs, compiled by numba-cuda for the installed GPU."""

from __future__ import annotations

import functools
import importlib.util


@functools.cache
def why_not_compile() -> str | None:
    """Return why kernels cannot be compiled here; None: they can. No driver is asked."""
    needed = {
        "numba_cuda": "numba-cuda",
        "cuda.core": "cuda-core",
        "cuda.bindings": "cuda-bindings",
    }
    for module, package in needed.items():
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            return f"{package} is not installed: pip install 'fastconv[cuda]'"
    return None
