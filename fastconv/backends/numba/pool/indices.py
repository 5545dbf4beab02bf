"""The kernel of max pools that tell where: each window's largest cell, and its place in the plane.

As in the separable kernel, rows are folded into a line first, which keeps the row that each of
its cells came from; columns then settle ties by the flat place, so that the first cell wins.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.manifest.pools import PoolIndices
from fastconv.backends.numba.engine import array, kernel, part
from fastconv.backends.numba.pool import sweeps
from fastconv.backends.numba.pool.block import split_item, window


def make_largest_rows(dtype: str) -> Any:
    """Make the function that folds the rows of a window into largest cells and their rows."""
    kind = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize

    @part
    def take_row(line, rows, source, row, n, is_first):  # type: ignore[no-untyped-def]
        x, most = array(source, (n,), kind), array(line, (n,), kind)
        places = array(rows, (n,), np.int64)
        if is_first:
            for j in range(n):
                most[j] = x[j]
                places[j] = row
        else:
            for j in range(n):
                better = (x[j] > most[j]) | ((x[j] != x[j]) & (most[j] == most[j]))
                most[j] = x[j] if better else most[j]
                places[j] = row if better else places[j]

    @part
    def largest_rows(args, image, od, oh, first, last, lane, lanes, line, rows):  # type: ignore[no-untyped-def]
        d, d_cells, _ = window(args.d_table, args.out_depth, od)
        h, h_cells, _ = window(args.h_table, args.out_height, oh)
        pitch = args.lanes * size
        row_bytes = args.width * pitch
        plane = args.source + image * args.depth * args.height * row_bytes
        plane += first * pitch + lane * size
        whole = lanes == args.lanes
        repeats = 1 if whole else last - first
        n = (last - first) * lanes if whole else lanes
        for repeat in range(repeats):
            for i in range(d_cells):
                for j in range(h_cells):
                    row = (d + i * args.d_step) * args.height + h + j * args.h_step
                    take_row(
                        line + repeat * n * size, rows + repeat * n * 8,
                        plane + row * row_bytes + repeat * pitch, row, n, i + j == 0,
                    )  # fmt: skip
        return d_cells * h_cells > 0

    return largest_rows


def make_largest_columns(dtype: str) -> Any:
    """Make the function that takes the largest of a window's columns; ties give the first."""
    kind = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize
    _, least = sweeps.make_fold("max", dtype)

    @part
    def largest_columns(line, rows, column, cells, step, width, lanes, out, places):  # type: ignore[no-untyped-def]
        """Take the largest over ``cells`` columns from ``column`` on, ``step`` apart."""
        most, at = array(out, (lanes,), kind), array(places, (lanes,), np.int64)
        if cells == 0:
            for c in range(lanes):
                most[c] = least
                at[c] = -1
            return
        x, row = array(line, (lanes,), kind), array(rows, (lanes,), np.int64)
        for c in range(lanes):
            most[c] = x[c]
            at[c] = row[c] * width + column
        for i in range(1, cells):
            x = array(line + i * step * lanes * size, (lanes,), kind)
            row = array(rows + i * step * lanes * 8, (lanes,), np.int64)
            for c in range(lanes):
                v, m = x[c], most[c]
                place = row[c] * width + column + i * step
                earlier = place < at[c]
                better = (v > m) | ((v == m) & earlier)
                better |= (v != v) & ((m == m) | earlier)
                most[c] = v if better else m
                at[c] = place if better else at[c]

    return largest_columns


@kernel(PoolIndices)
def max_with_indices(dtype: str):  # type: ignore[no-untyped-def]
    """Pool: a work item is a tile of one output row, and a block of lanes."""
    size = np.dtype(dtype).itemsize
    largest_rows, largest_columns = make_largest_rows(dtype), make_largest_columns(dtype)

    def body(args, first_item, last_item, worker):  # type: ignore[no-untyped-def]
        rows = args.scratch_base + worker * args.scratch_stride
        line = rows + args.row_line_bytes
        width, lanes = args.out_width, args.lanes
        columns_from = array(args.tile_from, (args.tiles,), np.int64)
        columns_to = array(args.tile_to, (args.tiles,), np.int64)
        for item in range(first_item, last_item):
            image, od, oh, tile, block = split_item(args, item)
            lane = block * args.lane_block
            some = min(args.lane_block, lanes - lane)
            first = tile * args.tile
            last = min(width, first + args.tile)
            column = columns_from[tile]
            seen = largest_rows(
                args, image, od, oh, column, columns_to[tile], lane, some, line, rows
            )
            row = (image * args.out_depth + od) * args.out_height + oh
            for o in range(first, last):
                begin, cells, _ = window(args.w_table, width, o)
                shift = (begin - column) * some
                place = (row * width + o) * lanes + lane
                largest_columns(
                    line + shift * size, rows + shift * 8, begin, cells if seen else 0,
                    args.w_step, args.width, some, args.out + place * size,
                    args.indices + place * 8,
                )  # fmt: skip

    return body
