"""The kernel of overlap-save: gather two blocks, transform, multiply, transform back, store."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv.backends.manifest.convolutions import Fft
from fastconv.backends.numba.conv.depthwise_planar import make_store
from fastconv.backends.numba.conv.fft.butterflies import make_passes, multiply_spectrum
from fastconv.backends.numba.engine import array, kernel, part
from fastconv.backends.numba.planar_simd import split_columns, tile_splat
from fastconv.backends.numba.simd import Tile, tile_add, tile_strided
from fastconv.backends.numba.transpose import transpose_block


def make_gather(tile: Tile, flat: bool, by_table: bool) -> Callable[..., None]:
    """Make the function that copies a matrix's two blocks, padded, as its two parts."""
    dtype, size, lanes = np.dtype(tile.dtype).type, tile.size, tile.lanes

    @part
    def gather(args, matrix, plane, target):  # type: ignore[no-untyped-def]
        lines, length, width = args.lines, args.length, args.in_width
        for half in range(2):
            for r in range(lines):
                block = 2 * (matrix * lanes + r) + half if flat else 2 * matrix + half
                above, left = divmod(block, args.blocks_across)
                line = 0 if flat else above * args.outputs_down + r
                first = left * args.outputs_across
                row = -1
                if block < args.blocks:
                    row = array(args.rows + 8 * line, (1,), np.int64)[0]
                shown = width if row >= 0 else 0
                source = plane + max(row, 0) * width * size
                place = target + half * args.matrix_bytes + r * args.pitch
                if by_table:
                    cells = array(place, (length,), dtype)
                    pixels = array(source, (width,), dtype)
                    which = array(args.columns + 8 * first, (length,), np.int64)
                    for i in range(length):
                        there = row >= 0 and which[i] >= 0
                        cells[i] = pixels[which[i]] if there else dtype(0)
                else:
                    for x in range(0, length, lanes):
                        split_columns(
                            tile, 1, 1, source, first + x - args.before, shown, place + x * size,
                            0,
                        )  # fmt: skip

    return gather  # type: ignore[no-any-return]


def make_filter(tile: Tile, flat: bool) -> Callable[..., None]:
    """Make the function that takes a matrix's rows to their spectrum, filters it, and back."""
    forward, inverse = make_passes(tile, False), make_passes(tile, True)
    size, lanes = tile.size, tile.lanes
    vector = size * lanes
    step = 2 * (size if flat else vector)

    @part
    def filter_rows(args, source, target, line, spectrum):  # type: ignore[no-untyped-def]
        length, pitch = args.length, args.pitch
        for r in range(0, args.lines, lanes):
            for half in range(2):
                start = source + half * args.matrix_bytes + r * pitch
                for x in range(0, length, lanes):
                    transpose_block(
                        tile, start + x * size, pitch, line + (2 * x + half) * vector, 2 * vector
                    )
            forward(line, line + vector, 2 * vector, args.across, args.across_count,
                    args.across_twiddles)  # fmt: skip
            for k in range(length):
                multiply_spectrum(tile, flat, line + 2 * k * vector, spectrum + k * step)
            spectrum += length * step
            inverse(line, line + vector, 2 * vector, args.across, args.across_count,
                    args.across_twiddles)  # fmt: skip
            for half in range(2):
                start = target + half * args.matrix_bytes + r * pitch
                for x in range(0, length, lanes):
                    transpose_block(
                        tile, line + (2 * x + half) * vector, 2 * vector, start + x * size, pitch
                    )

    return filter_rows  # type: ignore[no-any-return]


def make_scatter(tile: Tile, flat: bool) -> Callable[..., None]:
    """Make the function that stores a matrix's outputs, with the epilogue."""
    store = make_store(tile)
    dtype, size, lanes = np.dtype(tile.dtype).type, tile.size, tile.lanes

    @part
    def scatter(args, matrix, image, channel, source):  # type: ignore[no-untyped-def]
        down, across = args.step_down, args.step_across
        for half in range(2):
            for r in range(0, args.lines if flat else args.outputs_down, down):
                block = 2 * (matrix * lanes + r) + half if flat else 2 * matrix + half
                above, left = divmod(block, args.blocks_across)
                row = 0 if flat else (above * args.outputs_down + r) // down
                column = left * args.outputs_across // across
                if block >= args.blocks or row >= args.height:
                    break
                count = min(args.outputs_across // across, args.width - column)
                line = source + half * args.matrix_bytes + r * args.pitch
                if across > 1:
                    cells = array(line, (args.length,), dtype)
                    for i in range(count):
                        cells[i] = cells[i * across]
                for x in range(0, count, lanes):
                    values = tile_splat(tile, args.bias + channel * size, 0)
                    values = tile_add(tile, values, tile_strided(tile, line + x * size, 0))
                    store(args, values, image, row, 1, column + x, count - x)

    return scatter  # type: ignore[no-any-return]


@kernel(Fft)
def overlap_save(tile: Tile, flat: bool, by_table: bool):  # type: ignore[no-untyped-def]
    """Filter planes: a work item is two blocks (one dimension: pairs of them) of one plane."""
    gather, filter_rows = make_gather(tile, flat, by_table), make_filter(tile, flat)
    forward, inverse = make_passes(tile, False), make_passes(tile, True)
    scatter = make_scatter(tile, flat)
    size, lanes = tile.size, tile.lanes

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        scratch = args.scratch_base + worker * args.scratch_stride
        length, pitch, multiplier = args.length, args.pitch, args.multiplier
        line = scratch
        matrix = line + args.line_bytes
        filtered = matrix + 2 * args.matrix_bytes if multiplier > 1 else matrix
        before = -1
        for item in range(first, last):
            whole, some = divmod(item, args.parts)
            plane, number = divmod(whole, args.matrices)
            # Several parts of the filters take one transform.
            known = whole == before
            before = whole
            if not known:
                gather(args, number, args.planes + plane * args.plane_bytes, matrix)
            if not flat and not known:
                for x in range(0, length, lanes):
                    start = matrix + x * size
                    forward(start, start + args.matrix_bytes, pitch, args.down,
                            args.down_count, args.down_twiddles)  # fmt: skip
            begin = multiplier * some // args.parts
            for m in range(begin, multiplier * (some + 1) // args.parts):
                channel = (plane % args.channels) * multiplier + m
                spectrum = args.weights + channel * args.spectrum_bytes
                filter_rows(args, matrix, filtered, line, spectrum)
                if not flat:
                    wide = min(length, args.outputs_across)
                    for x in range(0, wide, lanes):
                        start = filtered + x * size
                        inverse(start, start + args.matrix_bytes, pitch, args.down,
                                args.down_count, args.down_twiddles)  # fmt: skip
                scatter(args, number, plane * multiplier + m, channel, filtered)

    return body
