"""Tests that need a GPU and PyTorch's build for it; elsewhere each file is skipped, with a word.

`make gpu` runs them, under compute-sanitizer too.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from fastconv.backends.cuda import why_not_compile


@functools.cache
def why_not() -> str | None:
    missing = why_not_compile()
    if missing is not None:
        return missing
    import torch

    return None if torch.cuda.is_available() else "there is no GPU that torch knows"


class Skipped(pytest.Module):
    """A file that is not imported."""

    def collect(self) -> Any:
        pytest.skip(str(why_not()), allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: Any) -> pytest.Module | None:
    return None if why_not() is None else Skipped.from_parent(parent, path=module_path)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "small: shapes that a sanitizer runs in seconds")
