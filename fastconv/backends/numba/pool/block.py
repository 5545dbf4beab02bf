"""The argument block that the pools' kernels share, and how they find their way in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.native.plan import Constant, scratch_stride
from fastconv.backends.native.pool.cuts import AnyPoolProblem
from fastconv.backends.numba.engine import INPUT, OUTPUT, SCRATCH, Slot, array, constant, part
from fastconv.backends.numba.pool.geometry import Geometry, tap_ranges
from fastconv.problem import PoolProblem
from fastconv.problem.pool import Windows

# Words: where data lie, sizes, windows, tiles, taps, scratch memory. A kernel's own follow.
(SOURCE, OUT, DEPTH, HEIGHT, WIDTH, LANES, OUT_DEPTH, OUT_HEIGHT, OUT_WIDTH, D_TABLE, H_TABLE,
 W_TABLE, D_STEP, H_STEP, W_STEP, LANE_BLOCK, TILE, TILES, TILE_FROM, TILE_TO, MODE, TAPS,
 TAP_TABLE, STRIDE, DILATION, BEFORE, SCRATCH_BASE, SCRATCH_STRIDE, OWN) = range(29)  # fmt: skip


def shared_words(
    problem: AnyPoolProblem, geometry: Geometry, scratch_bytes: int
) -> list[int | Slot | Constant]:
    """Give the words that all pools share."""
    d, h, w = geometry.windows
    taps, table, stride, dilation, before = 0, np.zeros((2, 1), np.int64), 1, 1, 0
    if isinstance(problem, PoolProblem):
        taps, table = problem.kernel_size[-1], tap_ranges(problem)
        stride, dilation = problem.stride[-1], problem.dilation[-1]
        before = problem.padding[-1][0]
    return [
        INPUT(0), OUTPUT, *geometry.size, geometry.lanes, *geometry.output,
        *(constant(window_table(x)) for x in geometry.windows), d.step, h.step, w.step,
        geometry.lane_block, geometry.tile, len(geometry.tile_from),
        constant(geometry.tile_from), constant(geometry.tile_to), geometry.mode, taps,
        constant(table), stride, dilation, before, SCRATCH, scratch_stride(scratch_bytes),
    ]  # fmt: skip


def window_table(windows: Windows) -> Array:
    """Give windows as kernels read them: start, cells, first tap; a row each."""
    cells = -((windows.start - windows.stop) // windows.step)
    return np.stack([windows.start, cells, windows.first_tap])


@part
def split_item(args: Any, item: int) -> Any:
    """Give a work item's image, output depth, output row, tile and lane block."""
    blocks = (args[LANES] + args[LANE_BLOCK] - 1) // args[LANE_BLOCK]
    rest, block = divmod(item, blocks)
    rest, tile = divmod(rest, args[TILES])
    rest, oh = divmod(rest, args[OUT_HEIGHT])
    image, od = divmod(rest, args[OUT_DEPTH])
    return image, od, oh, tile, block


@part
def window(table: int, length: int, place: int) -> Any:
    """Give start, cells and first tap of a window."""
    words = array(table, (3, length), np.int64)
    return words[0, place], words[1, place], words[2, place]
