"""Arithmetic of two arrays, and PReLU, on the GPU: both by the kernel of `broadcast`."""

from __future__ import annotations

from math import prod

from fastconv.backends.base import Array
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.broadcast import folding
from fastconv.backends.cuda.engine.cells import DTYPES, as_floats
from fastconv.backends.cuda.engine.plan import OUTPUT, Argument, CudaPlan
from fastconv.backends.native.plan import INPUT, constant
from fastconv.problem import ArithmeticProblem, PreluProblem, Shape
from fastconv.problem.moves import strides_of


class Arithmetic(CudaAlgorithm):
    """NumPy's functions of the same names."""

    name = "elementwise"

    def launches(self, problem: ArithmeticProblem, *parameters: Array | None) -> CudaPlan:
        shape = problem.output_shape
        steps = [_repeated(side, shape) for side in (problem.left, problem.right)]
        launch = folding(
            (problem.function,), shape, steps, [INPUT(0), INPUT(1)], OUTPUT, problem.activation
        )
        return CudaPlan([launch])


class Prelu(CudaAlgorithm):
    """Leaky relu with a slope a channel."""

    name = "elementwise"
    dtypes = DTYPES
    moves_parameters = True

    def launches(self, problem: PreluProblem, *parameters: Array | None) -> CudaPlan:
        (slopes,) = parameters
        assert slopes is not None
        shape = problem.shape or (1,)
        step = [0] * len(shape)
        if problem.slopes > 1:
            step[-1 if problem.channels_last else 1] = 1
        operands: list[Argument] = [
            INPUT(0),
            constant(as_floats(slopes.reshape(-1), problem.dtype)),
        ]
        launch = folding(
            ("prelu",), shape, [strides_of(shape), tuple(step)], operands, OUTPUT,
            dtypes=(problem.dtype.name, problem.dtype.name),
        )  # fmt: skip
        return CudaPlan([launch])


def _repeated(side: Shape, shape: Shape) -> Shape:
    """Return the steps through an array that is repeated to ``shape``."""
    own = (1,) * (len(shape) - len(side)) + side
    return tuple(0 if n == 1 else prod(own[i + 1 :]) for i, n in enumerate(own))
