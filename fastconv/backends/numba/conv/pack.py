"""The pack step: any input layout and padding into padded channels-last scratch memory."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.convolutions import Pack
from fastconv.backends.numba.engine import array, kernel, part
from fastconv.backends.numba.simd import Tile
from fastconv.backends.numba.transpose import transpose_block, transpose_edge


@kernel(Pack)
def pack(tile: Tile):  # type: ignore[no-untyped-def]
    """Write padded rows of channels: a work item is one row of one image, or a part of it."""
    dtype = np.dtype(tile.dtype).type
    size, lanes = tile.size, tile.lanes

    @part
    def copy_pixels(row, source, widths, first, last, channels, stride):  # type: ignore[no-untyped-def]
        for w in range(first, last):
            place = widths[w]
            if place < 0:
                row[w * stride : (w + 1) * stride] = 0
            else:
                for c in range(channels):
                    row[w * stride + c] = source[place * channels + c]
                for c in range(channels, stride):
                    row[w * stride + c] = 0

    @part
    def copy_planes(row, source, widths, first, last, s_channel, channels, stride):  # type: ignore[no-untyped-def]
        for c in range(channels):
            for w in range(first, last):
                place = widths[w]
                value = source[c * s_channel + max(place, 0)]
                row[w * stride + c] = value if place >= 0 else dtype(0)

    @part
    def transpose_run(row, source, count, s_channel, channels, stride):  # type: ignore[no-untyped-def]
        """Transpose squares; the last channels reach back over those before them."""
        for w in range(0, count, lanes):
            for c in range(0, channels, lanes):
                channel = min(c, channels - lanes)
                square = source + (channel * s_channel + w) * size
                place = row + (w * stride + channel) * size
                if w + lanes <= count:
                    transpose_block(tile, square, s_channel * size, place, stride * size)
                else:
                    transpose_edge(tile, square, s_channel * size, place, stride * size, count - w)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        s_depth, s_row, s_channel = args.source_depth, args.source_row, args.source_channel
        depth, height, width = args.target_depth, args.target_height, args.target_width
        depths = array(args.depths, (depth,), np.int64)
        heights = array(args.heights, (height,), np.int64)
        widths = array(args.widths, (width,), np.int64)
        channels, stride, part_cells = args.channels, args.pitch, args.part
        parts = (width + part_cells - 1) // part_cells
        for item in range(first, last):
            line_number, some = divmod(item, parts)
            begin = some * part_cells
            end = min(begin + part_cells, width)
            # What of the run of neighbours is in this part.
            run = min(max(args.run, begin), end)
            after = min(max(args.run + args.count, run), end)
            count = after - run
            rest, h = divmod(line_number, height)
            image, d = divmod(rest, depth)
            target = args.target + line_number * width * stride * size
            row = array(target, (width * stride,), dtype)
            if depths[d] < 0 or heights[h] < 0:
                row[begin * stride : end * stride] = 0
                continue
            start = image * args.source_image + depths[d] * s_depth + heights[h] * s_row
            place = args.source + start * size
            source = array(place, (args.source_image,), dtype)
            if s_channel == 1:
                whole = run if channels == stride and count > 0 else end
                copy_pixels(row, source, widths, begin, whole, channels, stride)
                if channels == stride and count > 0:
                    shown = widths[run] * channels
                    line = array(target + run * channels * size, (count * channels,), dtype)
                    pixels = array(place + shown * size, (count * channels,), dtype)
                    for i in range(count * channels):
                        line[i] = pixels[i]
                    copy_pixels(row, source, widths, after, end, channels, stride)
                continue
            if count > 0 and channels >= lanes:
                copy_planes(row, source, widths, begin, run, s_channel, channels, stride)
                transpose_run(
                    target + run * stride * size,
                    place + widths[run] * size,
                    count,
                    s_channel,
                    channels,
                    stride,
                )
                copy_planes(row, source, widths, after, end, s_channel, channels, stride)
            else:
                for block in range(begin, end, lanes):
                    stop = min(block + lanes, end)
                    copy_planes(row, source, widths, block, stop, s_channel, channels, stride)
            if channels < stride:
                for w in range(begin, end):
                    row[w * stride + channels : (w + 1) * stride] = 0

    return body
