"""Padding, interpolation and pixel shuffling by their tables, one axis after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.reference.common import Reference, narrow, wide
from fastconv.problem.resample import InterpolateProblem, PadProblem, PixelShuffleProblem


class Pad(Reference):
    """Each axis in turn takes the cells that its table names."""

    def compute(self, problem: PadProblem, parameters: Any, *inputs: Any) -> Array:
        """Compute the padded array."""
        x: Array = inputs[0]
        value = np.frombuffer(problem.value, dtype=problem.dtype)[0]
        for axis, pair in enumerate(problem.pads):
            if any(pair):
                x = _take(x, problem.sources(axis), axis, value)
        return np.array(x, order="C")


class Interpolate(Reference):
    """Each dimension in turn takes, or sums, the cells that its table names."""

    def compute(self, problem: InterpolateProblem, parameters: Any, *inputs: Any) -> Array:
        """Compute the resized array."""
        x: Array = inputs[0] if problem.copies else wide(inputs[0])
        first_axis = 1 if problem.channels_last else 2
        for dimension in range(problem.n):
            axis = first_axis + dimension
            if problem.copies:
                x = x.take(problem.sources(dimension), axis)
            else:
                taps = problem.taps(dimension)
                column = (-1, *(1,) * (x.ndim - 1 - axis))
                parts = x.take(taps.index, axis) * taps.weight.reshape(column)
                x = np.add.reduceat(parts, taps.first[:-1], axis)
        return narrow(x, problem.output_dtype)


class PixelShuffle(Reference):
    """Split the axes, permute them, join them."""

    def compute(self, problem: PixelShuffleProblem, parameters: Any, *inputs: Any) -> Array:
        """Compute the rearranged array."""
        split, order = problem.permutation()
        moved = inputs[0].reshape(-1, *split).transpose(order)
        return np.ascontiguousarray(moved).reshape(problem.output_shape)


def _take(x: Array, sources: Array, axis: int, value: Any) -> Array:
    """Take cells along an axis, and ``value`` where the source is -1."""
    shape = (*x.shape[:axis], len(sources), *x.shape[axis + 1 :])
    taken = np.full(shape, value, x.dtype)
    inside = sources >= 0
    taken[(slice(None),) * axis + (inside,)] = x.take(sources[inside], axis)
    return taken
