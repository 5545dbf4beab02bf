"""Cells that change their places: views made whole, arrays put side by side."""

from __future__ import annotations

from math import prod

import numpy as np

from fastconv.problem.base import Problem, Shape
from fastconv.problem.record import record


@record(frozen=True)
class StridedProblem(Problem):
    """A view of a contiguous array, copied: what transposing, slicing and flipping come to.

    ``start`` is the place of the view's first cell and ``steps`` are the cells from one to the
    next a dimension, in the flattened input.
    """

    shape: Shape
    view: Shape
    start: int
    steps: tuple[int, ...]
    function: str

    @property
    def name(self) -> str:
        return self.function

    @property
    def input_shape(self) -> Shape:
        return self.shape

    @property
    def output_shape(self) -> Shape:
        return self.view

    @property
    def bytes(self) -> int:
        return 2 * prod(self.view) * self.dtype.itemsize

    def merged(self) -> tuple[tuple[int, int], ...]:
        """Return (length, step) of as few axes as describe the view; none of length one."""
        axes: list[tuple[int, int]] = []
        for length, step in zip(self.view, self.steps, strict=True):
            if length == 1:
                continue
            if axes and axes[-1][1] == step * length:
                axes[-1] = (axes[-1][0] * length, step)
            else:
                axes.append((length, step))
        return tuple(axes)


@record(frozen=True)
class ConcatenateProblem(Problem):
    """Arrays side by side along ``axis``; all other lengths agree."""

    shapes: tuple[Shape, ...]
    axis: int

    @property
    def name(self) -> str:
        return "concatenate"

    @property
    def input_shape(self) -> Shape:
        return self.shapes[0]

    @property
    def output_shape(self) -> Shape:
        first = list(self.shapes[0])
        first[self.axis] = sum(shape[self.axis] for shape in self.shapes)
        return tuple(first)

    @property
    def bytes(self) -> int:
        return 2 * prod(self.output_shape) * self.dtype.itemsize

    @property
    def runs(self) -> tuple[int, tuple[int, ...]]:
        """How many rows there are, and how many cells of each every array gives."""
        rows = prod(self.shapes[0][: self.axis])
        return rows, tuple(prod(shape[self.axis :]) for shape in self.shapes)


def strides_of(shape: Shape) -> tuple[int, ...]:
    """Return the cells from one to the next a dimension in a contiguous array."""
    return tuple(int(n) for n in np.cumprod([1, *shape[:0:-1]])[::-1]) if shape else ()
