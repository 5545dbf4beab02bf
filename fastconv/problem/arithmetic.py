"""Two arrays put together element by element, with broadcasting."""

from __future__ import annotations

from math import prod

import numpy as np

from fastconv.problem.activation import Activation
from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.values import check_dtype, check_same_dtype, one_of

FUNCTIONS = ("add", "subtract", "multiply", "divide", "maximum", "minimum")
DTYPES = ("float32", "float64")


@record(frozen=True)
class ArithmeticProblem(Problem):
    """function(left, right), named as NumPy names it; NaN wins in maximum and minimum.

    An ``activation`` of the result is what networks put there.
    """

    function: str
    left: Shape
    right: Shape
    activation: Activation | None = None

    @classmethod
    @remembered
    def of(cls, function: str, input: ArraySpec, weight: ArraySpec) -> ArithmeticProblem:
        """Validate: two arrays of one dtype, float32 or float64, that broadcast."""
        one_of(function, FUNCTIONS, "function")
        dtype = check_dtype(input, DTYPES, f"input of {function}")
        check_same_dtype(input, weight, ("left", "right"))
        np.broadcast_shapes(tuple(input.shape), tuple(weight.shape))
        return cls(dtype, function, tuple(input.shape), tuple(weight.shape))

    @property
    def name(self) -> str:
        return self.function

    @property
    def input_shape(self) -> Shape:
        return self.left

    @property
    def output_shape(self) -> Shape:
        if self.left == self.right:
            return self.left
        return tuple(np.broadcast_shapes(self.left, self.right))

    @property
    def flops(self) -> int:
        return prod(self.output_shape)

    @property
    def bytes(self) -> int:
        cells = prod(self.left) + prod(self.right) + prod(self.output_shape)
        return cells * self.dtype.itemsize
