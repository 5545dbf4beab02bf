"""Max pools that tell where the largest cell is: one channel of one output a thread."""

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
from fastconv.backends.cuda.engine.kernel import Body, Int32, Int64, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, Argument, CudaPlan, Launch
from fastconv.backends.cuda.pool import AnyPool, windows_table
from fastconv.backends.native.conv.geometry import lead
from fastconv.backends.native.plan import INPUT, constant

_THREADS = 256


@kernel
def pool_indices(
    images: int,
    lanes: int,
    input_size: tuple[int, int, int],
    output_size: tuple[int, int, int],
    steps: tuple[int, int, int],
    dtype: str = "float32",
) -> tuple[Body, int]:
    """Return the largest cells, and their places in a plane; ``lanes`` planes are side by side."""
    _, IN_H, IN_W = input_size
    OUT_D, OUT_H, OUT_W = output_size
    STEP_D, STEP_H, STEP_W = steps
    LANES, CELLS = lanes, prod(input_size)
    ITEMS, THREADS = images * lanes * prod(output_size), _THREADS
    ROWS, COLUMNS = OUT_D, OUT_D + OUT_H
    load, store = access(dtype).load, access(dtype).store

    def body(x: Cell, table: Int32, y: Cell, indices: Int64) -> None:
        item = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
        if item < i64(ITEMS):
            lane = item % i64(LANES)
            rest = item // i64(LANES)
            w_row = (i32(COLUMNS) + i32(rest % i64(OUT_W))) * i32(2)
            rest = rest // i64(OUT_W)
            h_row = (i32(ROWS) + i32(rest % i64(OUT_H))) * i32(2)
            rest = rest // i64(OUT_H)
            d_row = i32(rest % i64(OUT_D)) * i32(2)
            image = rest // i64(OUT_D) * i64(CELLS)
            most, found = f32(-np.inf), i64(-1)
            for z in range(table[d_row], table[d_row + i32(1)], STEP_D):
                for v in range(table[h_row], table[h_row + i32(1)], STEP_H):
                    line = (i64(z) * i64(IN_H) + i64(v)) * i64(IN_W)
                    for u in range(table[w_row], table[w_row + i32(1)], STEP_W):
                        value = load(x, (image + line + i64(u)) * i64(LANES) + lane)
                        # The first cell, then what is more; the first NaN wins, and stays.
                        if (found < i64(0)) | (
                            (most == most) & ((value > most) | (value != value))
                        ):
                            most, found = value, line + i64(u)
            store(y, item, most)
            indices[item] = found

    return of_cells(body, dtype), THREADS


class PoolIndices(CudaAlgorithm):
    """Max pools with ``return_indices``."""

    name = "indices"
    dtypes = DTYPES

    def why_not(self, problem: AnyPool) -> str | None:
        if not problem.return_indices:
            return "indices are not asked for"
        if problem.kind != "max":
            return f"{problem.kind} pools have no indices"
        return super().why_not(problem)

    def launches(self, problem: AnyPool, *parameters: Array | None) -> CudaPlan:
        return plan_pool_indices(problem)


def plan_pool_indices(problem: AnyPool) -> CudaPlan:
    """Plan a max pool of images in either layout; its indices are the second output."""
    lanes = problem.channels if problem.channels_last else 1
    images = problem.batch * problem.channels // lanes
    steps = lead(tuple(w.step for w in problem.windows()), 1)
    sizes = lead(problem.input_size, 1), lead(problem.output_size, 1)
    kern = pool_indices(images, lanes, *sizes, steps, problem.dtype.name)
    items = problem.batch * problem.channels * prod(problem.output_size)
    arguments: list[Argument] = [INPUT(0), constant(windows_table(problem)), OUTPUT, INPUT(1)]
    return CudaPlan([Launch(kern, (-(-items // _THREADS), 1, 1), arguments)])
