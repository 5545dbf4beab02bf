"""Tolerances from dtype and length of the sum, and operands whose sums are exact."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def small_integers(rng: np.random.Generator, shape: Any, dtype: Any, limit: int = 3) -> Array:
    """Integers in [-limit, limit] as ``dtype``: sums of products of them are exact."""
    return rng.integers(-limit, limit + 1, shape).astype(dtype)


def sum_tolerance(dtype: Any, length: int) -> float:
    """Absolute error allowed to a sum of ``length`` products of unit-variance data.

    Roundings of random sign: 8 standard deviations of unit sqrt(length / 6) relative to the
    sum's own sqrt(length), plus the storage rounding of a result of that size.
    """
    eps = float(np.finfo(dtype).eps)
    return 8 * eps / 2 * (length / np.sqrt(6) + 6 * np.sqrt(length))


def poisoned(shape: Any, dtype: Any) -> Array:
    """An output full of NaN (integers: an odd number), so that a cell not written shows."""
    fill = np.nan if np.dtype(dtype).kind in "fc" else 113
    return np.full(shape, fill, dtype)


def flushed(array: Array) -> Array:
    """Return an array with its subnormals as zeros of their sign, as compiled kernels take them."""
    below = np.abs(array) < np.finfo(array.dtype).tiny
    return np.where(below, np.copysign(array.dtype.type(0), array), array)
