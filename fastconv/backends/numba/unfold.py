"""The kernels of unfold and fold."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.moves import Windows
from fastconv.backends.numba.engine import array, kernel, part


@part
def _span(length, blocks, stride, offset):  # type: ignore[no-untyped-def]
    """Return the blocks whose cell, stride * block + offset, is below ``length`` and above 0."""
    low = max(0, -(offset // stride))
    high = min(blocks, (length - 1 - offset) // stride + 1)
    return min(low, blocks), max(min(low, blocks), high)


@kernel(Windows)
def unfold(cell: str):  # type: ignore[no-untyped-def]
    """Copy windows: a work item is one tap of one channel, a row of the columns."""
    dtype, size = np.dtype(cell).type, np.dtype(cell).itemsize

    @part
    def zero(target, n):  # type: ignore[no-untyped-def]
        to = array(target, (n,), dtype)
        for i in range(n):
            to[i] = dtype(0)

    @part
    def copy(target, source, step, n):  # type: ignore[no-untyped-def]
        to = array(target, (n,), dtype)
        if step == 1:
            of = array(source, (n,), dtype)
            for i in range(n):
                to[i] = of[i]
        else:
            of = array(source, ((n - 1) * step + 1,), dtype)
            for i in range(n):
                to[i] = of[np.uintp(i) * np.uintp(step)]

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        source, target = args.source, args.target
        channels, height, width = args.channels, args.height, args.width
        n_step, c_step = args.image_step, args.channel_step
        y_step, x_step = args.y_step, args.x_step
        k_height, k_width = args.kernel_height, args.kernel_width
        rows, columns = args.rows, args.columns
        for item in range(first, last):
            j, rest = item % k_width, item // k_width
            i, rest = rest % k_height, rest // k_height
            c, n = rest % channels, rest // channels
            y_from, x_from = i * args.y_dilation - args.top, j * args.x_dilation - args.left
            image = source + (n * n_step + c * c_step) * size
            out = target + item * rows * columns * size
            low, high = _span(width, columns, args.x_stride, x_from)
            for row in range(rows):
                place = out + row * columns * size
                y = row * args.y_stride + y_from
                if y < 0 or y >= height or high == low:
                    zero(place, columns)
                    continue
                zero(place, low)
                x = low * args.x_stride + x_from
                copy(
                    place + low * size, image + (y * y_step + x * x_step) * size,
                    args.x_stride * x_step, high - low,
                )  # fmt: skip
                zero(place + high * size, columns - high)

    return body


@kernel(Windows)
def fold(name: str):  # type: ignore[no-untyped-def]
    """Sum windows: a work item is one row of one channel of the image; taps are added in order."""
    dtype, size = np.dtype(name).type, np.dtype(name).itemsize

    @part
    def add(target, step, source, n):  # type: ignore[no-untyped-def]
        of = array(source, (n,), dtype)
        if step == 1:
            to = array(target, (n,), dtype)
            for i in range(n):
                to[i] += of[i]
        else:
            to = array(target, ((n - 1) * step + 1,), dtype)
            for i in range(n):
                to[np.uintp(i) * np.uintp(step)] += of[i]

    @part
    def clear(target, step, n):  # type: ignore[no-untyped-def]
        to = array(target, ((n - 1) * step + 1,), dtype)
        for i in range(n):
            to[np.uintp(i) * np.uintp(step)] = dtype(0)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        source, target = args.source, args.target
        channels, height, width = args.channels, args.height, args.width
        n_step, c_step = args.image_step, args.channel_step
        y_step, x_step = args.y_step, args.x_step
        k_height, k_width = args.kernel_height, args.kernel_width
        rows, columns = args.rows, args.columns
        for item in range(first, last):
            # Neighbouring work items share cache lines where channels are last.
            if x_step == 1:
                y, rest = item % height, item // height
                c, n = rest % channels, rest // channels
            else:
                c, rest = item % channels, item // channels
                y, n = rest % height, rest // height
            out = target + (n * n_step + c * c_step + y * y_step) * size
            taps = source + (n * channels + c) * k_height * k_width * rows * columns * size
            clear(out, x_step, width)
            for i in range(k_height):
                below = y + args.top - i * args.y_dilation
                row = below // args.y_stride
                if below < 0 or row * args.y_stride != below or row >= rows:
                    continue
                for j in range(k_width):
                    x_from = j * args.x_dilation - args.left
                    low, high = _span(width, columns, args.x_stride, x_from)
                    if high > low:
                        x = low * args.x_stride + x_from
                        cell = ((i * k_width + j) * rows + row) * columns + low
                        add(
                            out + x * x_step * size,
                            args.x_stride * x_step,
                            taps + cell * size,
                            high - low,
                        )

    return body
