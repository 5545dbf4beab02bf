"""Where arrays are stored in memory."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np

# An array object begins with what every object has, then the address of its elements: part of
# NumPy's binary interface, and four times as fast to read as to ask for.
_HEAD = object.__basicsize__


def address_of(array: np.ndarray[Any, Any] | None) -> int:
    """Return the address of an array's first element; of None, 0."""
    if array is None:
        return 0
    return _word(id(array) + _HEAD).value


def _asked(array: np.ndarray[Any, Any] | None) -> int:
    return 0 if array is None else int(array.__array_interface__["data"][0])


_word = ctypes.c_size_t.from_address
_probes: list[np.ndarray[Any, Any]] = [np.empty(3, np.float32), np.empty((2, 5), np.int64)[1:]]
if sys.implementation.name != "cpython" or any(address_of(p) != _asked(p) for p in _probes):
    address_of = _asked
