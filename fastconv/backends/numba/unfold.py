"""Windows as columns and back: rows of the columns copied, rows of the image summed."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Algorithm, Array, Cost, roofline
from fastconv.backends.numba.engine import INPUT, OUTPUT, NativePlan, Stage, array, kernel, part
from fastconv.backends.numba.move import MOVERS
from fastconv.machine import Machine, get_machine
from fastconv.problem import FoldProblem, UnfoldProblem


@part
def _span(length, blocks, stride, offset):  # type: ignore[no-untyped-def]
    """Give the blocks whose cell, stride * block + offset, lies below ``length`` and above 0."""
    low = max(0, -(offset // stride))
    high = min(blocks, (length - 1 - offset) // stride + 1)
    return min(low, blocks), max(min(low, blocks), high)


@kernel
def unfold(size: int):  # type: ignore[no-untyped-def]
    """Copy windows: a work item is one tap of one channel, a row of the columns."""
    dtype = MOVERS[size]

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
        source, target = args[0], args[1]
        channels, height, width = args[2], args[3], args[4]
        n_step, c_step, y_step, x_step = args[5], args[6], args[7], args[8]
        k_height, k_width, rows, columns = args[9], args[10], args[11], args[12]
        for item in range(first, last):
            j, rest = item % k_width, item // k_width
            i, rest = rest % k_height, rest // k_height
            c, n = rest % channels, rest // channels
            y_from, x_from = i * args[17] - args[15], j * args[18] - args[16]
            image = source + (n * n_step + c * c_step) * size
            out = target + item * rows * columns * size
            low, high = _span(width, columns, args[14], x_from)
            for row in range(rows):
                place = out + row * columns * size
                y = row * args[13] + y_from
                if y < 0 or y >= height or high == low:
                    zero(place, columns)
                    continue
                zero(place, low)
                x = low * args[14] + x_from
                copy(
                    place + low * size, image + (y * y_step + x * x_step) * size,
                    args[14] * x_step, high - low,
                )  # fmt: skip
                zero(place + high * size, columns - high)

    return body


@kernel
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
        source, target = args[0], args[1]
        channels, height, width = args[2], args[3], args[4]
        n_step, c_step, y_step, x_step = args[5], args[6], args[7], args[8]
        k_height, k_width, rows, columns = args[9], args[10], args[11], args[12]
        for item in range(first, last):
            # Neighbouring work items share cache lines where channels stand last.
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
                below = y + args[15] - i * args[17]
                row = below // args[13]
                if below < 0 or row * args[13] != below or row >= rows:
                    continue
                for j in range(k_width):
                    x_from = j * args[18] - args[16]
                    low, high = _span(width, columns, args[14], x_from)
                    if high > low:
                        x = low * args[14] + x_from
                        cell = ((i * k_width + j) * rows + row) * columns + low
                        add(
                            out + x * x_step * size,
                            args[14] * x_step,
                            taps + cell * size,
                            high - low,
                        )

    return body


class _Windows(Algorithm):
    """What both directions share."""

    name = "rows"
    backend = "numba"

    def cost(self, problem: Any, machine: Machine) -> Cost:
        """Predict from the bytes moved: the image stays in cache, the columns do not."""
        bytes = prod(problem.columns_shape) * problem.dtype.itemsize * 2
        cells = prod(problem.columns_shape)
        return Cost(1e-6 + roofline(problem, machine, flops=4 * cells, bytes=bytes))

    def _plan(self, problem: Any, kernel: int, items: int) -> NativePlan:
        channels, (height, width) = problem.channels, problem.image_size
        if problem.channels_last:
            steps = (height * width * channels, 1, width * channels, channels)
        else:
            steps = (channels * height * width, height * width, width, 1)
        (top, _), (left, _) = problem.padding
        arguments = [
            INPUT(0), OUTPUT, channels, height, width, *steps, *problem.kernel_size,
            *problem.blocks, *problem.stride, top, left, *problem.dilation,
        ]  # fmt: skip
        seconds = self.cost(problem, get_machine()).seconds
        return NativePlan(problem, [Stage(kernel, items, arguments)], seconds=seconds)


class Unfold(_Windows):
    """Each row of the columns copied from strided rows of the image."""

    def why_not(self, problem: UnfoldProblem) -> str | None:
        """Refuse cells of a size that no machine word has."""
        size = problem.dtype.itemsize
        return None if size in MOVERS else f"cells of {size} bytes are for the reference"

    def plan(self, problem: UnfoldProblem, *parameters: Array | None) -> NativePlan:
        """Bind sizes and steps."""
        items = problem.batch * problem.channels * prod(problem.kernel_size)
        return self._plan(problem, unfold(problem.dtype.itemsize), items)


class Fold(_Windows):
    """Each row of the image summed from the rows of the columns that reach it."""

    def why_not(self, problem: FoldProblem) -> str | None:
        """Refuse dtypes without kernels."""
        if problem.dtype.name not in ("float32", "float64"):
            return f"dtype {problem.dtype.name}; this kernel takes float32 and float64"
        return None

    def error_bound(self, problem: FoldProblem) -> float:
        """Bound the roundings of a sum of one cell a tap."""
        return float(np.finfo(problem.dtype).eps) * prod(problem.kernel_size)

    def plan(self, problem: FoldProblem, *parameters: Array | None) -> NativePlan:
        """Bind sizes and steps."""
        items = problem.batch * problem.channels * problem.image_size[0]
        return self._plan(problem, fold(problem.dtype.name), items)
