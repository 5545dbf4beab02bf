"""Direct convolution of NCHW images: the register tiles of some channels of vectors of pixels.

What they are fed from, and the words of the argument block, are defined with the plans.
"""

from __future__ import annotations

from fastconv.backends.manifest.convolutions import Planar
from fastconv.backends.native.conv.planar import CUTS
from fastconv.backends.numba.conv.planes import make_copy_lines
from fastconv.backends.numba.engine import inlined, kernel, part
from fastconv.backends.numba.gemm import make_activate
from fastconv.backends.numba.planar_simd import (
    beside,
    from_table,
    lesser,
    tile_add_masked,
    tile_multiply_pixels,
    tile_splat,
    tile_store_at,
    tile_store_masked,
)
from fastconv.backends.numba.simd import Tile


@kernel(Planar)
def planar(  # type: ignore[no-untyped-def]
    tile: Tile, step: int, phases: int, by_table: int, cut: int, single: int
):
    """Multiply: a work item is a part of the channels of a chunk of one group of one image."""
    copy_lines = make_copy_lines(tile, step, phases, by_table)
    activate = make_activate(tile)
    size, lanes, rows, vectors = tile.size, tile.lanes, tile.rows, tile.vectors
    in_rows, in_place = CUTS[cut] == "rows", CUTS[cut] == "pixels"

    @part
    def copy_chunk(args, lines, source, start, stop):  # type: ignore[no-untyped-def]
        """Copy the lines of a group's channels."""
        down = (args.taps_down - 1) * args.apart_down + 1
        whole = (args.chunk - 1) * args.stride_down + down if in_rows else 1
        there = (stop - start - 1) * args.stride_down + down if in_rows else 1
        first = start * args.stride_down if in_rows else 0
        before = args.line_before if in_rows else args.line_before - start * step
        for channel in range(args.in_channels):
            copy_lines(
                lines + channel * whole * phases * args.line_phase * size,
                source + channel * args.plane_bytes, first, there, args.line_rows,
                args.line_columns, args.line_width, before, args.line_phase,
            )  # fmt: skip

    @inlined
    def where(args, source, q, pixels_left):  # type: ignore[no-untyped-def]
        """Return addresses of vectors of inputs, places of outputs, and the lanes that count.

        In the image itself the last vector overlaps the one before, so that none is read past the
        end; at least one fits.
        """
        if in_place:
            first, end = q * lanes * size, (pixels_left - lanes) * size
            places = lesser(beside(tile, first, lanes * size), beside(tile, end, 0))
            pixels = lesser(
                beside(tile, source + first, lanes * size), beside(tile, source + end, 0)
            )
            return pixels, places, beside(tile, lanes, 0)
        table = args.pixels + q * 24
        counts = from_table(tile, 0, table + 16, 3)
        counts = lesser(counts, beside(tile, pixels_left - q * lanes, -lanes))
        return from_table(tile, source, table, 3), from_table(tile, 0, table + 8, 3), counts

    @inlined
    def multiply(args, pixels, places, counts, shift, weights, bias, t):  # type: ignore[no-untyped-def]
        slope, low, high = args.slope, args.low, args.high
        values = tile_splat(tile, bias + t * rows * size, size)
        filters = weights + t * args.steps * rows * size
        values = tile_multiply_pixels(tile, values, pixels, args.offsets, filters, args.steps)
        target = shift + t * rows * args.out_plane
        valid = args.out_channels - t * rows
        if args.residual != 0:
            values = tile_add_masked(
                tile, values, args.residual + target, args.out_plane, places, counts, valid
            )
        values = activate(values, slope, low, high)
        if valid >= rows and min(counts) >= lanes:
            tile_store_at(tile, values, args.out + target, args.out_plane, places)
        else:
            tile_store_masked(
                tile, values, args.out + target, args.out_plane, places, counts, valid
            )

    @inlined
    def sweep_pixels(args, source, shift, weights, bias, pixels_left, count, low, high):  # type: ignore[no-untyped-def]
        """Complete each pixel's channels before the next: inputs are read once."""
        for q in range(0, count, vectors):
            pixels, places, counts = where(args, source, q, pixels_left)
            for t in range(low, high):
                multiply(args, pixels, places, counts, shift, weights, bias, t)

    @inlined
    def sweep_channels(args, source, shift, weights, bias, pixels_left, count, low, high):  # type: ignore[no-untyped-def]
        """Write a chunk of a long line channel by channel: its inputs stay in the first cache."""
        for t in range(low, high):
            for q in range(0, count, vectors):
                pixels, places, counts = where(args, source, q, pixels_left)
                multiply(args, pixels, places, counts, shift, weights, bias, t)

    sweep = sweep_channels if CUTS[cut] == "columns" else sweep_pixels

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        height, width, chunk = args.height, args.width, args.chunk
        length = height if in_rows else width
        chunks = (length + chunk - 1) // chunk
        channels = args.out_channels
        tiles = (channels + rows - 1) // rows
        filter_bytes = args.steps * rows * size
        lines = args.scratch_base + worker * args.scratch_stride
        parts = args.parts
        before = -1
        for item in range(first, last):
            whole, some = divmod(item, parts)
            rest, c = divmod(whole, chunks)
            image, group = divmod(rest, args.groups)
            start, stop = c * chunk, min((c + 1) * chunk, length)
            source = (
                args.planes + image * args.image_bytes + group * args.in_channels * args.plane_bytes
            )
            shift = image * args.out_image + group * channels * args.out_plane
            shift += start * (width if in_rows else 1) * size
            if in_place:
                source += start * size
            else:
                # Several parts of a chunk are made of one copy.
                if whole != before:
                    copy_chunk(args, lines, source, start, stop)
                    before = whole
                source = lines
            # Lines with the outputs' layout are one line; others fill whole vectors.
            line = width if single else (width + lanes - 1) // lanes * lanes
            pixels_left = (stop - start) * (line if in_rows else 1)
            count = (pixels_left + lanes - 1) // lanes
            weights = args.weights + group * tiles * filter_bytes
            bias = args.bias + group * tiles * rows * size
            low, high = tiles * some // parts, tiles * (some + 1) // parts
            sweep(args, source, shift, weights, bias, pixels_left, count, low, high)

    return body
