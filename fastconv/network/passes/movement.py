"""Views and copies of views, as what they are: places in the flattened input a dimension."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from math import prod

from fastconv.network.program import Op, Program, Solve, View
from fastconv.problem import Shape, StridedProblem
from fastconv.problem.moves import strides_of
from fastconv.problem.remember import Spec

# Length, and cells of the flattened input from one place to the next.
Axis = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Movement:
    """The output's dimensions, each of one axis or several of the input, from a first cell on."""

    shape: Shape
    start: int
    dimensions: tuple[tuple[Axis, ...], ...]

    @property
    def output_shape(self) -> Shape:
        """Shape of the result."""
        return tuple(prod(length for length, _ in axes) for axes in self.dimensions)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """All axes in the output's order."""
        return tuple(axis for axes in self.dimensions for axis in axes)

    @property
    def is_free(self) -> bool:
        """Whether the result's cells are stored one after the other already."""
        lengths = tuple(length for length, _ in self.axes)
        pairs = zip(self.axes, strides_of(lengths), strict=True)
        return all(length == 1 or step == wanted for (length, step), wanted in pairs)

    def operations(self, spec: Spec, layer: str, kind: str) -> Iterator[tuple[Op, Shape]]:
        """Yield the operations that do it, without values, each with its result's shape."""
        out = self.output_shape
        if self.is_free:
            yield View((), (), layer, kind, self.start), out
            return
        view = tuple(length for length, _ in self.axes)
        steps = tuple(step for _, step in self.axes)
        problem = StridedProblem(spec.dtype, self.shape, view, self.start, steps, kind)
        yield Solve((), (), layer, kind, problem), view
        if view != out:
            yield View((), (), layer, kind), out

    def reshaped(self, shape: Shape) -> Movement | None:
        """Return the same cells in another shape, where its dimensions are runs of axes."""
        axes = list(self.axes)
        dimensions: list[tuple[Axis, ...]] = []
        for length in shape:
            run: list[Axis] = []
            while prod(n for n, _ in run) < length and axes:
                run.append(axes.pop(0))
            if prod(n for n, _ in run) != length:
                return None
            dimensions.append(tuple(run))
        if any(length != 1 for length, _ in axes):
            return None
        return dataclasses.replace(self, dimensions=tuple(dimensions))

    def turned(self) -> Movement | None:
        """Return the same with the second dimension last; None: it has not 3 to 5 dimensions."""
        if len(self.dimensions) not in (3, 4, 5):
            return None
        first, channels, *rest = self.dimensions
        return dataclasses.replace(self, dimensions=(first, *rest, channels))

    def placed(self) -> Movement | None:
        """Return the movement for an input with channels last; None: its axes do not tell.

        A step in the flattened input is one along one of its dimensions, or along several that
        are gone through from end to end.
        """
        logical = strides_of(self.shape)
        physical = _physical(self.shape)
        at = _place(self.start, self.shape)
        reach = [[c, c] for c in at]
        dimensions: list[tuple[Axis, ...]] = []
        for axes in self.dimensions:
            run: list[Axis] = []
            for axis in axes:
                split = _split(axis, self.shape, logical, at)
                if split is None:
                    return None
                for length, dimension, count in split:
                    run.append((length, count * physical[dimension] if dimension >= 0 else 0))
                    if dimension >= 0:
                        reach[dimension][int(count > 0)] += (length - 1) * count
            dimensions.append(tuple(run) or ((1, 0),))
        if any(low < 0 or high >= n for (low, high), n in zip(reach, self.shape, strict=True)):
            return None
        start = sum(c * step for c, step in zip(at, physical, strict=True))
        return Movement(last_shape(self.shape), start, tuple(dimensions))


def movement_of(op: Op, program: Program) -> Movement | None:
    """Return what a view or a copy of one moves; None for other operations."""
    if isinstance(op, View):
        shape = tuple(program.values[op.reads[0]].shape)
        out = tuple(program.values[op.outputs[0]].shape)
        return Movement(shape, op.start, _single(out, strides_of(out)))
    if isinstance(op, Solve) and isinstance(op.problem, StridedProblem):
        problem = op.problem
        return Movement(problem.shape, problem.start, _single(problem.view, problem.steps))
    return None


def to_last(shape: Shape) -> Movement:
    """Return the movement from channels first to channels last."""
    dimensions = _single(shape, strides_of(shape))
    return Movement(shape, 0, (dimensions[0], *dimensions[2:], dimensions[1]))


def to_first(shape: Shape) -> Movement:
    """Return the movement back, to channels first of ``shape``."""
    return Movement(last_shape(shape), 0, _single(shape, _physical(shape)))


def last_shape(shape: Shape) -> Shape:
    """Return an image batch's shape with its channels last."""
    return (shape[0], *shape[2:], shape[1])


def _single(shape: Shape, steps: tuple[int, ...]) -> tuple[tuple[Axis, ...], ...]:
    return tuple(((length, step),) for length, step in zip(shape, steps, strict=True))


def _physical(shape: Shape) -> tuple[int, ...]:
    """Return the cells from one to the next a dimension (N, C, ...) where channels are last."""
    first, *spatial, channels = strides_of(last_shape(shape))
    return (first, channels, *spatial)


def _place(cell: int, shape: Shape) -> tuple[int, ...]:
    """Return the place of a cell of the flattened array."""
    place = []
    for length in reversed(shape):
        place.append(cell % length)
        cell //= length
    return tuple(reversed(place))


def _split(
    axis: Axis, shape: Shape, logical: tuple[int, ...], at: tuple[int, ...]
) -> list[tuple[int, int, int]] | None:
    """Return (length, dimension, cells along it) of the parts of an axis, the outermost first."""
    length, step = axis
    if length == 1 or step == 0:
        return [(length, -1, 0)]
    # Of dimensions of one stride, those of length one say nothing.
    able = [d for d, n in enumerate(shape) if n > 1 and step % logical[d] == 0]
    if not able:
        return None
    dimension = able[0]
    count = step // logical[dimension]
    last = at[dimension] + count * (length - 1)
    if 0 <= last < shape[dimension]:
        return [(length, dimension, count)]
    whole = shape[dimension] // count if count > 0 and shape[dimension] % count == 0 else 0
    if whole < 1 or at[dimension] != 0 or length % whole:
        return None
    outer = _split((length // whole, step * whole), shape, logical, at)
    return None if outer is None else [*outer, (whole, dimension, count)]
