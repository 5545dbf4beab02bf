"""Input transforms of channels-first images: tiles are turned channels last as they are read.

A run of tiles next to each other is transposed, a vector of channels at a time, into memory that
stays in the first cache; nothing is packed beforehand.
"""

from __future__ import annotations

from fastconv.backends.manifest.convolutions import Winograd
from fastconv.backends.native.cook_toom import transform
from fastconv.backends.numba.conv.winograd.kernels import Filter, find_tile, make_apply
from fastconv.backends.numba.engine import kernel, part
from fastconv.backends.numba.linear_map import Matrix
from fastconv.backends.numba.planar_simd import transpose_inside
from fastconv.backends.numba.simd import Tile


@kernel(Winograd)
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
        plane, line = args.source_plane, args.run_pixels * vector
        valid = args.in_channels - channel
        source = args.source + image * args.source_image + channel * plane
        pixels = (some * m + r - 1) * args.stride_across
        phases = args.phases_down
        for i in range(rows_read * phases):
            h = top + i // phases * args.stride_down + i % phases
            shown = args.in_width if 0 <= h < args.in_height else 0
            start = source + min(max(h, 0), args.in_height - 1) * args.in_width * size
            target = args.base + args.run + i * line
            for p in range(0, pixels, lanes):
                transpose_inside(
                    tile, start, plane, left + p, shown, valid, target + p * vector, vector
                )

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        blocks, rows = args.channel_blocks, args.tile_rows
        across_stride = args.stride_across
        line = args.run_pixels * vector
        phases = args.phases_across
        t = first
        while t < last:
            image, sy, sx, y, x = find_tile(args, min(args.start + t, args.tiles - 1))
            some = min(args.run_tiles, last - t, args.tiles_across - x)
            top = y * tall * args.stride_down + sy - args.before_down
            left = x * m * across_stride + sx - args.before_across
            for c in range(blocks):
                read_run(args, image, (args.group * blocks + c) * lanes, top, left, some)
                for g in range(some):
                    q, row = divmod(t + g, rows)
                    target = args.base + args.inputs + q * args.a_tile
                    for py in range(args.phases_down):
                        for px in range(phases):
                            block = (py * phases + px) * blocks + c
                            pixel = g * m * across_stride + px
                            apply(
                                args.base + args.run + py * line + pixel * vector,
                                args.phases_down * line, across_stride * vector,
                                args.base + args.between,
                                target + (block * rows + row) * vector,
                                n * args.a_frequency, args.a_frequency,
                            )  # fmt: skip
            t += some

    return body
