"""The intrinsics for Numba's simulator, in which kernels run as Python on NumPy arrays.

They check what the hardware asks for: a misaligned wide access is an error here too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def _quiet(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of NumPy's that gives infinities and NaN without a warning."""

    def called(x: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.float32(function(x))

    return called


exp, expm1, log, log1p, tanh, sqrt = map(
    _quiet, (np.exp, np.expm1, np.log, np.log1p, np.tanh, np.sqrt)
)
erfc = _quiet(lambda x: math.erfc(float(x)))


def _check(array: Any, index: Any) -> None:
    start = np.asarray(array).ctypes.data + int(index) * array.dtype.itemsize
    if start % 16:
        raise ValueError(f"a 16-byte access of element {int(index)}: misaligned by {start % 16}")
    if not 0 <= index <= len(array) - 4:
        raise IndexError(f"elements {int(index)} to {int(index) + 3} of {len(array)}")


def load(source: Any, index: Any) -> Any:
    """Load one element."""
    return load_where(source, index, True)


def load4(source: Any, index: Any) -> tuple[Any, Any, Any, Any]:
    """Load four elements from ``index`` on."""
    _check(source, index)
    a, b, c, d = (source[index + i] for i in range(4))
    return a, b, c, d


def load4_where(source: Any, index: Any, inside: Any) -> tuple[Any, Any, Any, Any]:
    """Do as `load4` where ``inside``; else give zeros."""
    zero = source.dtype.type(0)
    return load4(source, index) if inside else (zero, zero, zero, zero)


def load_first(source: Any, index: Any, count: Any) -> tuple[Any, Any, Any, Any]:
    """Load the first ``count`` of four elements, and zeros for the others."""
    a, b, c, d = (load_where(source, index + i, i < count) for i in range(4))
    return a, b, c, d


def map4(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return what does a function of one number to each of four."""

    def mapped(four: tuple[Any, ...]) -> tuple[Any, ...]:
        # Threads of the simulator have a state of their own.
        with np.errstate(all="ignore"):
            return tuple(map(function, four))

    return mapped


def combine4(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Return what does a function of two numbers to four pairs."""

    def combined(left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, ...]:
        with np.errstate(all="ignore"):
            return tuple(map(function, left, right))

    return combined


def load_where(source: Any, index: Any, inside: Any) -> Any:
    """Load one element where ``inside``; else give zero."""
    if not inside:
        return source.dtype.type(0)
    if index < 0:
        raise IndexError(f"element {int(index)}")
    return source[index]


def store_first(target: Any, index: Any, four: tuple[Any, ...], count: Any) -> None:
    """Store the first ``count`` of four elements."""
    for i, value in enumerate(four):
        if i < count:
            target[index + i] = value


def take4(array: Any, index: Any) -> tuple[Any, Any, Any, Any]:
    """Return four elements of a local array as a tuple."""
    a, b, c, d = (array[index + i] for i in range(4))
    return a, b, c, d


def put4(array: Any, index: Any, four: tuple[Any, ...]) -> None:
    """Write a tuple to four elements of a local array."""
    for i, value in enumerate(four):
        array[index + i] = value


def fill(array: Any, count: int, value: Any) -> None:
    """Write a value to the first ``count`` elements of a local array."""
    array[:count] = value


def add4(left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, Any, Any, Any]:
    """Add two tuples of four, element by element."""
    a, b, c, d = (x + y for x, y in zip(left, right, strict=True))
    return a, b, c, d


def store(target: Any, index: Any, value: Any) -> None:
    """Store one element."""
    if index < 0:
        raise IndexError(f"element {int(index)}")
    target[index] = value


def store4(target: Any, index: Any, four: tuple[Any, ...]) -> None:
    """Store four elements from ``index`` on."""
    _check(target, index)
    for i, value in enumerate(four):
        target[index + i] = value


def multiply_add(sums: Any, left: tuple[Any, ...], right: tuple[Any, ...]) -> None:
    """Add the outer product of two tuples to a local array; each sum is rounded once."""
    with np.errstate(all="ignore"):
        product = np.outer(np.array(left, np.float64), np.array(right, np.float64))
        sums[...] = (np.asarray(sums, np.float64) + product.ravel()).astype(np.float32)


def multiply_add_at(sums: Any, start: Any, left: tuple[Any, ...], right: tuple[Any, ...]) -> None:
    """Do as `multiply_add` to the elements from ``start`` on."""
    multiply_add(sums[start : start + len(left) * len(right)], left, right)


def multiply_add4(sums: Any, index: Any, left: tuple[Any, ...], right: tuple[Any, ...]) -> None:
    """Add the products of four pairs to a local array; each sum is rounded once."""
    own = sums[index : index + 4]
    with np.errstate(all="ignore"):
        product = np.array(left, np.float64) * np.array(right, np.float64)
        own[...] = (np.asarray(own, np.float64) + product).astype(np.float32)
