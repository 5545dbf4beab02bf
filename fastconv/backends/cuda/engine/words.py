"""Elements of any dtype, moved as words of as many bytes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numba import int32, int64, uint8, uint16

from fastconv.backends.cuda.engine.kernel import Body

# What a kernel's parameters are annotated with whose elements `of_words` decides.
Word: TypeAlias = Any

# Bytes: the element that a kernel is written for, and its type. Sixteen bytes are four elements.
_WORDS = {
    1: ("UInt8", uint8),
    2: ("UInt16", uint16),
    4: ("Int32", int32),
    8: ("Int64", int64),
    16: ("Int32", int32),
}


def of_words(body: Body, size: int) -> Body:
    """Return a kernel's function with its ``Word`` parameters as addresses of words of ``size``."""
    name, _ = _WORDS[size]
    told = body.__annotations__
    body.__annotations__ = {k: name if v == "Word" else v for k, v in told.items()}
    return body


def type_of(size: int) -> Any:
    """Return Numba's type of the elements of which words of ``size`` bytes are made."""
    return _WORDS[size][1]


def why_not_words(dtype: np.dtype[Any]) -> str | None:
    """Return why elements cannot be moved as words; None: they can."""
    return None if dtype.itemsize in _WORDS else f"{dtype.name}: no word has its size"


def widest(itemsize: int, counts: list[int]) -> int:
    """Return the bytes of the widest word of which all ``counts`` of elements are whole ones."""
    return max(
        size
        for size in _WORDS
        if size % itemsize == 0 and not any(n * itemsize % size for n in counts)
    )
