"""Elementwise kernels: four elements a thread, by wide loads; float32 inside."""

from __future__ import annotations

from numba import cuda
from numba import int64 as i64

from fastconv.backends.base import Array
from fastconv.backends.cuda.activation import scalar
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.engine.cells import DTYPES, Cell, Other, access, of_cells
from fastconv.backends.cuda.engine.intrinsics import map4
from fastconv.backends.cuda.engine.kernel import Body, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, Argument, CudaPlan, Launch
from fastconv.backends.native.plan import INPUT
from fastconv.problem import ElementwiseProblem
from fastconv.problem.activation import Activation

_THREADS = 256


@kernel
def elementwise(
    count: int, activation: Activation | None, source: str = "float32", target: str = "float32"
) -> tuple[Body, int]:
    """Activate ``count`` elements, of one dtype and then of another."""
    COUNT, THREADS, RAGGED = count, _THREADS, count % 4 != 0
    ACTIVATION = activation is not None
    activate = map4(scalar(activation))
    given, taken = access(source), access(target)
    load4, load_first = given.load4, given.load_first
    store4, store_first = taken.store4, taken.store_first

    def body(x: Cell, y: Other) -> None:
        place = (i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)) * i64(4)
        left = i64(COUNT) - place
        if left >= i64(4):
            four = load4(x, place)
            if ACTIVATION:
                four = activate(four)
            store4(y, place, four)
        if RAGGED:
            if (left > i64(0)) & (left < i64(4)):
                four = load_first(x, place, left)
                if ACTIVATION:
                    four = activate(four)
                store_first(y, place, four, left)

    return of_cells(body, source, target), THREADS


class Elementwise(CudaAlgorithm):
    """Activations of arrays of any rank."""

    name = "elementwise"
    dtypes = DTYPES

    def launches(self, problem: ElementwiseProblem, *parameters: Array | None) -> CudaPlan:
        return plan_elementwise(problem)


def plan_elementwise(problem: ElementwiseProblem) -> CudaPlan:
    """Plan an activation of an array of any shape."""
    count = 1
    for length in problem.shape:
        count *= length
    dtype = problem.dtype.name
    return CudaPlan([activating(count, problem.activation, INPUT(0), OUTPUT, dtype, dtype)])


def activating(
    count: int,
    activation: Activation | None,
    source: Argument,
    target: Argument,
    given: str,
    taken: str,
) -> Launch:
    """Return the launch that activates elements of the dtype ``given`` into those ``taken``."""
    kern = elementwise(count, activation, given, taken)
    return Launch(kern, (-(-count // (4 * _THREADS)), 1, 1), [source, target])
