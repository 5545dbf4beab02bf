"""A pool as the kernels see it: planes of rows, each row columns times lanes, contiguous.

Channels last, a lane is a channel. Channels first, each channel is a plane of its own, with one
lane. Lower ranks are volumes with leading ones, so that one set of tables describes all.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.native.pool.cuts import AnyPoolProblem
from fastconv.problem import PoolProblem
from fastconv.problem.pool import Windows
from fastconv.problem.record import record

# How the columns of a row are brought together; see ``choose_mode``.
PER_OUTPUT, FLAT, STRIDED = 0, 1, 2

TILE_ELEMENTS = 4096  # a tile of a row that stays in the first-level cache
LANE_BLOCK = 256
SMALL_LANE_BLOCK = 16
MEDIUM_LANE_BLOCK = 64
FEW_ROWS = 8
CACHE_LINE = 64


@record(frozen=True)
class Geometry:
    """Sizes, windows and tiles of a pool in the form that the kernels take."""

    images: int
    lanes: int
    size: tuple[int, int, int]
    output: tuple[int, int, int]
    windows: tuple[Windows, Windows, Windows]
    lane_block: int
    mode: int
    tile: int
    tile_from: Array
    tile_to: Array

    @classmethod
    def of(cls, problem: AnyPoolProblem) -> Geometry:
        """Bring ``problem`` into the kernels' form, and cut its rows into tiles."""
        lanes = problem.channels if problem.channels_last else 1
        images = problem.batch * (1 if problem.channels_last else problem.channels)
        size, output, windows = _as_volume(problem, lanes)
        lane_block = _lane_block(lanes, output)
        mode = choose_mode(problem, lanes, lane_block, output[2], windows[2])
        stride, span = _step(windows[2])
        gap = (stride - span) * lanes * problem.dtype.itemsize
        tile = 1 if gap >= CACHE_LINE else max(1, TILE_ELEMENTS // (stride * lane_block))
        tile = min(tile, output[2])
        bounds = [_bounds(windows[2], o, o + tile) for o in range(0, output[2], tile)]
        return cls(
            images=images,
            lanes=lanes,
            size=size,
            output=output,
            windows=windows,
            lane_block=lane_block,
            mode=mode,
            tile=tile,
            tile_from=np.array([b[0] for b in bounds], np.int64),
            tile_to=np.array([b[1] for b in bounds], np.int64),
        )

    @property
    def items(self) -> int:
        """Work items: images x output rows x tiles x lane blocks."""
        return self.images * prod(self.output[:2]) * len(self.tile_from) * self.lane_blocks

    @property
    def lane_blocks(self) -> int:
        """Blocks that the lanes are cut into."""
        return -(-self.lanes // self.lane_block)

    @property
    def line_elements(self) -> int:
        """Elements of the longest tile of an input row."""
        return int((self.tile_to - self.tile_from).max()) * self.lane_block

    @property
    def tile_elements(self) -> int:
        """Elements of a tile of an output row."""
        return self.tile * self.lane_block


def choose_mode(
    problem: AnyPoolProblem, lanes: int, lane_block: int, outputs: int, windows: Windows
) -> int:
    """Choose how columns are brought together.

    PER_OUTPUT takes one output's window after the other, FLAT (stride 1) shifts whole rows,
    STRIDED (one lane) takes every stride-th column; the latter two want rows that are long.
    """
    if not isinstance(problem, PoolProblem):
        return PER_OUTPUT
    stride = problem.stride[-1]
    if stride == 1 and lanes == lane_block and outputs * lanes >= FEW_ROWS:
        return FLAT
    if lanes == 1 and outputs >= FEW_ROWS:
        return STRIDED
    return PER_OUTPUT


def tap_ranges(problem: PoolProblem) -> Array:
    """Return, for each tap along a row, the outputs that see a column there: (2, taps)."""
    size, stride, dilation = problem.input_size[-1], problem.stride[-1], problem.dilation[-1]
    place = np.arange(problem.kernel_size[-1], dtype=np.int64) * dilation - problem.padding[-1][0]
    first = np.maximum(0, -(place // stride))
    last = np.minimum(problem.output_size[-1], (size - 1 - place) // stride + 1)
    return np.stack([first, np.maximum(first, last)])


def _as_volume(problem: AnyPoolProblem, lanes: int) -> tuple[Any, Any, Any]:
    size, output, windows = problem.input_size, problem.output_size, problem.windows()
    whole = problem.kind != "weighted" and all(
        length == 1 and int(w.start[0]) == 0 and int(w.stop[0]) == s and w.step == 1
        for length, s, w in zip(output, size, windows, strict=True)
    )
    if (
        whole
        and lanes == 1
        and all(int(w.counted[0]) == s for s, w in zip(size, windows, strict=True))
    ):
        return (1, 1, prod(size)), (1, 1, 1), (_whole(1), _whole(1), _whole(prod(size)))
    if problem.n > 3:
        size = (prod(size[:-2]), *size[-2:])
        output, windows = (1, 1, 1), tuple(_whole(s) for s in size)
    missing = 3 - len(size)
    ones = (1,) * missing
    return (*ones, *size), (*ones, *output), (*(_whole(1),) * missing, *windows)


def _whole(size: int) -> Windows:
    zero, end = np.zeros(1, np.int64), np.array([size], np.int64)
    return Windows(zero, end, 1, zero, zero, end)


def _lane_block(lanes: int, output: tuple[int, int, int]) -> int:
    if output[0] * output[1] >= FEW_ROWS:
        return min(lanes, LANE_BLOCK)
    # Blocks for threads to share.
    share = lanes // FEW_ROWS // SMALL_LANE_BLOCK * SMALL_LANE_BLOCK
    return min(lanes, max(SMALL_LANE_BLOCK, min(share, MEDIUM_LANE_BLOCK)))


def _step(windows: Windows) -> tuple[int, int]:
    """Return the step between windows along a row, and the cells that the longest one spans."""
    span = int((windows.stop - windows.start).max())
    count = len(windows.start)
    if count == 1:
        return max(1, span), span
    return max(1, int(windows.stop[-1] - windows.stop[0]) // (count - 1)), span


def _bounds(windows: Windows, first: int, last: int) -> tuple[int, int]:
    start, stop = windows.start[first:last], windows.stop[first:last]
    seen = stop > start
    if not seen.any():
        return 0, 0
    return int(start[seen].min()), int(stop[seen].max())
