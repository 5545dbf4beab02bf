"""The kernel of max, average and Lp pools: one dimension after the other.

The rows of a window are folded into one line first (contiguous, whatever the stride), then the
line's columns into outputs: a window of h x w cells takes h + w steps, not h w. Sums run in this
order whatever the tile, so that an output's bits depend on its image alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.manifest.pools import Separable
from fastconv.backends.native.pool.geometry import FLAT, PER_OUTPUT
from fastconv.backends.numba.engine import array, kernel, part
from fastconv.backends.numba.pool import sweeps
from fastconv.backends.numba.pool.block import split_item, window

RUN_LANES = Separable.RUN_LANES

# kind -> operation; "largest" is the Lp pool with p = infinity.
OPERATIONS = {"max": "max", "largest": "max", "avg": "sum", "lp": "sum"}


def make_prepare(kind: str, dtype: str, wide: str) -> Any:
    """Make the function that turns a row into what is folded: abs(x), to the power p."""
    given, kept = np.dtype(dtype).type, np.dtype(wide).type

    @part
    def prepare(target, source, n, p):  # type: ignore[no-untyped-def]
        x, values = array(source, (n,), given), array(target, (n,), kept)
        if kind == "largest" or p == 1:
            for j in range(n):
                values[j] = abs(kept(x[j]))
        elif p == np.floor(p) and p <= 16:
            for j in range(n):
                values[j] = abs(kept(x[j]))
            for _ in range(int(p) - 1):
                for j in range(n):
                    values[j] *= abs(kept(x[j]))
        else:
            for j in range(n):
                values[j] = abs(kept(x[j])) ** p

    return prepare


def make_finish(kind: str, dtype: str, wide: str) -> Any:
    """Make the function that turns what was folded into a tile's outputs.

    ``n`` outputs of ``lanes``; output o's mean is over ``cells * counts[first + o]``.
    """
    given, kept = np.dtype(dtype).type, np.dtype(wide).type

    @part
    def finish(sums, out, n, lanes, cells, counts, first, total, p):  # type: ignore[no-untyped-def]
        if kind == "avg":
            values, table = array(out, (n, lanes), given), array(counts, (total,), np.int64)
            if lanes == 1:
                line = array(out, (n,), given)
                for o in range(n):
                    line[o] = line[o] / given(cells * table[first + o])
            else:
                for o in range(n):
                    divisor = given(cells * table[first + o])
                    for c in range(lanes):
                        values[o, c] = values[o, c] / divisor
        elif kind == "lp":
            values, powers = array(out, (n * lanes,), given), array(sums, (n * lanes,), kept)
            if p == 1:
                for j in range(n * lanes):
                    values[j] = powers[j]
            elif p == 2:
                for j in range(n * lanes):
                    values[j] = np.sqrt(powers[j])
            else:
                for j in range(n * lanes):
                    values[j] = powers[j] ** (1 / p)

    return finish


def make_fold_window_rows(kind: str, dtype: str, wide: str, fold_rows: Any, fill: Any) -> Any:
    """Make the function that folds the rows of a window into one line."""
    size, wide_size = np.dtype(dtype).itemsize, np.dtype(wide).itemsize
    plain = kind in ("max", "avg")
    prepare = make_prepare(kind, dtype, wide)

    @part
    def fold_window_rows(args, image, od, oh, first, last, lane, lanes, line, powers):  # type: ignore[no-untyped-def]
        """Return the line's address and the bytes from one of its columns to the next."""
        d, d_cells, _ = window(args.d_table, args.out_depth, od)
        h, h_cells, _ = window(args.h_table, args.out_height, oh)
        pitch = args.lanes * size
        row_bytes = args.width * pitch
        plane = args.source + image * args.depth * args.height * row_bytes
        plane += (d * args.height + h) * row_bytes + first * pitch + lane * size
        d_bytes, h_bytes = args.d_step * args.height * row_bytes, args.h_step * row_bytes
        if plain and d_cells == 1 and h_cells == 1:
            return plane, pitch
        whole = lanes == args.lanes
        repeats = 1 if whole else last - first
        n = (last - first) * lanes if whole else lanes
        p = args.power
        for repeat in range(repeats):
            target, source = line + repeat * n * wide_size, plane + repeat * pitch
            fill(target, n)
            done = 0
            while done < d_cells * h_cells:
                a = source + done // h_cells * d_bytes + done % h_cells * h_bytes
                if not plain:
                    prepare(powers, a, n, p)
                    fold_rows(target, powers, powers, powers, 1, n)
                    done += 1
                    continue
                group = min(3, d_cells * h_cells - done)
                b, c = a, a
                if group > 1:
                    done += 1
                    b = source + done // h_cells * d_bytes + done % h_cells * h_bytes
                if group > 2:
                    done += 1
                    c = source + done // h_cells * d_bytes + done % h_cells * h_bytes
                done += 1
                fold_rows(target, a, b, c, group, n)
        return line, lanes * wide_size

    return fold_window_rows


