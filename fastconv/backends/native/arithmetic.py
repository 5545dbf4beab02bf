"""Two arrays put together element by element: rows of either, or of one number of one of them."""

from __future__ import annotations

from math import prod
from typing import Any

from fastconv.backends.base import Array
from fastconv.backends.manifest.elements import Arithmetic as Operands
from fastconv.backends.native.channelwise import Rows
from fastconv.backends.native.plan import INPUT, OUTPUT, NativePlan, Slot, Stage
from fastconv.backends.native.pointwise import Pointwise, limits_of
from fastconv.problem import ArithmeticProblem
from fastconv.problem.moves import strides_of

_Axis = tuple[int, int, int]


class Arithmetic(Pointwise):
    """Rows of elements; what is broadcast is read again."""

    name = "rows"

    def why_not(self, problem: ArithmeticProblem) -> str | None:
        if len(_axes(problem)) > Operands.DIMENSIONS + 1:
            return "shapes that broadcast in too many dimensions"
        return super().why_not(problem)

    def operations(self, problem: ArithmeticProblem) -> float:
        return 1 + self.ending(problem)

    def plan(self, problem: ArithmeticProblem, *parameters: Array | None) -> NativePlan:
        return self.ended_plan(problem, [self.stage(problem, INPUT(0), INPUT(1), OUTPUT)])

    def stage(self, problem: ArithmeticProblem, left: Slot, right: Slot, target: Slot) -> Stage:
        """Return the one stage."""
        *outer, (length, left_each, right_each) = _axes(problem)
        rows = Rows(prod(n for n, _, _ in outer), length)
        padded = [(1, 0, 0)] * (Operands.DIMENSIONS - len(outer)) + outer
        lengths, left_steps, right_steps = zip(*padded, strict=True)
        kernel = self.library.kernel("arithmetic", problem.function, problem.dtype.name)
        low, high = limits_of(problem.activation)
        arguments = Operands(
            left=left, target=target, right=right, left_each=left_each, right_each=right_each,
            lengths=lengths, left_steps=left_steps, right_steps=right_steps, low=low, high=high,
            **rows.fields,
        )  # fmt: skip
        return Stage(kernel, rows.items, arguments)


def _axes(problem: ArithmeticProblem) -> list[_Axis]:
    """Return (length, step of left, step of right) of as few axes as there can be, at least one."""
    shape = problem.output_shape
    columns: Any = zip(
        shape, _steps(problem.left, shape), _steps(problem.right, shape), strict=True
    )
    axes: list[_Axis] = []
    for length, left, right in columns:
        if length == 1:
            continue
        if axes and axes[-1][1:] == (left * length, right * length):
            axes[-1] = (axes[-1][0] * length, left, right)
        else:
            axes.append((length, left, right))
    # The last one's elements are neighbours in one of the two at least.
    return axes or [(1, 1, 1)]


def _steps(given: tuple[int, ...], shape: tuple[int, ...]) -> list[int]:
    whole = (1,) * (len(shape) - len(given)) + given
    steps = strides_of(whole)
    return [0 if n == 1 else int(step) for n, step in zip(whole, steps, strict=True)]
