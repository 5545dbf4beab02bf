"""The kernel of weighted averages: one tap after the other over rows of outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.native.pool.block import (
    BEFORE,
    D_KIND,
    D_KINDS,
    D_STEP,
    D_TABLE,
    DEPTH,
    DILATION,
    H_KIND,
    H_KINDS,
    H_STEP,
    H_TABLE,
    HEIGHT,
    KERNEL_HEIGHT,
    LANE_BLOCK,
    LANES,
    MODE,
    OUT,
    OUT_DEPTH,
    OUT_HEIGHT,
    OUT_WIDTH,
    SOURCE,
    STRIDE,
    SUMS,
    TAP_TABLE,
    TAPS,
    TILE,
    W_KIND,
    W_KINDS,
    W_STEP,
    W_TABLE,
    WEIGHTS,
    WIDTH,
)
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
        pitch = args[LANES] * size
        row = array(weights, (args[TAPS],), kind)
        for o in range(first, last):
            begin, cells, tap = window(args[W_TABLE], args[OUT_WIDTH], o)
            for i in range(cells):
                cell = source + (begin + i * args[W_STEP]) * pitch
                add_run(out + (o - first) * pitch, cell, row[tap + i], lanes)

    @part
    def by_tap(args, source, weights, first, last, lanes, out):  # type: ignore[no-untyped-def]
        pitch = args[LANES] * size
        row = array(weights, (args[TAPS],), kind)
        ranges = array(args[TAP_TABLE], (2, args[TAPS]), np.int64)
        stride = args[STRIDE]
        for tap in range(args[TAPS]):
            low, high = max(first, ranges[0, tap]), min(last, ranges[1, tap])
            if high <= low:
                continue
            cell = source + (low * stride - args[BEFORE] + tap * args[DILATION]) * pitch
            place = out + (low - first) * pitch
            if args[MODE] == FLAT:
                add_run(place, cell, row[tap], (high - low) * lanes)
            else:
                add_strided(place, cell, row[tap], high - low, stride)

    return by_output, by_tap


@kernel
def weighted(dtype: str):  # type: ignore[no-untyped-def]
    """Pool: a work item is a tile of one output row, and a block of lanes."""
    kind = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize
    fill = sweeps.make_fill(dtype, kind(0))
    by_output, by_tap = make_add_row(dtype)

    @part
    def divide(args, od, oh, first, last, lanes, out):  # type: ignore[no-untyped-def]
        shape = (args[D_KINDS], args[H_KINDS], args[W_KINDS])
        sums = array(args[SUMS], shape, kind)
        d = array(args[D_KIND], (args[OUT_DEPTH],), np.int64)[od]
        h = array(args[H_KIND], (args[OUT_HEIGHT],), np.int64)[oh]
        of_column = array(args[W_KIND], (args[OUT_WIDTH],), np.int64)
        for o in range(first, last):
            total = sums[d, h, of_column[o]]
            if total != 1:
                values = array(out + (o - first) * args[LANES] * size, (lanes,), kind)
                for c in range(lanes):
                    values[c] /= total

    def body(args, first_item, last_item, worker):  # type: ignore[no-untyped-def]
        width, lanes, taps = args[OUT_WIDTH], args[LANES], args[TAPS]
        row_bytes = args[WIDTH] * lanes * size
        for item in range(first_item, last_item):
            image, od, oh, tile, block = split_item(args, item)
            lane = block * args[LANE_BLOCK]
            some = min(args[LANE_BLOCK], lanes - lane)
            first = tile * args[TILE]
            last = min(width, first + args[TILE])
            row = (image * args[OUT_DEPTH] + od) * args[OUT_HEIGHT] + oh
            out = args[OUT] + ((row * width + first) * lanes + lane) * size
            for o in range(first, last):
                fill(out + (o - first) * lanes * size, some)
            d, d_cells, d_tap = window(args[D_TABLE], args[OUT_DEPTH], od)
            h, h_cells, h_tap = window(args[H_TABLE], args[OUT_HEIGHT], oh)
            for i in range(d_cells):
                for j in range(h_cells):
                    line = (image * args[DEPTH] + d + i * args[D_STEP]) * args[HEIGHT]
                    line += h + j * args[H_STEP]
                    source = args[SOURCE] + line * row_bytes + lane * size
                    place = ((d_tap + i) * args[KERNEL_HEIGHT] + h_tap + j) * taps
                    weights = args[WEIGHTS] + place * size
                    if args[MODE] == PER_OUTPUT:
                        by_output(args, source, weights, first, last, some, out)
                    else:
                        by_tap(args, source, weights, first, last, some, out)
            divide(args, od, oh, first, last, some, out)

    return body
