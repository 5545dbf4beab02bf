"""Softmax on the GPU, along any axis: subtract the largest, exponentiate, divide by the sum.

Lanes sum every so many cells, compensated as Kahan does (Further remarks on reducing truncation
errors, 1965), and a tree adds the lanes: the order depends on the axis alone.
"""

from __future__ import annotations

import numpy as np
from numba import cuda
from numba import float32 as f32
from numba import int32 as i32
from numba import int64 as i64

from fastconv.backends.base import Array
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.engine.blocks import THREADS, Lanes, lanes_for, max_tree, sum_tree
from fastconv.backends.cuda.engine.cells import DTYPES, Cell, access, of_cells
from fastconv.backends.cuda.engine.intrinsics import exp, log
from fastconv.backends.cuda.engine.kernel import Body, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, CudaPlan, Launch
from fastconv.backends.native.plan import INPUT
from fastconv.problem import SoftmaxProblem


@kernel
def softmax(
    outer: int, length: int, inner: int, lanes: Lanes, log_of: bool, dtype: str = "float32"
) -> tuple[Body, int]:
    """Normalise columns of ``length`` cells that are ``inner`` apart."""
    ITEMS, LENGTH, INNER = outer * inner, length, inner
    LANES, STEP, COLUMNS = lanes.count, lanes.step, lanes.columns
    BESIDE, CELLS, LOG = inner == 1, THREADS, log_of
    load, store = access(dtype).load, access(dtype).store

    def body(x: Cell, y: Cell) -> None:
        cells = cuda.shared.array(CELLS, f32)
        thread = i32(cuda.threadIdx.x)
        lane = thread % i32(LANES) if BESIDE else thread // i32(COLUMNS)
        column = thread // i32(LANES) if BESIDE else thread % i32(COLUMNS)
        # Columns behind the last are computed as that one, and not stored.
        item = i64(cuda.blockIdx.x) * i64(COLUMNS) + i64(column)
        own = min(item, i64(ITEMS - 1))
        base = own // i64(INNER) * i64(LENGTH * INNER) + own % i64(INNER)
        most = f32(-np.inf)
        for j in range(lane, LENGTH, LANES):
            value = load(x, base + i64(j) * i64(INNER))
            most = most if most != most or most >= value else value
        cells[thread] = most
        most = max_tree(cells, thread, lane, i32(STEP), i32(LANES))
        total, lost = f32(0), f32(0)
        for j in range(lane, LENGTH, LANES):
            term = exp(load(x, base + i64(j) * i64(INNER)) - most) - lost
            bigger = total + term
            lost = (bigger - total) - term
            total = bigger
        cells[thread] = total
        total = sum_tree(cells, thread, lane, i32(STEP), i32(LANES))
        if item < i64(ITEMS):
            for j in range(lane, LENGTH, LANES):
                place = base + i64(j) * i64(INNER)
                below = load(x, place) - most
                if LOG:
                    store(y, place, below - log(total))
                else:
                    store(y, place, exp(below) / total)

    return of_cells(body, dtype), THREADS


class Softmax(CudaAlgorithm):
    """Three passes over an axis."""

    name = "softmax"
    dtypes = DTYPES

    def why_not(self, problem: SoftmaxProblem) -> str | None:
        if problem.dtype != problem.result:
            return f"dtype {problem.result.name} is not the input's: convert it before the call"
        return super().why_not(problem)

    def error_bound(self, problem: SoftmaxProblem) -> float:
        # Two roundings of a compensated sum, the tree's, the exponentials', the quotient's.
        lanes = lanes_for(*problem.extents[1:])
        return (lanes.levels + 8) * float(np.finfo(np.float32).eps)

    def launches(self, problem: SoftmaxProblem, *parameters: Array | None) -> CudaPlan:
        return plan_softmax(problem)


def plan_softmax(problem: SoftmaxProblem) -> CudaPlan:
    """Plan softmax, or its logarithm, along an axis."""
    outer, length, inner = problem.extents
    lanes = lanes_for(length, inner)
    kern = softmax(outer, length, inner, lanes, problem.log, problem.dtype.name)
    blocks = -(-outer * inner // lanes.columns)
    return CudaPlan([Launch(kern, (blocks, 1, 1), [INPUT(0), OUTPUT])])
