"""Weights of weighted pools, in three dimensions, and their sums where not all are counted."""

from __future__ import annotations

import numpy as np

from fastconv.backends.base import Array
from fastconv.problem import PoolProblem
from fastconv.problem.pool import Windows, window_weights


def weights_of(problem: PoolProblem, given: Array | None) -> Array:
    """Return the weights of a window in three dimensions, in float64: they sum to 1."""
    assert problem.weights is not None
    wide = window_weights(problem.weights, problem.kernel_size) if given is None else given
    weights = np.asarray(wide, np.float64).reshape(*(1,) * (3 - problem.n), *problem.kernel_size)
    result: Array = weights / weights.sum()
    return result


def counted_kinds(windows: Windows) -> tuple[Array, Array]:
    """Return the different ranges of taps that are counted, and which one each output has."""
    ranges = np.stack([windows.counted_from, windows.counted_to], axis=1)
    kinds, of_place = np.unique(ranges, axis=0, return_inverse=True)
    return kinds, of_place.reshape(-1)


def counted_sums(weights: Array, kinds: list[Array]) -> Array:
    """Sum the weights over every combination of ranges; exactly 1 where all are counted."""
    sums = np.ones([len(k) for k in kinds])
    for place in np.ndindex(*sums.shape):
        ranges = [tuple(k[i]) for k, i in zip(kinds, place, strict=True)]
        if ranges != [(0, length) for length in weights.shape]:
            sums[place] = weights[tuple(slice(*r) for r in ranges)].sum()
    return sums
