"""Local response normalisation on the GPU: a window of channels summed again for each of them."""

from __future__ import annotations

from math import prod

import numpy as np
from numba import cuda
from numba import float32 as f32
from numba import int32 as i32
from numba import int64 as i64

from fastconv.backends.base import Array
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.engine.cells import DTYPES, Cell, access, of_cells
from fastconv.backends.cuda.engine.intrinsics import sqrt
from fastconv.backends.cuda.engine.kernel import Body, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, CudaPlan, Launch
from fastconv.backends.native.plan import INPUT
from fastconv.problem import LocalResponseNormProblem

_THREADS = 256


@kernel
def response(problem: LocalResponseNormProblem) -> tuple[Body, int]:
    """Divide each cell by a power of its neighbours' mean square."""
    THREADS, CHANNELS = _THREADS, problem.channels
    ITEMS = prod(problem.input_shape)
    # Cells from a channel to the next.
    STEP = 1 if problem.channels_last else prod(problem.size)
    BEFORE, AFTER = problem.before, problem.after
    FACTOR, TERM, BETA = problem.alpha / problem.neighbours, problem.k, problem.beta
    ROOTS = problem.beta == 0.75
    load, store = access(problem.dtype.name).load, access(problem.dtype.name).store

    def body(x: Cell, y: Cell) -> None:
        place = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
        if place < i64(ITEMS):
            channel = i32(place // i64(STEP) % i64(CHANNELS))
            first = max(channel - i32(BEFORE), i32(0))
            last = min(channel + i32(AFTER), i32(CHANNELS - 1))
            total = f32(0)
            for other in range(first, last + i32(1)):
                value = load(x, place + i64(other - channel) * i64(STEP))
                total += value * value
            base = f32(TERM) + f32(FACTOR) * total
            if ROOTS:
                root = sqrt(base)
                store(y, place, load(x, place) / (root * sqrt(root)))
            else:
                store(y, place, load(x, place) / base ** f32(BETA))

    return of_cells(body, problem.dtype.name), THREADS


class LocalResponseNorm(CudaAlgorithm):
    """A thread a cell: its neighbours are in the cache."""

    name = "direct"
    dtypes = DTYPES

    def error_bound(self, problem: LocalResponseNormProblem) -> float:
        reach = min(problem.neighbours, problem.channels)
        return (abs(problem.beta) * (reach + 2) + 6) * float(np.finfo(np.float32).eps)

    def launches(self, problem: LocalResponseNormProblem, *parameters: Array | None) -> CudaPlan:
        blocks = -(-prod(problem.input_shape) // _THREADS)
        return CudaPlan([Launch(response(problem), (blocks, 1, 1), [INPUT(0), OUTPUT])])
