"""Kernels in C, compiled when fastconv was installed: nothing is compiled at run time."""

from __future__ import annotations

import functools
import importlib

from fastconv.backends import manifest
from fastconv.backends.native import cook_toom


@functools.cache
def why_not() -> str | None:
    """Return why the extension cannot be used here; None: it can."""
    try:
        native = importlib.import_module("fastconv.backends.c._native")
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError)
        return "the extension was not built" if missing else f"the extension does not load: {error}"
    schema = getattr(native.lib, "fastconv_schema", None)
    if schema is None or native.ffi.string(schema()).decode() != manifest.digest(
        cook_toom.POINTS, cook_toom.CHAIN_CHANNELS
    ):
        return "the extension was built for other arguments of kernels than these: build it again"
    return None