def make_fold_columns(operation: str, wide: str, fold_rows: Any, fill: Any) -> Any:
    """Make the function that folds a line's columns into the outputs of a tile."""
    size = np.dtype(wide).itemsize
    kind = np.dtype(wide).type
    fold, start = sweeps.make_fold(operation, wide)
    fold_spaced = sweeps.make_fold_spaced(fold_rows)
    fold_strided = sweeps.make_fold_strided(fold, wide)
    fold_run = sweeps.make_fold_run(fold, wide, start)

    @part
    def one_by_one(args, line, pitch, column, first, last, lanes, target, target_pitch, parts):  # type: ignore[no-untyped-def]
        for o in range(first, last):
            place = target + (o - first) * target_pitch
            begin, cells, _ = window(args.w_table, args.out_width, o)
            source = line + (begin - column) * pitch
            if args.lanes == 1:
                value = start if cells == 0 else fold_run(source, cells, args.w_step, parts)
                array(place, (1,), kind)[0] = value
            else:
                fill(place, lanes)
                fold_spaced(place, source, cells, args.w_step * pitch, lanes)

    @part
    def tap_by_tap(args, line, column, first, last, lanes, target):  # type: ignore[no-untyped-def]
        ranges = array(args.tap_table, (2, args.taps), np.int64)
        stride, flat = args.stride, args.mode == FLAT
        fill(target, (last - first) * lanes)
        for tap in range(args.taps):
            low, high = max(first, ranges[0, tap]), min(last, ranges[1, tap])
            if high <= low:
                continue
            cell = low * stride - args.before + tap * args.dilation - column
            place, source = target + (low - first) * lanes * size, line + cell * lanes * size
            if flat:
                fold_rows(place, source, source, source, 1, (high - low) * lanes)
            else:
                fold_strided(place, source, high - low, stride)

    return one_by_one, tap_by_tap


@kernel(Separable)
def separable(kind: str, dtype: str):  # type: ignore[no-untyped-def]
    """Pool: a work item is a tile of one output row, and a block of lanes."""
    wide = "float64" if kind == "lp" else dtype
    size, wide_size = np.dtype(dtype).itemsize, np.dtype(wide).itemsize
    operation = OPERATIONS[kind]
    fold, start = sweeps.make_fold(operation, wide)
    fill, fold_rows = sweeps.make_fill(wide, start), sweeps.make_fold_rows(fold, wide)
    fold_window_rows = make_fold_window_rows(kind, dtype, wide, fold_rows, fill)
    one_by_one, tap_by_tap = make_fold_columns(operation, wide, fold_rows, fill)
    finish = make_finish(kind, dtype, wide)
    in_place = kind != "lp"

    def body(args, first_item, last_item, worker):  # type: ignore[no-untyped-def]
        line = args.scratch_base + worker * args.scratch_stride
        powers = line + args.line_bytes
        parts = powers + args.line_bytes
        sums = parts + RUN_LANES * wide_size
        width, lanes = args.out_width, args.lanes
        columns_from = array(args.tile_from, (args.tiles,), np.int64)
        columns_to = array(args.tile_to, (args.tiles,), np.int64)
        d_counts = array(args.d_count, (args.out_depth,), np.int64)
        h_counts = array(args.h_count, (args.out_height,), np.int64)
        p = args.power
        for item in range(first_item, last_item):
            image, od, oh, tile, block = split_item(args, item)
            lane = block * args.lane_block
            some = min(args.lane_block, lanes - lane)
            first = tile * args.tile
            last = min(width, first + args.tile)
            column = columns_from[tile]
            source, pitch = fold_window_rows(
                args, image, od, oh, column, columns_to[tile], lane, some, line, powers
            )
            row = (image * args.out_depth + od) * args.out_height + oh
            out = args.out + ((row * width + first) * lanes + lane) * size
            cells = d_counts[od] * h_counts[oh]
            if args.mode != PER_OUTPUT:
                target = out if in_place else sums
                tap_by_tap(args, source, column, first, last, some, target)
                finish(target, out, last - first, some, cells, args.w_count, first, width, p)
                continue
            target = out if in_place else sums
            step = lanes * size if in_place else some * wide_size
            one_by_one(args, source, pitch, column, first, last, some, target, step, parts)
            if some == lanes:
                finish(target, out, last - first, some, cells, args.w_count, first, width, p)
                continue
            for o in range(first, last):
                finish(
                    target + (o - first) * step, out + (o - first) * lanes * size, 1, some, cells,
                    args.w_count, o, width, p,
                )  # fmt: skip

    return body
