"""The kernels that pack parameters; csrc/weights.h has their twins."""

from __future__ import annotations

import numpy as np

from fastconv.backends.native import weights as w
from fastconv.backends.native.conv.winograd import weights as f
from fastconv.backends.numba.engine import array, as_float, kernel


@kernel
def panels(name: str):  # type: ignore[no-untyped-def]
    """Turn columns into panels: a work item is a chunk of one panel's elements."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        width, columns = args[w.WIDTH], args[w.COLUMNS]
        taps, channels = args[w.TAPS], args[w.CHANNELS]
        elements = taps * channels
        count = (columns + width - 1) // width
        chunks = (elements + args[w.CHUNK] - 1) // args[w.CHUNK]
        for item in range(first, last):
            number, chunk = divmod(item, chunks)
            group, panel = divmod(number, count)
            start = chunk * args[w.CHUNK]
            stop = min(start + args[w.CHUNK], elements)
            some = min(width, columns - panel * width)
            target = array(
                args[w.TARGET] + number * elements * width * size, (taps, channels, width), real
            )
            source = args[w.SOURCE] + group * args[w.GROUP_STEP]
            source += panel * width * args[w.COLUMN_STEP]
            for e in range(start, stop):
                channel, tap = divmod(e, taps)
                if args[w.SOURCE] == 0:
                    target[tap, channel] = 0
                    continue
                for j in range(some):
                    place = source + j * args[w.COLUMN_STEP] + e * size
                    target[tap, channel, j] = array(place, (1,), real)[0]
                for j in range(some, width):
                    target[tap, channel, j] = 0

    return body


@kernel
def rows(name: str):  # type: ignore[no-untyped-def]
    """Gather rows into panels by a table: a work item is a chunk of one panel's rows."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        width, count, step = args[w.ROW_WIDTH], args[w.ROW_COUNT], args[w.ROW_STEP]
        panels = (args[w.ROW_COLUMNS] + width - 1) // width
        chunks = (count + args[w.ROW_CHUNK] - 1) // args[w.ROW_CHUNK]
        places = array(args[w.ROW_PLACES], (count,), np.int64)
        for item in range(first, last):
            number, chunk = divmod(item, chunks)
            group, panel = divmod(number, panels)
            stop = min((chunk + 1) * args[w.ROW_CHUNK], count)
            some = min(width, args[w.ROW_COLUMNS] - panel * width)
            source = args[w.ROW_SOURCE] + group * args[w.ROW_GROUP] + panel * width * step
            target = array(args[w.ROW_TARGET] + number * count * width * size, (count, width), real)
            for r in range(chunk * args[w.ROW_CHUNK], stop):
                for j in range(some):
                    target[r, j] = array(source + places[r] + j * step, (1,), real)[0]
                for j in range(some, width):
                    target[r, j] = 0

    return body


@kernel
def affine(name: str):  # type: ignore[no-untyped-def]
    """Turn a batch norm's parameters into scales and shifts, in float64."""
    real = np.dtype(name).type

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        channels, run, times = args[w.AFFINE_CHANNELS], args[w.RUN], args[w.TIMES]
        scales = array(args[w.SCALES], (times, channels, run), np.float64)
        shifts = array(args[w.SHIFTS], (times, channels, run), np.float64)
        for c in range(channels):
            mean, variance, scale, shift = 0.0, 1.0, 1.0, 0.0
            if args[w.MEAN] != 0:
                mean = np.float64(array(args[w.MEAN], (channels,), real)[c])
            if args[w.VARIANCE] != 0:
                variance = np.float64(array(args[w.VARIANCE], (channels,), real)[c])
            if args[w.SCALE] != 0:
                scale = np.float64(array(args[w.SCALE], (channels,), real)[c])
            if args[w.SHIFT] != 0:
                shift = np.float64(array(args[w.SHIFT], (channels,), real)[c])
            scale /= np.sqrt(variance + as_float(args[w.EPSILON]))
            scales[:, c] = scale
            shifts[:, c] = shift - mean * scale

    return body


