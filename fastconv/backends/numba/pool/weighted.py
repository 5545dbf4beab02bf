"""The kernel of weighted averages: one tap after the other over rows of outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.manifest.pools import Weighted
from fastconv.backends.native.pool.geometry import FLAT, PER_OUTPUT
from fastconv.backends.numba.engine import array, kernel, part
from fastconv.backends.numba.pool import sweeps
from fastconv.backends.numba.pool.block import split_item, window


def make_add(dtype: str) -> tuple[Any, Any]:
    """Make the functions that add a multiple of a run, or of every stride-th element."""
    kind = np.dtype(dtype).type

    @part
    def add_run(target, source, weight, n):  # type: ignore[no-untyped-def]
        values, x = array(target, (n,), kind), array(source, (n,), kind)
        for j in range(n):
            values[j] += weight * x[j]

    @part
    def add_strided(target, source, weight, n, stride):  # type: ignore[no-untyped-def]
        values, x = array(target, (n,), kind), array(source, ((n - 1) * stride + 1,), kind)
        if stride == 2:
            for j in range(n):
                values[j] += weight * x[np.uintp(j) * np.uintp(2)]
        else:
            for j in range(n):
                values[j] += weight * x[np.uintp(j) * np.uintp(stride)]

    return add_run, add_strided


def make_add_row(dtype: str) -> tuple[Any, Any]:
    """Make the functions that add one row of the input, by all its taps, to a tile."""
    kind = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize
    add_run, add_strided = make_add(dtype)

    @part
    def by_output(args, source, weights, first, last, lanes, out):  # type: ignore[no-untyped-def]
        pitch = args.lanes * size
        row = array(weights, (args.taps,), kind)
        for o in range(first, last):
            begin, cells, tap = window(args.w_table, args.out_width, o)
            for i in range(cells):
                cell = source + (begin + i * args.w_step) * pitch
                add_run(out + (o - first) * pitch, cell, row[tap + i], lanes)

    @part
    def by_tap(args, source, weights, first, last, lanes, out):  # type: ignore[no-untyped-def]
        pitch = args.lanes * size
        row = array(weights, (args.taps,), kind)
        ranges = array(args.tap_table, (2, args.taps), np.int64)
        stride = args.stride
        for tap in range(args.taps):
            low, high = max(first, ranges[0, tap]), min(last, ranges[1, tap])
            if high <= low:
                continue
            cell = source + (low * stride - args.before + tap * args.dilation) * pitch
            place = out + (low - first) * pitch
            if args.mode == FLAT:
                add_run(place, cell, row[tap], (high - low) * lanes)
            else:
                add_strided(place, cell, row[tap], high - low, stride)

    return by_output, by_tap


@kernel(Weighted)
def weighted(dtype: str):  # type: ignore[no-untyped-def]
    """Pool: a work item is a tile of one output row, and a block of lanes."""
    kind = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize
    fill = sweeps.make_fill(dtype, kind(0))
    by_output, by_tap = make_add_row(dtype)

    @part
    def divide(args, od, oh, first, last, lanes, out):  # type: ignore[no-untyped-def]
        shape = (args.d_kinds, args.h_kinds, args.w_kinds)
        sums = array(args.sums, shape, kind)
        d = array(args.d_kind, (args.out_depth,), np.int64)[od]
        h = array(args.h_kind, (args.out_height,), np.int64)[oh]
        of_column = array(args.w_kind, (args.out_width,), np.int64)
        for o in range(first, last):
            total = sums[d, h, of_column[o]]
            if total != 1:
                values = array(out + (o - first) * args.lanes * size, (lanes,), kind)
                for c in range(lanes):
                    values[c] /= total

    def body(args, first_item, last_item, worker):  # type: ignore[no-untyped-def]
        width, lanes, taps = args.out_width, args.lanes, args.taps
        row_bytes = args.width * lanes * size
        for item in range(first_item, last_item):
            image, od, oh, tile, block = split_item(args, item)
            lane = block * args.lane_block
            some = min(args.lane_block, lanes - lane)
            first = tile * args.tile
            last = min(width, first + args.tile)
            row = (image * args.out_depth + od) * args.out_height + oh
            out = args.out + ((row * width + first) * lanes + lane) * size
            for o in range(first, last):
                fill(out + (o - first) * lanes * size, some)
            d, d_cells, d_tap = window(args.d_table, args.out_depth, od)
            h, h_cells, h_tap = window(args.h_table, args.out_height, oh)
            for i in range(d_cells):
                for j in range(h_cells):
                    line = (image * args.depth + d + i * args.d_step) * args.height
                    line += h + j * args.h_step
                    source = args.source + line * row_bytes + lane * size
                    place = ((d_tap + i) * args.kernel_height + h_tap + j) * taps
                    weights = args.weights + place * size
                    if args.mode == PER_OUTPUT:
                        by_output(args, source, weights, first, last, some, out)
                    else:
                        by_tap(args, source, weights, first, last, some, out)
            divide(args, od, oh, first, last, some, out)

    return body
