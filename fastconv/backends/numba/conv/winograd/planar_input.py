"""Input transforms of channels-first images: tiles are turned channels last as they are read.

A run of tiles beside each other is transposed, a vector of channels at a time, into memory that
stays in the first cache; nothing is packed beforehand.
"""

from __future__ import annotations

from fastconv.backends.native.conv.winograd import words as w
from fastconv.backends.native.cook_toom import transform
from fastconv.backends.numba.conv.winograd.kernels import Filter, find_tile, make_apply
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
        plane, line = args[w.SOURCE_PLANE], args[w.RUN_PIXELS] * vector
        valid = args[w.IN_CHANNELS] - channel
        source = args[w.SOURCE] + image * args[w.SOURCE_IMAGE] + channel * plane
        pixels = (some * m + r - 1) * args[w.STRIDE_ACROSS]
        phases = args[w.PHASES_DOWN]
        for i in range(rows_read * phases):
            h = top + i // phases * args[w.STRIDE_DOWN] + i % phases
            shown = args[w.IN_WIDTH] if 0 <= h < args[w.IN_HEIGHT] else 0
            start = source + min(max(h, 0), args[w.IN_HEIGHT] - 1) * args[w.IN_WIDTH] * size
            target = args[w.BASE] + args[w.RUN] + i * line
            for p in range(0, pixels, lanes):
                transpose_inside(
                    tile, start, plane, left + p, shown, valid, target + p * vector, vector
                )

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        blocks, rows = args[w.CHANNEL_BLOCKS], args[w.TILE_ROWS]
        across_stride = args[w.STRIDE_ACROSS]
        line = args[w.RUN_PIXELS] * vector
        phases = args[w.PHASES_ACROSS]
        t = first
        while t < last:
            image, sy, sx, y, x = find_tile(args, min(args[w.START] + t, args[w.TILES] - 1))
            some = min(args[w.RUN_TILES], last - t, args[w.TILES_ACROSS] - x)
            top = y * tall * args[w.STRIDE_DOWN] + sy - args[w.BEFORE_DOWN]
            left = x * m * across_stride + sx - args[w.BEFORE_ACROSS]
            for c in range(blocks):
                read_run(args, image, (args[w.GROUP] * blocks + c) * lanes, top, left, some)
                for g in range(some):
                    q, row = divmod(t + g, rows)
                    target = args[w.BASE] + args[w.INPUTS] + q * args[w.A_TILE]
                    for py in range(args[w.PHASES_DOWN]):
                        for px in range(phases):
                            block = (py * phases + px) * blocks + c
                            pixel = g * m * across_stride + px
                            apply(
                                args[w.BASE] + args[w.RUN] + py * line + pixel * vector,
                                args[w.PHASES_DOWN] * line, across_stride * vector,
                                args[w.BASE] + args[w.BETWEEN],
                                target + (block * rows + row) * vector,
                                n * args[w.A_FREQUENCY], args[w.A_FREQUENCY],
                            )  # fmt: skip
            t += some

    return body
