"""Calls as Python objects: what the extension module `_objects` does faster than Python can.

It reads NumPy's arrays as its binary interface lays them out, after a look whether they are so.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.backends.native.addresses import address_of

# Arrays that `run` takes.
MOST_ARRAYS = 30

# Run a program: its address, the arrays in order, workspace, scratch memory, threads.
run: Callable[[int, tuple[Any, ...], int, int, int], None] | None = None
# Return a call's key, arrays, out and first parameter, from a state, arguments and options; None
# for what is out of the ordinary.
key_of: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any] | None = None


def begin(parameter: type) -> None:
    """Have the functions above, where the extension is there and reads arrays right."""
    global run, key_of
    try:
        module: Any = importlib.import_module("fastconv.backends.c._objects")
        native = importlib.import_module("fastconv.backends.c._native")
    except ImportError:
        return
    if not all(_is_read_right(module, probe) for probe in _probes()):
        return
    drive = int(native.ffi.cast("intptr_t", native.ffi.addressof(native.lib, "fastconv_drive")))
    module.begin(np.ndarray, parameter, drive)
    run, key_of = module.run, module.key_of


def _probes() -> list[np.ndarray[Any, Any]]:
    whole = np.zeros((2, 3, 5), np.float32)
    return [whole, whole[:, 1:], np.zeros((), ">f8"), np.zeros(7, np.int64), whole.T]


def _is_read_right(module: Any, array: np.ndarray[Any, Any]) -> bool:
    data, shape, flags, kind, order, number = module.describe(array)
    dtype = array.dtype
    return bool(
        data == address_of(array)
        and shape == array.shape
        and flags & 0x501 == array.flags.num & 0x501
        and (kind, order, number) == (dtype.kind, dtype.byteorder, dtype.num)
    )
