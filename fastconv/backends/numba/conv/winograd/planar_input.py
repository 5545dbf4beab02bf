"""Input transforms of channels-first images: tiles are turned channels last as they are read.

A run of tiles beside each other is transposed, a vector of channels at a time, into memory that
stays in the first cache; nothing is packed beforehand.
"""

from __future__ import annotations

from fastconv.backends.cook_toom import transform
from fastconv.backends.numba.conv.winograd.kernels import Filter, find_tile, make_apply
from fastconv.backends.numba.conv.winograd.words import (
    A_FREQUENCY,
    A_TILE,
    BASE,
    BEFORE_ACROSS,
    BEFORE_DOWN,
    BETWEEN,
    CHANNEL_BLOCKS,
    GROUP,
    IN_CHANNELS,
    IN_HEIGHT,
    IN_WIDTH,
    INPUTS,
    PHASES_ACROSS,
    PHASES_DOWN,
    RUN,
    RUN_PIXELS,
    RUN_TILES,
    SOURCE,
    SOURCE_IMAGE,
    SOURCE_PLANE,
    START,
    STRIDE_ACROSS,
    STRIDE_DOWN,
    TILE_ROWS,
    TILES,
    TILES_ACROSS,
)
from fastconv.backends.numba.engine import kernel, part
from fastconv.backends.numba.linear_map import Matrix
from fastconv.backends.numba.planar_simd import transpose_inside
from fastconv.backends.numba.simd import Tile


@kernel
def transform_planar(tile: Tile, down: Filter, across: Filter):  # type: ignore[no-untyped-def]
    """Transform the inputs of a block's tiles, as `transform_input` does, from planes."""
    high, wide = transform(*down), transform(*across)
    apply = make_apply(tile, Matrix.of(high.bt), Matrix.of(wide.bt))
    lanes, size = tile.lanes, tile.size
    vector = lanes * size
    rows_read, tall, m, n, r = high.n, high.m, wide.m, wide.n, wide.r

    @part
    def read_run(args, image, channel, top, left, some):  # type: ignore[no-untyped-def]
        """Transpose the lines under ``some`` tiles of one vector of channels."""
        plane, line = args[SOURCE_PLANE], args[RUN_PIXELS] * vector
        valid = args[IN_CHANNELS] - channel
        source = args[SOURCE] + image * args[SOURCE_IMAGE] + channel * plane
        pixels = (some * m + r - 1) * args[STRIDE_ACROSS]
        phases = args[PHASES_DOWN]
        for i in range(rows_read * phases):
            h = top + i // phases * args[STRIDE_DOWN] + i % phases
            shown = args[IN_WIDTH] if 0 <= h < args[IN_HEIGHT] else 0
            start = source + min(max(h, 0), args[IN_HEIGHT] - 1) * args[IN_WIDTH] * size
            target = args[BASE] + args[RUN] + i * line
            for p in range(0, pixels, lanes):
                transpose_inside(
                    tile, start, plane, left + p, shown, valid, target + p * vector, vector
                )

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        blocks, rows = args[CHANNEL_BLOCKS], args[TILE_ROWS]
        across_stride = args[STRIDE_ACROSS]
        line = args[RUN_PIXELS] * vector
        phases = args[PHASES_ACROSS]
        t = first
        while t < last:
            image, sy, sx, y, x = find_tile(args, min(args[START] + t, args[TILES] - 1))
            some = min(args[RUN_TILES], last - t, args[TILES_ACROSS] - x)
            top = y * tall * args[STRIDE_DOWN] + sy - args[BEFORE_DOWN]
            left = x * m * across_stride + sx - args[BEFORE_ACROSS]
            for c in range(blocks):
                read_run(args, image, (args[GROUP] * blocks + c) * lanes, top, left, some)
                for g in range(some):
                    q, row = divmod(t + g, rows)
                    target = args[BASE] + args[INPUTS] + q * args[A_TILE]
                    for py in range(args[PHASES_DOWN]):
                        for px in range(phases):
                            block = (py * phases + px) * blocks + c
                            pixel = g * m * across_stride + px
                            apply(
                                args[BASE] + args[RUN] + py * line + pixel * vector,
                                args[PHASES_DOWN] * line, across_stride * vector,
                                args[BASE] + args[BETWEEN], target + (block * rows + row) * vector,
                                n * args[A_FREQUENCY], args[A_FREQUENCY],
                            )  # fmt: skip
            t += some

    return body
