"""Convolution of few pixels: weights read as they are, and the lowering before it."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.convolutions import Lower, Skinny
from fastconv.backends.native.arena import rounded
from fastconv.backends.numba.engine import array, kernel
from fastconv.backends.numba.gemm import make_activate
from fastconv.backends.numba.simd import (
    Tile,
    tile_add,
    tile_multiply_add_apart,
    tile_store,
    tile_strided,
    tile_zero,
)

CHUNK = Skinny.CHUNK


@kernel(Lower)
def lower(name: str):  # type: ignore[no-untyped-def]
    """Lower planes: row (plane, tap) has the cells of all pixels, zeros after the last one."""
    dtype, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        entries, cell_count, block = args.entries, args.cells, args.plane_block
        table = array(args.table, (entries,), np.int32)
        for plane in range(first * block, min(last * block, args.plane_count)):
            cells = array(args.planes + plane * cell_count * size, (cell_count,), dtype)
            to = array(args.lowered + plane * entries * size, (entries,), dtype)
            for i in range(entries):
                to[i] = cells[table[i]] if table[i] >= 0 else dtype(0)

    return body


@kernel(Skinny)
def skinny(tile: Tile):  # type: ignore[no-untyped-def]
    """Multiply: a work item is a block of output channels, and of pixels of all images."""
    dtype = np.dtype(tile.dtype).type
    size, rows, width = tile.size, tile.rows, tile.columns
    corner = rounded(rows * CHUNK * size)
    activate = make_activate(tile)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        depth, channels, groups, pixels = args.depth, args.channels, args.groups, args.pixels
        pitch, block = args.pitch * size, args.row_block
        row_blocks = (channels + block - 1) // block
        pixel_block = args.column_block
        column_blocks = (pixels + pixel_block - 1) // pixel_block
        scratch = args.scratch_base + worker * args.scratch_stride
        chunk = array(scratch, (rows, CHUNK), dtype)
        buffer = array(scratch + corner, (rows, width), dtype)
        addresses = tile_strided(tile, scratch, CHUNK * size)
        places = tile_strided(tile, scratch + corner, width * size)
        weights = array(args.weights, (groups * channels, depth), dtype)
        shape = (args.images, groups * channels, pixels)
        out = array(args.out, shape, dtype)
        slope, low, high = args.slope, args.low, args.high
        for item in range(first, last):
            part, left = item // column_blocks, item % column_blocks * pixel_block
            right = min(left + pixel_block, pixels)
            group, part = part // row_blocks, part % row_blocks
            for row in range(part * block, min((part + 1) * block, channels), rows):
                top, there = group * channels + row, min(rows, channels - row)
                for image in range(args.images):
                    columns = args.columns + (image * groups + group) * depth * pitch
                    for column in range(left, right, width):
                        values = tile_zero(tile)
                        for k in range(0, depth, CHUNK):
                            count = min(CHUNK, depth - k)
                            for r in range(rows):
                                of = weights[top + min(r, there - 1), k : k + count]
                                for i in range(count):
                                    chunk[r, i] = of[i]
                            values = tile_multiply_add_apart(
                                tile, values, addresses, columns + k * pitch + column * size,
                                pitch, count,
                            )  # fmt: skip
                        valid = min(width, pixels - column)
                        if args.bias != 0:
                            bias = array(args.bias, (groups * channels,), dtype)
                            for r in range(rows):
                                buffer[r, :] = bias[top + min(r, there - 1)]
                            values = tile_add(tile, values, places)
                        if args.residual != 0:
                            residual = array(args.residual, shape, dtype)
                            buffer[:, :] = 0
                            for r in range(there):
                                for c in range(valid):
                                    buffer[r, c] = residual[image, top + r, column + c]
                            values = tile_add(tile, values, places)
                        values = activate(values, slope, low, high)
                        tile_store(tile, values, places)
                        for r in range(there):
                            for c in range(valid):
                                out[image, top + r, column + c] = buffer[r, c]

    return body
