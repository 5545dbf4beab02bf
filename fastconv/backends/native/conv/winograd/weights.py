"""Weights transformed in float64, rounded once, and packed as the multiplications read them.

Packed weights are (group, frequency, panel, segment, channel, column). Rows of a group's last
panel, where that is narrower, are stored one after the other. Groups that are done as one have
zeros between them.
"""

from __future__ import annotations

from math import prod

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.manifest.products import Transformed
from fastconv.backends.manifest.schema import replaced
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
    arguments = Transformed(
        source=INPUT(0), target=OUTPUT,
        out_channel_step=whole * tile.size,
        out_channels=problem.out_channels // problem.groups, group_columns=layout.columns,
        group_channels=per_group, merged_groups=merged, taps_down=down.taps,
        taps_across=across.taps, phases_down=down.phases, phases_across=across.phases,
        points_down=down.n, points_across=across.n, matrix_down=constant(_matrices(down)),
        matrix_across=constant(_matrices(across)),
        places=constant(_places(layout), np.int64), starts=starts, sizes=sizes,
        group_bytes=layout.weights_group, panels=layout.panels, panel_lanes=tile.columns,
        last_lanes=(layout.tail or tile.vectors) * tile.lanes, depth_rows=depth,
        scratch_base=SCRATCH, scratch_stride=scratch_stride(scratch), channel_step=0,
        tap_places=0,
    )  # fmt: skip
    stage = Stage(
        library.kernel("weights.winograd", tile.dtype),
        layout.groups * layout.panels * -(-depth // Transformed.FEW_CHANNELS),
        arguments,
    )
    nbytes = layout.groups * layout.weights_group

    def placed(source: Source) -> Weights | None:
        # Read in place where output channels are side by side (HWIO): a copy would turn them, and
        # packing turn them back (256 channels of 3x3 on 14x14: 1.75 and 2.05 ms, contiguous 1.23).
        # Others are copied first: reversed taps took 2.4 ms gathered lane by lane, 1.67 by a copy.
        if source.dtype != tile.dtype or source.strides[0] != tile.size:
            return None
        steps = source.offsets(np.array([whole, filters]) % prod(source.shape))
        own = replaced(
            arguments, out_channel_step=int(steps[0]), channel_step=int(steps[1]),
            tap_places=constant(source.offsets(np.arange(filters)), np.int64),
        )  # fmt: skip
        return Weights(nbytes, (Stage(stage.kernel, stage.items, own),), scratch)

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
