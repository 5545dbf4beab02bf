"""Raw bytes as arrays, bfloat16 among them, which NumPy has no word for."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.arrays import Array


def from_bits(data: Any, dtype: str, order: str) -> Array:
    """Return bytes as a flat array of a dtype by its name, in the machine's byte order.

    bfloat16 becomes ml_dtypes' where that is installed, else float32. Memory is shared where the
    bytes are in order.
    """
    if dtype == "bool":
        bits = np.frombuffer(data, np.uint8)
        return bits.astype(bool) if (bits > 1).any() else bits.view(bool)
    if dtype != "bfloat16":
        return _native(np.frombuffer(data, np.dtype(dtype).newbyteorder(order)))  # type: ignore[arg-type]
    bits = _native(np.frombuffer(data, np.dtype(np.uint16).newbyteorder(order)))  # type: ignore[arg-type]
    try:
        import ml_dtypes
    except ImportError:
        return (bits.astype(np.uint32) << 16).view(np.float32)
    return bits.view(ml_dtypes.bfloat16)


def _native(array: Array) -> Array:
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
