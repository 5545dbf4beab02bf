"""Images read at computed places between cells: see csrc/sample.h."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.moves import SampleGrid, SampleOffsets
from fastconv.backends.numba.engine import array, kernel, part

_NEAREST, _LINEAR = 0, 1
_ZEROS, _BORDER, _REFLECTION = 0, 1, 2


@part
def _reflected(x, length, corners):  # type: ignore[no-untyped-def]
    low = 0.0 if corners else -0.5
    period = 2.0 * (length - 1 if corners else length)
    if period <= 0:
        return 0.0
    start = x - low
    turned = start - np.floor(start / period) * period
    return low + min(turned, period - turned)


@part
def _cell(cell, length, padding, corners):  # type: ignore[no-untyped-def]
    if padding == _ZEROS:
        return int(cell) if 0 <= cell < length else -1
    x = _reflected(cell, length, corners) if padding == _REFLECTION else cell
    return int(min(max(x, 0.0), length - 1.0))


@part
def _axis(x, length, mode, padding, corners, cells, weights):  # type: ignore[no-untyped-def]
    if mode <= _LINEAR and padding == _REFLECTION:
        x = _reflected(x, length, corners)
    if not abs(x) <= 1e300:
        beyond = padding == _BORDER and x > 0
        x = length - 1.0 if beyond else -4.0 if padding == _ZEROS else 0.0
    if mode <= _LINEAR and padding != _ZEROS:
        x = min(max(x, 0.0), length - 1.0)
    if mode == _NEAREST:
        cells[0] = _cell(np.rint(x), length, _ZEROS, corners)
        weights[0] = 1.0
        return 1
    base = np.floor(x)
    behind = x - base
    if mode == _LINEAR:
        cells[0] = _cell(base, length, _ZEROS, corners)
        cells[1] = _cell(base + 1, length, _ZEROS, corners)
        weights[0], weights[1] = 1 - behind, behind
        return 2
    a = -0.75
    for k in range(4):
        cells[k] = _cell(base + (k - 1), length, padding, corners)
        near = abs(behind - (k - 1))
        inner = ((a + 2) * near - (a + 3)) * (near * near) + 1
        outer = ((a * near - 5 * a) * near + 8 * a) * near - 4 * a
        weights[k] = inner if near <= 1 else outer
    return 4


def _parts(name: str):  # type: ignore[no-untyped-def]
    """Make what both kernels share: tables of a point, and channels read by them."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    @part
    def point(args, at, cells, parts, places, weights, i):  # type: ignore[no-untyped-def]
        counts = [1, 1, 1]
        for axis in range(3):
            cells[axis, 0], parts[axis, 0] = 0, 1.0
        for axis in range(3 - args.axes, 3):
            # A double, of which a huge one has a floor that is not an integer.
            counts[axis] = _axis(
                at[axis], np.float64(args.size[axis]), args.mode, args.padding,
                args.corners != 0, cells[axis], parts[axis],
            )  # fmt: skip
        tap = 0
        for a in range(counts[0]):
            for b in range(counts[1]):
                row = cells[0, a] * args.size[1] + cells[1, b]
                beyond = cells[0, a] < 0 or cells[1, b] < 0
                weight = parts[0, a] * parts[1, b]
                for c in range(counts[2]):
                    outside = beyond or cells[2, c] < 0
                    places[tap, i] = -1 if outside else row * args.size[2] + cells[2, c]
                    weights[tap, i] = real(weight * parts[2, c])
                    tap += 1
        return tap

    @part
    def planes(args, image, start, count, first, taps, mask, places, weights):  # type: ignore[no-untyped-def]
        cells = args.size[0] * args.size[1] * args.size[2]
        last = min(first + args.part, args.channels)
        for channel in range(first, last):
            plane = image * args.channels + channel
            of = array(args.source + plane * cells * size, (cells,), real)
            to = array(args.target + (plane * args.points + start) * size, (count,), real)
            for i in range(count):
                total = real(0)
                for tap in range(taps):
                    place = places[tap, i]
                    if place >= 0:
                        total += of[place] * weights[tap, i]
                to[i] = total
            if mask != 0:
                factors = array(mask, (count,), real)
                for i in range(count):
                    to[i] *= factors[i]

    return real, size, point, planes


@kernel(SampleGrid)
def by_grid(name: str):  # type: ignore[no-untyped-def]
    """Read images where a grid says: a work item is a block of points, for some channels."""
    real, size, point, planes = _parts(name)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        parts = (args.channels + args.part - 1) // args.part
        pitch, axes, points = args.block, args.axes, args.points
        blocks = (points + pitch - 1) // pitch
        each = 1 if args.mode == 0 else 2 if args.mode == 1 else 4
        most = each**axes
        base = args.scratch_base + worker * args.scratch_stride
        places = array(base, (most, pitch), np.int64)
        weights = array(base + most * pitch * 8, (most, pitch), real)
        cells, shares = np.zeros((3, 4), np.int64), np.zeros((3, 4), np.float64)
        at = np.zeros(3, np.float64)
        for item in range(first, last):
            number, rest = item % parts, item // parts
            start, image = rest % blocks * pitch, rest // blocks
            count, taps = min(pitch, points - start), most
            grid = array(args.places + (image * points + start) * axes * size, (count, axes), real)
            for i in range(count):
                for axis in range(axes):
                    g = np.float64(grid[i, axis])
                    length = np.float64(args.size[2 - axis])
                    if args.corners != 0:
                        at[2 - axis] = (g + 1) / 2 * (length - 1)
                    else:
                        at[2 - axis] = ((g + 1) * length - 1) / 2
                taps = point(args, at, cells, shares, places, weights, i)
            planes(args, image, start, count, number * args.part, taps, 0, places, weights)

    return body


@kernel(SampleOffsets)
def by_offsets(name: str):  # type: ignore[no-untyped-def]
    """Read a window's taps, moved by offsets: a work item is a block of one tap's places."""
    real, size, point, planes = _parts(name)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        parts = (args.channels + args.part - 1) // args.part
        pitch, axes, points = args.block, args.axes, args.group_points
        blocks, count_of_taps = (points + pitch - 1) // pitch, args.points // points
        most = 2**axes
        base = args.scratch_base + worker * args.scratch_stride
        places = array(base, (most, pitch), np.int64)
        weights = array(base + most * pitch * 8, (most, pitch), real)
        cells, shares = np.zeros((3, 4), np.int64), np.zeros((3, 4), np.float64)
        at, origin = np.zeros(3, np.float64), np.zeros(3, np.float64)
        for item in range(first, last):
            number, rest = item % parts, item // parts
            start, rest = rest % blocks * pitch, rest // blocks
            tap, image = rest % count_of_taps, rest // count_of_taps
            count, taps = min(pitch, points - start), most
            moved = array(
                args.places + (image * count_of_taps + tap) * axes * points * size,
                (axes, points),
                real,
            )
            rest = tap
            for axis in range(2, -1, -1):
                window = args.taps[axis]
                origin[axis] = rest % window * args.dilation[axis] - args.before[axis]
                rest //= window
            for i in range(count):
                rest = start + i
                for axis in range(2, 2 - axes, -1):
                    out = args.out[axis]
                    own = rest % out * args.stride[axis]
                    rest //= out
                    offset = np.float64(moved[axis - 3 + axes, start + i])
                    at[axis] = origin[axis] + own + offset
                taps = point(args, at, cells, shares, places, weights, i)
            first_point = tap * points + start
            mask = args.mask
            if mask != 0:
                mask += (image * args.points + first_point) * size
            planes(args, image, first_point, count, number * args.part, taps, mask, places, weights)

    return body
