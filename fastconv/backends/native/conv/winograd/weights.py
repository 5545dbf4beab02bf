"""Weights transformed in float64, rounded once, and packed as the multiplications read them.

Packed weights are (group, frequency, panel, segment, channel, column). Rows of a group's last
panel, where that is narrower, lie one after the other. Groups that are done as one have zeros
between them.
"""

from __future__ import annotations

from math import prod

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.native.conv.winograd.axis import Axis
from fastconv.backends.native.conv.winograd.layout import Layout
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    Packed,
    Stage,
    Weights,
    constant,
    scratch_stride,
)
from fastconv.backends.native.sources import Source

# Words of the argument block: filters and what they become; bytes from one output channel to the
# next, output channels of a group of the problem, columns of a group here, input channels of one
# of the problem's groups, and how many of those are done as one; the filters' taps, phases and
# points; their matrices, phase by phase; where each phase goes at each frequency (-1: nowhere);
# then what `Layout` says of panels. Numba's kernel has a column of taps, and of lines, in scratch
# memory. Where output channels are side by side, bytes from an input channel to the next, and a
# table of the bytes to each tap, else 0.
(FILTERS, TRANSFORMED, OUT_CHANNEL_STEP, OUT_CHANNELS, GROUP_COLUMNS, GROUP_CHANNELS, MERGED_GROUPS,
 TAPS_DOWN, TAPS_ACROSS, PHASES_OF_DOWN, PHASES_OF_ACROSS, POINTS_DOWN, POINTS_ACROSS, MATRIX_DOWN,
 MATRIX_ACROSS, PLACES, STARTS, SIZES, GROUP_BYTES, PANEL_COUNT, PANEL_LANES, LAST_LANES,
 DEPTH_ROWS, SCRATCH_BASE, SCRATCH_STRIDE, CHANNEL_STEP, TAP_PLACES) = range(27)  # fmt: skip
# Channels that a work item transforms.
FEW_CHANNELS = 8


def packed_weights(library: Library, layout: Layout) -> Packed:
    """Pack the first parameter, (out, in / groups, *kernel)."""
    problem, tile = layout.problem, layout.tile
    down, across = layout.down, layout.across
    merged = problem.groups // layout.groups
    per_group = problem.in_channels // problem.groups
    depth = layout.channel_blocks * tile.lanes
    starts, sizes, *_ = layout.tables()
    scratch = ((down.taps + 1) * across.taps + 1) * tile.columns * 8
    filters, whole = down.taps * across.taps, per_group * down.taps * across.taps
    stage = Stage(
        library.kernel("weights.winograd", tile.dtype),
        layout.groups * layout.panels * -(-depth // FEW_CHANNELS),
        [
            INPUT(0), OUTPUT, whole * tile.size,
            problem.out_channels // problem.groups, layout.columns, per_group, merged,
            down.taps, across.taps, down.phases, across.phases, down.n, across.n,
            constant(_matrices(down)), constant(_matrices(across)),
            constant(_places(layout), np.int64), starts, sizes, layout.weights_group,
            layout.panels, tile.columns, (layout.tail or tile.vectors) * tile.lanes, depth,
            SCRATCH, scratch_stride(scratch), 0, 0,
        ],
    )  # fmt: skip
    nbytes = layout.groups * layout.weights_group

    def placed(source: Source) -> Weights | None:
        # Read in place where output channels are side by side (HWIO): a copy would turn them, and
        # packing turn them back (256 channels of 3x3 on 14x14: 1.75 and 2.05 ms, contiguous 1.23).
        # Others are copied first: reversed taps took 2.4 ms gathered lane by lane, 1.67 by a copy.
        if source.dtype != tile.dtype or source.strides[0] != tile.size:
            return None
        steps = source.offsets(np.array([whole, filters]) % prod(source.shape))
        words = list(stage.arguments)
        words[OUT_CHANNEL_STEP], words[CHANNEL_STEP] = map(int, steps)
        words[TAP_PLACES] = constant(source.offsets(np.arange(filters)), np.int64)
        return Weights(nbytes, (Stage(stage.kernel, stage.items, words),), scratch)

    return Packed(Weights(nbytes, (stage,), scratch, placed))


def _matrices(axis: Axis) -> Array:
    """Return each phase's matrix (point, tap)."""
    return np.stack([axis.kernel(phase) for phase in range(axis.phases)])


def _places(layout: Layout) -> Array:
    """Return for each phase and frequency the first row of its channels in a panel, or -1."""
    depth = layout.channel_blocks * layout.tile.lanes
    places = np.full((layout.phases, layout.frequencies), -1)
    for frequency, phases in enumerate(layout.segments()):
        for segment, phase in enumerate(phases):
            places[phase, frequency] = segment * depth
    return places
