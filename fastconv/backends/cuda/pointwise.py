"""Elementwise kernels: four elements a thread, by wide loads."""

from __future__ import annotations

from numba import cuda
from numba import int64 as i64

from fastconv.backends.base import Array
from fastconv.backends.cuda.activation import scalar
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.engine.intrinsics import load4, load_first, map4, store4, store_first
from fastconv.backends.cuda.engine.kernel import Body, Float32, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, CudaPlan, Launch
from fastconv.backends.native.plan import INPUT
from fastconv.problem import ElementwiseProblem
from fastconv.problem.activation import Activation

_THREADS = 256


@kernel
def elementwise(count: int, activation: Activation) -> tuple[Body, int]:
    """Activate ``count`` elements."""
    COUNT, THREADS, RAGGED = count, _THREADS, count % 4 != 0
    activate = map4(scalar(activation))

    def body(x: Float32, y: Float32) -> None:
        place = (i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)) * i64(4)
        left = i64(COUNT) - place
        if left >= i64(4):
            store4(y, place, activate(load4(x, place)))
        if RAGGED:
            if (left > i64(0)) & (left < i64(4)):
                store_first(y, place, activate(load_first(x, place, left)), left)

    return body, THREADS


class Elementwise(CudaAlgorithm):
    """Activations of arrays of any rank."""

    name = "elementwise"

    def launches(self, problem: ElementwiseProblem, *parameters: Array | None) -> CudaPlan:
        return plan_elementwise(problem)


def plan_elementwise(problem: ElementwiseProblem) -> CudaPlan:
    """Plan an activation of an array of any shape."""
    count = 1
    for length in problem.shape:
        count *= length
    blocks = -(-count // (4 * _THREADS))
    kern = elementwise(count, problem.activation)
    return CudaPlan([Launch(kern, (blocks, 1, 1), [INPUT(0), OUTPUT])])
