"""Depthwise convolution: vector lanes across channels, a tile of neighbouring outputs in registers.

The words of an argument block, and how work is cut, stand with the plans.
"""

from __future__ import annotations

from fastconv.backends.native.conv import depthwise as w
from fastconv.backends.numba.engine import as_float, kernel
from fastconv.backends.numba.gemm import make_finish
from fastconv.backends.numba.planar_simd import tile_multiply_pixels_inside
from fastconv.backends.numba.simd import Tile, tile_zero


@kernel
def depthwise(tile: Tile, taps: int, stride: int, dilation: int):  # type: ignore[no-untyped-def]
    """Sum taps: a work item is a block of output lines of one vector of channels of one image."""
    finish = make_finish(tile)
    size, columns, rows = tile.size, tile.columns, tile.rows

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        channels, pitch, block = args[w.CHANNELS], args[w.PITCH], args[w.LINE_BLOCK]
        deep, tall, wide = (
            args[w.KERNEL_SIZE],
            args[w.KERNEL_SIZE + 1],
            args[w.KERNEL_SIZE + 2],
        )
        depth, height, width = args[w.INPUT_SIZE], args[w.INPUT_SIZE + 1], args[w.INPUT_SIZE + 2]
        out_height, out_width = args[w.OUTPUT_SIZE + 1], args[w.OUTPUT_SIZE + 2]
        lines = args[w.OUTPUT_SIZE] * out_height
        panels = (channels + columns - 1) // columns
        blocks = (lines + block - 1) // block
        scratch = args[w.SCRATCH_BASE] + worker * args[w.SCRATCH_STRIDE]
        slope, low, high = as_float(args[w.SLOPE]), as_float(args[w.LOW]), as_float(args[w.HIGH])
        column_block = args[w.COLUMN_BLOCK]
        parts = (out_width + column_block - 1) // column_block
        for item in range(first, last):
            rest, panel = divmod(item, panels)
            rest, some = divmod(rest, parts)
            image, start = divmod(rest, blocks)
            begin = some * column_block
            end = min(begin + column_block, out_width)
            channel = panel * columns
            source = args[w.SOURCE] + image * args[w.SOURCE_IMAGE] + channel * size
            panel_weights = args[w.WEIGHTS] + channel * deep * tall * wide * size
            shift = image * args[w.OUT_IMAGE]
            residual = args[w.RESIDUAL]
            if residual != 0:
                residual += shift
            for line in range(start * block, min((start + 1) * block, lines)):
                above, row = divmod(line, out_height)
                for column in range(begin, end, rows):
                    values = tile_zero(tile)
                    weights = panel_weights
                    for z in range(deep):
                        plane = above * args[w.STRIDE] + z * args[w.DILATION] - args[w.BEFORE]
                        for y in range(tall):
                            top = (
                                row * args[w.STRIDE + 1]
                                + y * args[w.DILATION + 1]
                                - args[w.BEFORE + 1]
                            )
                            there = 0 <= plane < depth and 0 <= top < height
                            # A line outside is one of no pixels.
                            length = width if there else 0
                            base = source + (plane * height + top) * width * pitch
                            pixel = column * stride - args[w.BEFORE + 2]
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
                        values, args[w.BIAS] + channel * size, args[w.OUT] + shift, residual,
                        args[w.OUT_ROWS], args[w.OUT_COLUMN], line * out_width + column,
                        (line + 1) * out_width, channel, channels, slope, low, high, scratch,
                    )  # fmt: skip

    return body
