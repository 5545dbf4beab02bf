"""The pack step: any input layout and padding into padded channels-last scratch memory.

One index table a dimension says which input cell each padded cell shows, -1 for zero: all padding
modes, uneven and negative sizes are the same loop.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.backends.manifest.convolutions import Pack
from fastconv.backends.native.gemm import tile_for, vector_tile
from fastconv.backends.native.items import LEAST_ITEMS, part_of
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import (
    INPUT,
    WORKSPACE,
    Slot,
    Stage,
    constant,
)
from fastconv.problem import Shape
from fastconv.problem.record import record

# Cells of a row from which on it may be cut.
LONG_ROW = 512


@record(frozen=True)
class Source:
    """Where a convolution reads its input, channels last: by itself, or after a pack stage."""

    slot: Slot
    stages: tuple[Stage, ...]
    size: tuple[int, int, int]
    channels: int
    workspace_bytes: int

    @property
    def strides(self) -> tuple[int, int, int]:
        """Elements from one cell to the next along depth, height and width."""
        _, height, width = self.size
        return height * width * self.channels, width * self.channels, self.channels

    @property
    def image(self) -> int:
        """Elements of one image."""
        return prod(self.size) * self.channels


def index_table(
    length: int, before: int, padded: int, mode: str, step: int = 1
) -> np.ndarray[Any, Any]:
    """Return for each ``step``th of ``padded`` cells the input cell that it shows, -1 for zero."""
    place = np.arange(0, padded, step) - before
    if mode == "zeros":
        return np.where((place >= 0) & (place < length), place, -1)
    if mode == "replicate":
        return np.clip(place, 0, length - 1)
    if mode == "circular":
        return place % length
    folded = np.abs(place)
    return np.where(folded >= length, 2 * (length - 1) - folded, folded)


def row_part(size: tuple[int, int, int], lanes: int) -> int:
    """Return the cells of a row that a work item packs: all, unless rows are few and long."""
    depth, height, width = size
    rows = depth * height
    if rows >= LEAST_ITEMS or width < LONG_ROW:
        return width
    return part_of(-(-width // lanes), rows) * lanes


def pack_input(
    library: Library,
    problem: Any,
    before: Shape,
    padded: Shape,
    *,
    mode: str = "zeros",
    channel_multiple: int = 1,
    pitch: int = 0,
    step: Shape | None = None,
) -> Source:
    """Plan how the problem's first input comes to be ``padded`` cells a dimension, channels last.

    Nothing is copied when the input is so already. ``pitch`` is how many elements apart cells
    are to be at least; of the padded cells only each ``step``th is kept.
    """
    channels = max(pitch, -(-problem.in_channels // channel_multiple) * channel_multiple)
    lead = 3 - len(padded)
    size: Any = (1,) * lead + tuple(problem.input_size)
    target: Any = (1,) * lead + tuple(padded)
    start: Any = (0,) * lead + tuple(before)
    every: Any = (1,) * lead + tuple(step or (1,) * len(padded))
    same = channels == problem.in_channels and size == target and not any(start)
    same = same and every == (1, 1, 1)
    if same and (problem.channels_last or channels == 1 or prod(size) == 1):
        return Source(INPUT(0), (), target, channels, 0)
    plane = prod(size)
    c = problem.in_channels
    if problem.channels_last:
        strides = (size[1] * size[2] * c, size[2] * c, c, 1)
    else:
        strides = (size[1] * size[2], size[2], 1, plane)
    tables = [
        constant(index_table(n, b, p, mode, s), np.int64)
        for n, b, p, s in zip(size, start, target, every, strict=True)
    ]
    target = tuple(len(table.array) for table in tables)
    dtype = np.dtype(problem.dtype)
    first = start[2]
    # Cells that follow each other are copied at once.
    run = min(target[2] - first, size[2]) if every[2] == 1 else 0
    tile = vector_tile(tile_for(library, dtype))
    part = row_part(target, tile.lanes)
    stage = Stage(
        library.kernel("pack", tile),
        problem.batch * target[0] * target[1] * -(-target[2] // part),
        Pack(
            source=INPUT(0), target=WORKSPACE, source_image=c * plane, source_depth=strides[0],
            source_row=strides[1], source_pixel=strides[2], source_channel=strides[3],
            target_depth=target[0], target_height=target[1], target_width=target[2],
            depths=tables[0], heights=tables[1], widths=tables[2], channels=c, pitch=channels,
            run=first, count=run, part=part,
        ),
    )  # fmt: skip
    total = problem.batch * prod(target) * channels * dtype.itemsize
    return Source(WORKSPACE, (stage,), target, channels, total)
