"""Regions of images pooled by samples between cells."""

from __future__ import annotations

import math

import numpy as np

from fastconv.backends.manifest.moves import RoiAlign
from fastconv.backends.numba.engine import array, kernel, part

CHANNELS_AT_ONCE = RoiAlign.CHANNELS_AT_ONCE


@kernel(RoiAlign)
def roi_align(name: str):  # type: ignore[no-untyped-def]
    """Pool regions: a work item is some channels of one."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize
    zero, lowest = real(0), real(-np.inf)

    @part
    def samples(places, weights, start, length, bins, ratio, most, cells):  # type: ignore[no-untyped-def]
        each = ratio
        if each <= 0:
            wanted = math.ceil(length / bins) if length < 1e15 else most
            # The planner has looked at the regions.
            each = max(1, min(wanted, most // bins)) if length > 0 else 1
        step = length / bins
        for i in range(bins * each):
            within = (i % each + 0.5) / each
            x = start + (i // each + within) * step
            inside = x >= -1 and x <= cells
            kept = min(x, cells - 1.0) if inside and x >= 0 else 0.0
            low = int(kept)
            places[i, 0], places[i, 1] = low, min(low + 1, cells - 1)
            weights[i, 0] = 1 - (kept - low) if inside else 0.0
            weights[i, 1] = kept - low if inside else 0.0
        return each

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        channels, height, width = args.channels, args.height, args.width
        out_rows, out_columns = args.out_rows, args.out_columns
        most_rows, most_columns = args.most_rows, args.most_columns
        parts = (channels + CHANNELS_AT_ONCE - 1) // CHANNELS_AT_ONCE
        base = args.scratch_base + worker * args.scratch_stride
        row_places = array(base, (most_rows, 2), np.int64)
        row_weights = array(base + 16 * most_rows, (most_rows, 2), np.float64)
        base += 32 * most_rows
        column_places = array(base, (most_columns, 2), np.int64)
        column_weights = array(base + 16 * most_columns, (most_columns, 2), np.float64)
        scale = args.scale
        shift = 0.5 if args.half_pixel else 0.0
        for item in range(first, last):
            region, number = divmod(item, parts)
            box = array(args.regions + region * 4 * size, (4,), real)
            x, y = np.float64(box[0]) * scale - shift, np.float64(box[1]) * scale - shift
            across = np.float64(box[2]) * scale - shift - x
            down = np.float64(box[3]) * scale - shift - y
            if not args.half_pixel:
                across = across if across > 1 else 1.0
                down = down if down > 1 else 1.0
            ratio = args.ratio
            r = samples(row_places, row_weights, y, down, out_rows, ratio, most_rows, height)
            c = samples(
                column_places, column_weights, x, across, out_columns, ratio, most_columns, width
            )
            image = array(args.images + region * 8, (1,), np.int64)[0]
            start = number * CHANNELS_AT_ONCE
            for channel in range(start, min(start + CHANNELS_AT_ONCE, channels)):
                plane = array(
                    args.source + (image * channels + channel) * height * width * size,
                    (height, width),
                    real,
                )
                bins = array(
                    args.target + (region * channels + channel) * out_rows * out_columns * size,
                    (out_rows, out_columns),
                    real,
                )
                for i in range(out_rows):
                    for j in range(out_columns):
                        total, best = zero, lowest
                        for a in range(i * r, (i + 1) * r):
                            for b in range(j * c, (j + 1) * c):
                                for p in range(2):
                                    for q in range(2):
                                        cell = plane[row_places[a, p], column_places[b, q]]
                                        weight = row_weights[a, p] * column_weights[b, q]
                                        value = cell * real(weight)
                                        total += value
                                        if value > best or value != value:
                                            best = value
                        bins[i, j] = best if args.largest else total / real(r * c)

    return body
