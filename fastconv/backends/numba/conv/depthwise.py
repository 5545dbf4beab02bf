"""Depthwise convolution: vector lanes across channels, a tile of neighbouring outputs in registers.

The words of an argument block, and how work is cut, are defined with the plans.
"""

from __future__ import annotations

from fastconv.backends.manifest.convolutions import Depthwise
from fastconv.backends.numba.engine import kernel
from fastconv.backends.numba.gemm import make_finish
from fastconv.backends.numba.planar_simd import tile_multiply_pixels_inside
from fastconv.backends.numba.simd import Tile, tile_zero


@kernel(Depthwise)
def depthwise(tile: Tile, taps: int, stride: int, dilation: int):  # type: ignore[no-untyped-def]
    """Sum taps: a work item is a block of output lines of one vector of channels of one image."""
    finish = make_finish(tile)
    size, columns, rows = tile.size, tile.columns, tile.rows

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        channels, pitch, block = args.channels, args.pitch, args.line_block
        deep, tall, wide = (
            args.kernel_size[0],
            args.kernel_size[1],
            args.kernel_size[2],
        )
        depth, height, width = args.input_size[0], args.input_size[1], args.input_size[2]
        out_height, out_width = args.output_size[1], args.output_size[2]
        lines = args.output_size[0] * out_height
        panels = (channels + columns - 1) // columns
        blocks = (lines + block - 1) // block
        scratch = args.scratch_base + worker * args.scratch_stride
        slope, low, high = args.slope, args.low, args.high
        column_block = args.column_block
        parts = (out_width + column_block - 1) // column_block
        for item in range(first, last):
            rest, panel = divmod(item, panels)
            rest, some = divmod(rest, parts)
            image, start = divmod(rest, blocks)
            begin = some * column_block
            end = min(begin + column_block, out_width)
            channel = panel * columns
            source = args.source + image * args.source_image + channel * size
            panel_weights = args.weights + channel * deep * tall * wide * size
            shift = image * args.out_image
            residual = args.residual
            if residual != 0:
                residual += shift
            for line in range(start * block, min((start + 1) * block, lines)):
                above, row = divmod(line, out_height)
                for column in range(begin, end, rows):
                    values = tile_zero(tile)
                    weights = panel_weights
                    for z in range(deep):
                        plane = above * args.stride[0] + z * args.dilation[0] - args.before[0]
                        for y in range(tall):
                            top = row * args.stride[1] + y * args.dilation[1] - args.before[1]
                            there = 0 <= plane < depth and 0 <= top < height
                            # A line outside is one of no pixels.
                            length = width if there else 0
                            base = source + (plane * height + top) * width * pitch
                            pixel = column * stride - args.before[2]
                            done = 0
                            while done + taps <= wide:
                                values = tile_multiply_pixels_inside(
                                    tile, values, taps, stride, dilation, base, pitch, pixel,
                                    length, channels - channel, weights,
                                )  # fmt: skip
                                pixel += taps * dilation
                                weights += taps * columns * size
                                done += taps
                            while done < wide:
                                values = tile_multiply_pixels_inside(
                                    tile, values, 1, stride, dilation, base, pitch, pixel, length,
                                    channels - channel, weights,
                                )  # fmt: skip
                                pixel += dilation
                                weights += columns * size
                                done += 1
                    finish(
                        values, args.bias + channel * size, args.out + shift, residual,
                        args.out_rows, args.out_column, line * out_width + column,
                        (line + 1) * out_width, channel, channels, slope, low, high, scratch,
                    )  # fmt: skip

    return body
