"""Tiles whose outputs are not all finite, summed plainly.

The transforms mix all inputs of a tile: an infinity or NaN among them, or an overflow, would reach
every output. Summed plainly it reaches those whose windows hold it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.numba.engine import array, part
from fastconv.backends.numba.simd import Tile


def make_mend(tile: Tile, m: int) -> Any:
    """Make the function that looks through a run of tiles, each ``m`` wide, and mends some."""
    real, lanes, size = np.dtype(tile.dtype).type, tile.lanes, tile.size
    vector = lanes * size
    zero = real(0)

    @part
    def all_finite(start, pitch, rows, columns):  # type: ignore[no-untyped-def]
        total = zero
        for i in range(rows):
            values = array(start + i * pitch, (columns * lanes,), real)
            for j in range(columns * lanes):
                total += abs(values[j] * zero)
        return total == zero

    @part
    def plain_input(args, image, channel, row, column):  # type: ignore[no-untyped-def]
        source = args.source + image * args.source_image
        if args.planar == 0:
            source += (row + args.before_down) * args.source_row
            source += (column + args.before_across) * args.source_column
            return array(source + channel * size, (1,), real)[0]
        high, wide = args.in_height, args.in_width
        if row < 0 or row >= high or column < 0 or column >= wide:
            return zero
        place = source + channel * args.source_plane + (row * wide + column) * size
        return array(place, (1,), real)[0]

    @part
    def plain_tile(args, image, sy, sx, y, x, column, rows, columns, start, pitch):  # type: ignore[no-untyped-def]
        high, wide, inputs = args.kernel_height, args.kernel_width, args.group_inputs
        top = y * args.down_outputs * args.stride_down + sy - args.before_down
        left = x * args.across_outputs * args.stride_across + sx - args.before_across
        for lane in range(min(lanes, args.columns - column)):
            channel = args.group * args.columns + column + lane
            group = channel // args.group_outputs
            filters = args.plain_weights + channel * inputs * high * wide * size
            weights = array(filters, (inputs, high, wide), real)
            for i in range(rows):
                out = array(start + i * pitch + lane * size, ((columns - 1) * lanes + 1,), real)
                for j in range(columns):
                    total = zero
                    for c in range(inputs):
                        for ky in range(high):
                            row = top + i * args.stride_down + ky * args.subs_down
                            for kx in range(wide):
                                place = left + j * args.stride_across + kx * args.subs_across
                                value = plain_input(args, image, group * inputs + c, row, place)
                                total += weights[c, ky, kx] * value
                    out[j * lanes] = total

    @part
    def mend(args, image, sy, sx, y, x, column, rows, columns, lines, pitch):  # type: ignore[no-untyped-def]
        if all_finite(lines, pitch, rows, columns):
            return
        for done in range(0, columns, m):
            some, start = min(m, columns - done), lines + done * vector
            if not all_finite(start, pitch, rows, some):
                plain_tile(args, image, sy, sx, y, x + done // m, column, rows, some, start, pitch)

    return mend