@kernel
def repeat(*kind: str):  # type: ignore[no-untyped-def]
    """Repeat a parameter's elements, or a number where it is missing; "widened": in float64."""
    name = kind[-1]
    real, wide = np.dtype(name).type, np.float64 if len(kind) > 1 else np.dtype(name).type

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        count, run, times = args[w.REPEAT_COUNT], args[w.REPEAT_RUN], args[w.REPEAT_TIMES]
        target = array(args[w.REPEATS], (times, count, run), wide)
        for c in range(count):
            value = wide(as_float(args[w.REPEAT_VALUE]))
            if args[w.REPEATED] != 0:
                value = wide(array(args[w.REPEATED], (count,), real)[c])
            target[:, c] = value

    return body


@kernel
def winograd(name: str):  # type: ignore[no-untyped-def]
    """Transform filters in float64: a work item is a few rows of one panel's channels."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        own, out = args[f.GROUP_CHANNELS], args[f.OUT_CHANNELS]
        channels = own * args[f.MERGED_GROUPS]
        td, ta = args[f.TAPS_DOWN], args[f.TAPS_ACROSS]
        pd, pa = args[f.PHASES_OF_DOWN], args[f.PHASES_OF_ACROSS]
        nd, na = args[f.POINTS_DOWN], args[f.POINTS_ACROSS]
        depth, count = args[f.DEPTH_ROWS], args[f.PANEL_COUNT]
        chunks = (depth + f.FEW_CHANNELS - 1) // f.FEW_CHANNELS
        by_down = array(args[f.MATRIX_DOWN], (pd, nd, td), np.float64)
        by_across = array(args[f.MATRIX_ACROSS], (pa, na, ta), np.float64)
        places = array(args[f.PLACES], (pd, pa, nd, na), np.int64)
        starts = array(args[f.STARTS], (nd, na), np.int64)
        sizes = array(args[f.SIZES], (nd, na), np.int64)
        channel_step = args[f.CHANNEL_STEP] if args[f.TAP_PLACES] else td * ta * size
        for item in range(first, last):
            rest, chunk = divmod(item, chunks)
            group, panel = divmod(rest, count)
            row = args[f.LAST_LANES] if panel == count - 1 else args[f.PANEL_LANES]
            for k in range(chunk * f.FEW_CHANNELS, min((chunk + 1) * f.FEW_CHANNELS, depth)):
                sub, channel = divmod(k, own)
                base = args[f.SCRATCH_BASE] + worker * args[f.SCRATCH_STRIDE]
                taps = array(base, (td, ta, row), np.float64)
                lines = array(base + td * ta * row * 8, (ta, row), np.float64)
                total = array(base + (td + 1) * ta * row * 8, (row,), np.float64)
                for j in range(row):
                    column = panel * args[f.PANEL_LANES] + j
                    inside = k < channels and column < args[f.GROUP_COLUMNS]
                    inside = inside and column // out == sub
                    filters = args[f.FILTERS] + channel * channel_step
                    filters += (group * args[f.GROUP_COLUMNS] + column) * args[f.OUT_CHANNEL_STEP]
                    for a in range(td):
                        for b in range(ta):
                            place = filters + (a * ta + b) * size
                            if args[f.TAP_PLACES] != 0:
                                tap = array(args[f.TAP_PLACES], (td, ta), np.int64)[a, b]
                                place = filters + tap
                            taps[a, b, j] = array(place, (1,), real)[0] if inside else 0.0
                for py in range(pd):
                    for px in range(pa):
                        for i in range(nd):
                            for b in range(ta):
                                for j in range(row):
                                    lines[b, j] = by_down[py, i, 0] * taps[0, b, j]
                                for a in range(1, td):
                                    for j in range(row):
                                        lines[b, j] += by_down[py, i, a] * taps[a, b, j]
                            for q in range(na):
                                place = places[py, px, i, q]
                                if place < 0:
                                    continue
                                for j in range(row):
                                    total[j] = by_across[px, q, 0] * lines[0, j]
                                for b in range(1, ta):
                                    for j in range(row):
                                        total[j] += by_across[px, q, b] * lines[b, j]
                                to = args[f.TRANSFORMED] + group * args[f.GROUP_BYTES]
                                to += starts[i, q] + panel * sizes[i, q]
                                target = array(to + (place + k) * row * size, (row,), real)
                                for j in range(row):
                                    target[j] = real(total[j])

    return body
