"""Sums, smallest and largest elements along axes that are side by side."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.values import check_dtype, one_of

FUNCTIONS = ("sum", "min", "max")


@record(frozen=True)
class ReduceProblem(Problem):
    """One of ``FUNCTIONS`` along axes ``first`` to ``last`` - 1 of an array, kept as length 1.

    NaN is the smallest and the largest of all. Sums are of floats in the dtype, long ones by blocks
    that are added in float64.
    """

    shape: Shape
    first: int
    last: int
    function: str

    @classmethod
    @remembered
    def of(cls, input: ArraySpec, function: str, first: int, last: int) -> ReduceProblem:
        """Validate: float32 or float64, and something to reduce."""
        one_of(function, FUNCTIONS, "function")
        dtype = check_dtype(input, ("float32", "float64"), f"input of {function}")
        shape = tuple(input.shape)
        if not 0 <= first < last <= len(shape) or 0 in shape:
            raise ValueError(
                f"{function} needs elements along axes {first} to {last - 1} of {list(shape)}"
            )
        return cls(dtype, shape, first, last, function)

    @property
    def name(self) -> str:
        return f"reduce_{self.function}"

    @property
    def input_shape(self) -> Shape:
        return self.shape

    @property
    def output_shape(self) -> Shape:
        kept = (1,) * (self.last - self.first)
        return (*self.shape[: self.first], *kept, *self.shape[self.last :])

    @property
    def extents(self) -> tuple[int, int, int]:
        """Elements before, along and after the axes."""
        shape, first, last = self.shape, self.first, self.last
        return prod(shape[:first]), prod(shape[first:last]), prod(shape[last:])


def side_by_side(axes: Sequence[int] | None, shape: Sequence[int]) -> tuple[int, int] | None:
    """Return the first axis and the one after the last of those reduced.

    None where others of more than one element are between them, or there are none.
    """
    rank = len(shape)
    given = set(range(rank)) if axes is None else {a % rank for a in axes}
    if not given:
        return None
    first, last = min(given), max(given) + 1
    between: Any = (shape[a] for a in range(first, last) if a not in given)
    return (first, last) if all(n == 1 for n in between) else None
