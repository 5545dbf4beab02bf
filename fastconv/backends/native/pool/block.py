"""The argument block of the pools that go tile by tile of an output row."""

from __future__ import annotations

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.native import INPUT, OUTPUT, SCRATCH, Slot, constant
from fastconv.backends.native.plan import Constant, scratch_stride
from fastconv.backends.native.pool.cuts import AnyPoolProblem, cells
from fastconv.backends.native.pool.geometry import Geometry, tap_ranges
from fastconv.problem import PoolProblem
from fastconv.problem.pool import Windows

# Words: where data lie, sizes, windows, tiles, taps, scratch memory. A kernel's own follow.
(SOURCE, OUT, DEPTH, HEIGHT, WIDTH, LANES, OUT_DEPTH, OUT_HEIGHT, OUT_WIDTH, D_TABLE, H_TABLE,
 W_TABLE, D_STEP, H_STEP, W_STEP, LANE_BLOCK, TILE, TILES, TILE_FROM, TILE_TO, MODE, TAPS,
 TAP_TABLE, STRIDE, DILATION, BEFORE, SCRATCH_BASE, SCRATCH_STRIDE, OWN) = range(29)  # fmt: skip

# `separable`: cells that a mean counts, the norm's power, bytes of a line and of a tile's sums.
D_COUNT, H_COUNT, W_COUNT, POWER, LINE_BYTES, SUM_BYTES = range(OWN, OWN + 6)
# Cells of a run that are folded side by side.
RUN_LANES = 16

# `indices`: where they go, and the bytes of a line of places.
INDICES, ROW_LINE_BYTES = range(OWN, OWN + 2)

# `weighted`: weights; their sums over what is counted, by kinds of place.
(WEIGHTS, KERNEL_HEIGHT, SUMS, D_KINDS, H_KINDS, W_KINDS, D_KIND, H_KIND, W_KIND) = range(
    OWN, OWN + 9
)


def shared_words(
    problem: AnyPoolProblem, geometry: Geometry, scratch_bytes: int
) -> list[int | Slot | Constant]:
    """Give the words that all of these pools share."""
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
    return np.stack([windows.start, cells(windows), windows.first_tap])
