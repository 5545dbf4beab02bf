"""Lines folded into lines, and lines shuffled into outputs: the arithmetic of planar pools."""

from __future__ import annotations

import dataclasses

import numpy as np

from fastconv.backends.manifest.pools import EmitLines, FoldLines
from fastconv.backends.native.pool.operations import LONG, OPERATIONS
from fastconv.backends.numba.engine import array, inlined, kernel
from fastconv.backends.numba.planar_simd import (
    beside,
    tile_fill,
    tile_store_at,
    tile_store_masked,
)
from fastconv.backends.numba.pool.long_sum import make_long_sum
from fastconv.backends.numba.pool.simd import (
    tile_bring,
    tile_bring_first,
    tile_divide,
    tile_root,
    tile_take,
    tile_take_strided,
    tile_total,
)
from fastconv.backends.numba.simd import Tile


def neutral_of(kind: str) -> float:
    """Return what changes nothing that it is brought together with."""
    return -np.inf if kind.endswith("max") else 0.0


@kernel(FoldLines)
def fold(tile: Tile, kind: str):  # type: ignore[no-untyped-def]
    """Fold the lines that cells are in, at whatever distance, into one.

    The last tile of a line overlaps the one before, unless that would fold elements twice. Up to
    a vector's elements after the last may be written: with what is neutral.
    """
    narrow = dataclasses.replace(tile, vectors=1)
    size, columns, lanes, neutral = tile.size, tile.columns, tile.lanes, neutral_of(kind)
    # Few images have a NaN in them: less code for those.
    fast = kind != "max"

    @inlined
    def bring_all(shape, values, base, step, first, cells):  # type: ignore[no-untyped-def]
        for cell in range(first, cells):
            values = tile_bring(shape, values, kind, base + cell * step)
        return values

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        cells, step, count, carry = args.cells, args.cell_step, args.count, args.into
        for line in range(first, last):
            target = args.to + line * args.to_step
            source = args.source + line * args.source_step
            done = 0
            # Where the last whole tile starts that is not done.
            end = count - columns
            while fast and done <= end and cells > 0:
                place, base = target + done * size, source + done * size
                if carry:
                    values = tile_take(tile, "sum", place)
                    values = bring_all(tile, values, base, step, 0, cells)
                else:
                    values = tile_take(tile, kind, base)
                    values = bring_all(tile, values, base, step, 1, cells)
                tile_store_at(tile, values, place, 0, beside(tile, 0, lanes * size))
                done += columns
                if end < done < count and not carry:
                    done = end
            end = count - lanes
            while fast and done <= end and cells > 0 and not carry:
                base = source + done * size
                one = tile_take(narrow, kind, base)
                one = bring_all(narrow, one, base, step, 1, cells)
                tile_store_at(narrow, one, target + done * size, 0, beside(narrow, 0, 0))
                done += lanes
                if end < done < count:
                    done = end
            while done < count:
                place, base = target + done * size, source + done * size
                rest = tile_fill(narrow, neutral)
                if carry:
                    rest = tile_take(narrow, "sum", place)
                for cell in range(cells):
                    rest = tile_bring_first(
                        narrow, rest, kind, base + cell * step, count - done, neutral
                    )
                tile_store_at(narrow, rest, place, 0, beside(narrow, 0, 0))
                done += lanes

    return body


@kernel(EmitLines)
def emit(tile: Tile, kind: str, operation: str, taps: int, stride: int):  # type: ignore[no-untyped-def]
    """Shuffle lines into outputs of ``taps`` neighbours, ``stride`` apart, and finish them."""
    tile = dataclasses.replace(tile, vectors=1)
    size, lanes = tile.size, tile.lanes
    mean, rooted = kind == "avg", kind == "squares"

    @inlined
    def finished(base, down, across):  # type: ignore[no-untyped-def]
        values = tile_take_strided(tile, operation, taps, stride, base)
        if mean:
            values = tile_divide(tile, values, down, across)
        if rooted:
            values = tile_root(tile, values)
        return values

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        count, across = args.outputs, args.across
        places, whole = beside(tile, 0, 0), count // lanes * lanes
        rest = beside(tile, count - whole, 0)
        for row in range(first, last):
            line = args.line + row * args.line_step
            out = args.results + row * args.results_step
            down = args.down + row * size
            for o in range(0, whole, lanes):
                values = finished(line + o * stride * size, down, across + o * size)
                tile_store_at(tile, values, out + o * size, 0, places)
            if whole < count:
                values = finished(line + whole * stride * size, down, across + whole * size)
                tile_store_masked(tile, values, out + whole * size, 0, places, rest, 1)

    return body


@kernel(EmitLines)
def emit_windows(tile: Tile, kind: str):  # type: ignore[no-untyped-def]
    """Fold lines into outputs, window by window, whatever their size."""
    size, columns, dtype = tile.size, tile.columns, np.dtype(tile.dtype).type
    neutral, operation = neutral_of(kind), OPERATIONS[kind][1]
    largest, mean, rooted = kind == "max", kind == "avg", kind == "squares"
    long_sum = make_long_sum(tile)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        count, row_outputs = args.outputs, args.row_outputs
        starts = array(args.seen + 8 * args.first_output, (count,), np.int64)
        numbers = array(args.seen + 8 * (args.first_output + row_outputs), (count,), np.int64)
        across, step = array(args.across, (count,), dtype), args.seen_step
        down = array(args.down, (last,), dtype)
        for row in range(first, last):
            line = args.line + row * args.line_step
            out = array(args.results + row * args.results_step, (count,), dtype)
            for o in range(count):
                cells, start = numbers[o], line + (starts[o] - args.first_column) * size
                total = dtype(neutral)
                if cells >= LONG and step == 1 and not largest:
                    total = dtype(long_sum(start, cells))
                elif cells >= LONG and step == 1:
                    values = tile_fill(tile, neutral)
                    for done in range(0, cells, columns):
                        values = tile_bring_first(
                            tile, values, operation, start + done * size, cells - done, neutral
                        )
                    total = dtype(tile_total(tile, values, operation))
                else:
                    seen = array(start, (cells * step,), dtype)
                    for cell in range(cells):
                        value = seen[cell * step]
                        if largest:
                            total = value if value > total or value != value else total
                        else:
                            total += value
                if mean:
                    total /= down[row] * across[o]
                out[o] = np.sqrt(total) if rooted else total

    return body
