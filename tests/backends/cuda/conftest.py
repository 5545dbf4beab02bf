"""Kernels are simulated in some processes and compiled in others: a file is for one or the other.

`make test-cuda` runs both. Elsewhere each file is skipped, with the reason.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from fastconv.backends.cuda import why_not_compile

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
# Kernels of these are compiled, those of all others simulated.
COMPILED = "test_compiled"


def why_not(path: Path) -> str | None:
    missing = why_not_compile()
    if missing is not None:
        return missing
    if path.name.startswith(COMPILED):
        return "kernels are simulated in this process" if SIMULATED else None
    return None if SIMULATED else "kernels are simulated where NUMBA_ENABLE_CUDASIM=1"


class Skipped(pytest.Module):
    """A file that is not imported."""

    def collect(self) -> Any:
        pytest.skip(str(why_not(self.path)), allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: Any) -> pytest.Module | None:
    if why_not(module_path) is None:
        return None
    return Skipped.from_parent(parent, path=module_path)
