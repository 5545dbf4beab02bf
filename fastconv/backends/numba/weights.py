"""The kernels that pack parameters; csrc/weights.h has their twins."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.products import Affine, PackRows, Panels, Repeat, Transformed
from fastconv.backends.numba.engine import array, kernel

FEW_CHANNELS = Transformed.FEW_CHANNELS


@kernel(Panels)
def panels(name: str):  # type: ignore[no-untyped-def]
    """Turn columns into panels: a work item is a chunk of one panel's elements."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        width, columns = args.width, args.columns
        taps, channels = args.taps, args.channels
        elements = taps * channels
        count = (columns + width - 1) // width
        chunks = (elements + args.chunk - 1) // args.chunk
        for item in range(first, last):
            number, chunk = divmod(item, chunks)
            group, panel = divmod(number, count)
            start = chunk * args.chunk
            stop = min(start + args.chunk, elements)
            some = min(width, columns - panel * width)
            target = array(
                args.target + number * elements * width * size, (taps, channels, width), real
            )
            source = args.source + group * args.group_step
            source += panel * width * args.column_step
            for e in range(start, stop):
                channel, tap = divmod(e, taps)
                if args.source == 0:
                    target[tap, channel] = 0
                    continue
                for j in range(some):
                    place = source + j * args.column_step + e * size
                    target[tap, channel, j] = array(place, (1,), real)[0]
                for j in range(some, width):
                    target[tap, channel, j] = 0

    return body


@kernel(PackRows)
def rows(name: str):  # type: ignore[no-untyped-def]
    """Gather rows into panels by a table: a work item is a chunk of one panel's rows."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        width, count, step = args.width, args.row_count, args.column_step
        panels = (args.columns + width - 1) // width
        chunks = (count + args.chunk - 1) // args.chunk
        places = array(args.places, (count,), np.int64)
        for item in range(first, last):
            number, chunk = divmod(item, chunks)
            group, panel = divmod(number, panels)
            stop = min((chunk + 1) * args.chunk, count)
            some = min(width, args.columns - panel * width)
            source = args.source + group * args.group_step + panel * width * step
            target = array(args.target + number * count * width * size, (count, width), real)
            for r in range(chunk * args.chunk, stop):
                for j in range(some):
                    target[r, j] = array(source + places[r] + j * step, (1,), real)[0]
                for j in range(some, width):
                    target[r, j] = 0

    return body


@kernel(Affine)
def affine(name: str):  # type: ignore[no-untyped-def]
    """Turn a batch norm's parameters into scales and shifts, in float64."""
    real = np.dtype(name).type

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        channels, run, times = args.channels, args.run, args.times
        scales = array(args.scales, (times, channels, run), np.float64)
        shifts = array(args.shifts, (times, channels, run), np.float64)
        for c in range(channels):
            mean, variance, scale, shift = 0.0, 1.0, 1.0, 0.0
            if args.mean != 0:
                mean = np.float64(array(args.mean, (channels,), real)[c])
            if args.variance != 0:
                variance = np.float64(array(args.variance, (channels,), real)[c])
            if args.weight != 0:
                scale = np.float64(array(args.weight, (channels,), real)[c])
            if args.bias != 0:
                shift = np.float64(array(args.bias, (channels,), real)[c])
            scale /= np.sqrt(variance + args.epsilon)
            scales[:, c] = scale
            shifts[:, c] = shift - mean * scale

    return body


@kernel(Repeat)
def repeat(name: str):  # type: ignore[no-untyped-def]
    """Repeat a parameter's elements, or a number where it is missing."""
    return _make_repeat(np.dtype(name).type, np.dtype(name).type)


@kernel(Repeat)
def repeat_widened(name: str):  # type: ignore[no-untyped-def]
    """Repeat them in float64."""
    return _make_repeat(np.dtype(name).type, np.float64)


def _make_repeat(real, wide):  # type: ignore[no-untyped-def]
    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        count, run, times = args.count, args.run, args.times
        target = array(args.target, (times, count, run), wide)
        for c in range(count):
            value = wide(args.value)
            if args.source != 0:
                value = wide(array(args.source, (count,), real)[c])
            target[:, c] = value

    return body


@kernel(Transformed)
def winograd(name: str):  # type: ignore[no-untyped-def]
    """Transform filters in float64: a work item is a few rows of one panel's channels."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        own, out = args.group_channels, args.out_channels
        channels = own * args.merged_groups
        td, ta = args.taps_down, args.taps_across
        pd, pa = args.phases_down, args.phases_across
        nd, na = args.points_down, args.points_across
        depth, count = args.depth_rows, args.panels
        chunks = (depth + FEW_CHANNELS - 1) // FEW_CHANNELS
        by_down = array(args.matrix_down, (pd, nd, td), np.float64)
        by_across = array(args.matrix_across, (pa, na, ta), np.float64)
        places = array(args.places, (pd, pa, nd, na), np.int64)
        starts = array(args.starts, (nd, na), np.int64)
        sizes = array(args.sizes, (nd, na), np.int64)
        channel_step = args.channel_step if args.tap_places else td * ta * size
        for item in range(first, last):
            rest, chunk = divmod(item, chunks)
            group, panel = divmod(rest, count)
            row = args.last_lanes if panel == count - 1 else args.panel_lanes
            for k in range(chunk * FEW_CHANNELS, min((chunk + 1) * FEW_CHANNELS, depth)):
                sub, channel = divmod(k, own)
                base = args.scratch_base + worker * args.scratch_stride
                taps = array(base, (td, ta, row), np.float64)
                lines = array(base + td * ta * row * 8, (ta, row), np.float64)
                total = array(base + (td + 1) * ta * row * 8, (row,), np.float64)
                for j in range(row):
                    column = panel * args.panel_lanes + j
                    inside = k < channels and column < args.group_columns
                    inside = inside and column // out == sub
                    filters = args.source + channel * channel_step
                    filters += (group * args.group_columns + column) * args.out_channel_step
                    for a in range(td):
                        for b in range(ta):
                            place = filters + (a * ta + b) * size
                            if args.tap_places != 0:
                                tap = array(args.tap_places, (td, ta), np.int64)[a, b]
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
                                to = args.target + group * args.group_bytes
                                to += starts[i, q] + panel * sizes[i, q]
                                target = array(to + (place + k) * row * size, (row,), real)
                                for j in range(row):
                                    target[j] = real(total[j])

    return body
