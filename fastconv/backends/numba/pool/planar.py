"""Max and average pools of NCHW images: vector lanes across pixels, outputs kept in registers.

As depthwise convolution with nothing to multiply: padded lines of a plane are copied, split by
column phase, and a tile of output rows slides down each column of the window.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fastconv.backends.base import Algorithm, Array, Cost, roofline
from fastconv.backends.numba.conv.planes import Planes, make_copy_lines, row_block, row_tile
from fastconv.backends.numba.engine import (
    INPUT,
    OUTPUT,
    SCRATCH,
    NativePlan,
    Stage,
    array,
    constant,
    kernel,
)
from fastconv.backends.numba.engine.plan import scratch_stride
from fastconv.backends.numba.planar_simd import (
    beside,
    tile_divide,
    tile_fill,
    tile_reduce,
    tile_store_at,
    tile_store_masked,
)
from fastconv.backends.numba.simd import Tile
from fastconv.machine import Machine, get_machine
from fastconv.problem import PoolProblem

# Cells of a window that are still cheaper looked at one by one than row by row.
MOST_CELLS = 50

(PLANES, PLANE_BYTES, OUT, OUT_BYTES, HEIGHT, WIDTH, ROW_BLOCK, TAPS_DOWN, TAPS_ACROSS, OFFSETS,
 ROW_COUNTS, COLUMN_COUNTS, ROWS, COLUMNS, IN_WIDTH, BEFORE, PHASE, SCRATCH_BASE,
 SCRATCH_STRIDE) = range(19)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Window:
    """What `Planes` asks of a problem."""

    dtype: np.dtype[Any]
    n: int
    input_size: tuple[int, ...]
    output_size: tuple[int, ...]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Any
    dilation: tuple[int, ...]
    padding_mode: str = "zeros"


class Planar(Algorithm):
    """Every cell of small windows, channels first."""

    name = "planar"
    backend = "numba"

    def why_not(self, problem: PoolProblem) -> str | None:
        if problem.kind not in ("max", "avg"):
            return f"{problem.kind} pools: this kernel is for max and avg"
        if problem.return_indices:
            return "indices are asked for"
        if problem.channels_last and problem.channels > 1:
            return "channels last: this kernel is for channels first"
        if problem.n > 2:
            return f"{problem.n} dimensions: this kernel is for one or two"
        if np.prod(problem.kernel_size) > MOST_CELLS:
            return f"windows of more than {MOST_CELLS} cells"
        if problem.dtype.name not in ("float32", "float64"):
            return f"{problem.dtype.name} is not served; float32 and float64 are"
        return None

    def cost(self, problem: PoolProblem, machine: Machine) -> Cost:
        # The bytes stand for all else: a few operations a cell hide behind them.
        return Cost(roofline(problem, machine, flops=0, bytes=problem.bytes))

    def error_bound(self, problem: PoolProblem) -> float:
        if problem.kind == "max":
            return 0.0
        return float(np.prod(problem.kernel_size) + 1) * float(np.finfo(problem.dtype).eps)

    def plan(self, problem: PoolProblem, *parameters: Array | None) -> NativePlan:
        machine = get_machine()
        planes = _planes(problem, machine)
        tile = row_tile(planes, machine)
        (down, step, apart), (across, _, _) = planes.down, planes.across
        block = row_block(planes, tile)
        size = problem.dtype.itemsize
        scratch = (planes.lines(block) * planes.line + tile.columns + tile.lanes) * size
        height, width = planes.height, planes.width
        row_counts, column_counts = _counts(problem, tile)
        words = [
            INPUT(0), int(np.prod(problem.input_size)) * size, OUTPUT, height * width * size,
            height, width, block, down, across, constant(planes.offsets() * size, np.int64),
            constant(row_counts, tile.dtype), constant(column_counts, tile.dtype),
            *planes.words(), SCRATCH, scratch_stride(scratch),
        ]  # fmt: skip
        taps = down if down <= 7 else 4
        address = planar(tile, problem.kind, taps, step, apart if taps > 1 else 1,
                         *planes.constants())  # fmt: skip
        items = problem.batch * problem.channels * -(-height // block)
        return NativePlan(
            problem,
            [Stage(address, items, words)],
            scratch_bytes=scratch,
            seconds=self.cost(problem, machine).seconds,
        )


def _planes(problem: PoolProblem, machine: Machine) -> Planes:
    window: Any = _Window(
        problem.dtype, problem.n, problem.input_size, problem.output_size, problem.kernel_size,
        problem.stride, problem.padding, problem.dilation,
    )  # fmt: skip
    return Planes(window, machine.lanes(problem.dtype))


def _counts(problem: PoolProblem, tile: Tile) -> list[Array]:
    """Give the cells that each row's and column's mean is over, ones past the end."""
    counted: list[Array] = [np.asarray(w.counted, np.float64) for w in problem.windows()]
    if problem.divisor_override is not None:
        counted = [np.ones(len(c)) for c in counted]
        counted[-1] *= problem.divisor_override
    rows = counted[0] if problem.n == 2 else np.ones(1)
    spare = np.ones(tile.rows + tile.columns)
    return [np.concatenate([np.where(c == 0, 1, c), spare]) for c in (rows, counted[-1])]


@kernel
def planar(  # type: ignore[no-untyped-def]
    tile: Tile, kind: str, taps: int, stride: int, dilation: int, step: int, phases: int,
    by_table: bool,
):  # fmt: skip
    """Pool planes: a work item is a block of rows of one channel of one image."""
    largest = kind == "max"
    start_value = -np.inf if largest else 0.0
    copy_lines = make_copy_lines(tile, step, phases, by_table, start_value)
    size, lanes, columns, rows = tile.size, tile.lanes, tile.columns, tile.rows

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        height, width, row_block = args[HEIGHT], args[WIDTH], args[ROW_BLOCK]
        down, across = args[TAPS_DOWN], args[TAPS_ACROSS]
        blocks = (height + row_block - 1) // row_block
        offsets = array(args[OFFSETS], (across,), np.int64)
        lines = args[SCRATCH_BASE] + worker * args[SCRATCH_STRIDE]
        pitch = phases * args[PHASE] * size
        for item in range(first, last):
            plane, block = divmod(item, blocks)
            start = block * row_block
            stop = min(start + row_block, height)
            there = (stop - 1 - start) * stride + (down - 1) * dilation + 1
            copy_lines(
                lines, args[PLANES] + plane * args[PLANE_BYTES], start * stride, there, args[ROWS],
                args[COLUMNS], args[IN_WIDTH], args[BEFORE], args[PHASE],
            )  # fmt: skip
            for row in range(start, stop, rows):
                top = lines + (row - start) * stride * pitch
                for column in range(0, width, columns):
                    values = tile_fill(tile, start_value)
                    for x in range(across):
                        base = top + column * size + offsets[x]
                        done = 0
                        while done + taps <= down:
                            values = tile_reduce(
                                tile, values, kind, taps, stride, dilation, base, pitch
                            )
                            base += taps * dilation * pitch
                            done += taps
                        while done < down:
                            values = tile_reduce(
                                tile, values, kind, 1, stride, dilation, base, pitch
                            )
                            base += dilation * pitch
                            done += 1
                    if not largest:
                        values = tile_divide(
                            tile, values, args[ROW_COUNTS] + row * size,
                            args[COLUMN_COUNTS] + column * size,
                        )  # fmt: skip
                    target = args[OUT] + plane * args[OUT_BYTES] + (row * width + column) * size
                    places = beside(tile, 0, lanes * size)
                    if width - column >= columns and stop - row >= rows:
                        tile_store_at(tile, values, target, width * size, places)
                    else:
                        counts = beside(tile, width - column, -lanes)
                        tile_store_masked(
                            tile, values, target, width * size, places, counts, stop - row
                        )

    return body
