"""Weighted averages on the GPU: one channel of one output a thread, windows read by tables."""

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
from fastconv.backends.cuda.engine.kernel import Body, Float32, Int32, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, Argument, CudaPlan, Launch
from fastconv.backends.native.conv.geometry import lead
from fastconv.backends.native.plan import INPUT, constant
from fastconv.backends.native.pool.weights import counted_kinds, counted_sums, weights_of
from fastconv.problem import PoolProblem
from fastconv.problem.pool import Windows

_THREADS = 256
# Of each output of a dimension: its first cell, the one behind its last, the first cell's tap, and
# which of the different ranges of taps its mean is over.
_WORDS = 4


@kernel
def pool_weighted(
    problem: PoolProblem, kinds: tuple[int, int, int], steps: tuple[int, int, int]
) -> tuple[Body, int]:
    """Average cells by their taps' weights."""
    _, IN_H, IN_W = lead(problem.input_size, 1)
    OUT_D, OUT_H, OUT_W = lead(problem.output_size, 1)
    _, TAPS_H, TAPS_W = lead(problem.kernel_size, 1)
    STEP_D, STEP_H, STEP_W = steps
    _, KINDS_H, KINDS_W = kinds
    LANES, CELLS = problem.channels if problem.channels_last else 1, prod(problem.input_size)
    ITEMS, THREADS, WORDS = prod(problem.output_shape), _THREADS, _WORDS
    ROWS, COLUMNS = OUT_D, OUT_D + OUT_H
    load, store = access(problem.dtype.name).load, access(problem.dtype.name).store

    def body(x: Cell, table: Int32, weight: Float32, sums: Float32, y: Cell) -> None:
        item = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
        if item < i64(ITEMS):
            lane = item % i64(LANES)
            rest = item // i64(LANES)
            w = (i32(COLUMNS) + i32(rest % i64(OUT_W))) * i32(WORDS)
            rest = rest // i64(OUT_W)
            h = (i32(ROWS) + i32(rest % i64(OUT_H))) * i32(WORDS)
            rest = rest // i64(OUT_H)
            d = i32(rest % i64(OUT_D)) * i32(WORDS)
            image = rest // i64(OUT_D) * i64(CELLS)
            total = f32(0)
            tap_d = table[d + i32(2)]
            for z in range(table[d], table[d + i32(1)], STEP_D):
                tap_h = tap_d * i32(TAPS_H) + table[h + i32(2)]
                for v in range(table[h], table[h + i32(1)], STEP_H):
                    line = (i64(z) * i64(IN_H) + i64(v)) * i64(IN_W)
                    tap = tap_h * i32(TAPS_W) + table[w + i32(2)]
                    for u in range(table[w], table[w + i32(1)], STEP_W):
                        value = load(x, (image + line + i64(u)) * i64(LANES) + lane)
                        total += weight[tap] * value
                        tap += i32(1)
                    tap_h += i32(1)
                tap_d += i32(1)
            kind = (table[d + i32(3)] * i32(KINDS_H) + table[h + i32(3)]) * i32(KINDS_W)
            store(y, item, total / sums[kind + table[w + i32(3)]])

    return of_cells(body, problem.dtype.name), THREADS


class PoolWeighted(CudaAlgorithm):
    """Weighted averages."""

    name = "weighted"
    dtypes = DTYPES

    def why_not(self, problem: PoolProblem) -> str | None:
        if problem.kind != "weighted":
            return "the pool has no weights"
        return super().why_not(problem)

    def error_bound(self, problem: PoolProblem) -> float:
        return (prod(problem.kernel_size) + 2) * float(np.finfo(np.float32).eps)

    def launches(self, problem: PoolProblem, *parameters: Array | None) -> CudaPlan:
        return plan_weighted(problem, *parameters)


def plan_weighted(problem: PoolProblem, given: Array | None) -> CudaPlan:
    """Plan a weighted pool of images in either layout."""
    weights = weights_of(problem, given)
    own = problem.windows()
    kinds = [counted_kinds(window) for window in own]
    whole = [(np.array([[0, 1]]), np.zeros(1, np.int64))] * (3 - problem.n)
    sums = counted_sums(weights, [ranges for ranges, _ in (*whole, *kinds)])
    rows = [np.array([[0, 1, 0, 0]])] * (3 - problem.n)
    rows += [_row(window, kind) for window, (_, kind) in zip(own, kinds, strict=True)]
    a, b, c = sums.shape
    kern = pool_weighted(problem, (a, b, c), lead(tuple(w.step for w in own), 1))
    arguments: list[Argument] = [
        INPUT(0), constant(np.concatenate(rows), np.int32), constant(weights, np.float32),
        constant(sums, np.float32), OUTPUT,
    ]  # fmt: skip
    blocks = -(-prod(problem.output_shape) // _THREADS)
    return CudaPlan([Launch(kern, (blocks, 1, 1), arguments)])


def _row(window: Windows, kind: Array) -> Array:
    return np.stack([window.start, window.stop, window.first_tap, kind], 1)
