"""Softmax along any axis: subtract the largest, exponentiate, divide by the sum."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.native.plan import scratch_stride
from fastconv.backends.native.pointwise import BLOCK
from fastconv.backends.numba.channelwise import Rows
from fastconv.backends.numba.elementary import make_exp, pick
from fastconv.backends.numba.engine import INPUT, OUTPUT, SCRATCH, NativePlan, Stage, array, kernel
from fastconv.backends.numba.pointwise import Pointwise
from fastconv.problem import SoftmaxProblem

# Columns that one work item sums at once.
COLUMNS = 256


@numba.njit(error_model="numpy", fastmath={"reassoc"})
def total(x):  # type: ignore[no-untyped-def]
    """Sum in float64; in an order that the compiler chooses, once and for all arrays alike."""
    result = 0.0
    for i in range(x.shape[0]):
        result += np.float64(x[i])
    return result


@numba.njit(error_model="numpy")
def largest(x):  # type: ignore[no-untyped-def]
    """Largest element that is not NaN, or the first; four at a time."""
    a = b = c = d = x[0]
    whole = x.shape[0] // 4
    for i in range(whole):
        a = pick(x[4 * i] > a, x[4 * i], a)
        b = pick(x[4 * i + 1] > b, x[4 * i + 1], b)
        c = pick(x[4 * i + 2] > c, x[4 * i + 2], c)
        d = pick(x[4 * i + 3] > d, x[4 * i + 3], d)
    for i in range(4 * whole, x.shape[0]):
        a = pick(x[i] > a, x[i], a)
    a, c = pick(b > a, b, a), pick(d > c, d, c)
    return pick(c > a, c, a)


@kernel
def softmax_rows(name: str, log: bool):  # type: ignore[no-untyped-def]
    """Softmax of contiguous rows: a work item is some rows."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize
    exp = make_exp(name)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        rows, length, per_item = args[2], args[3], args[6]
        for row in range(first * per_item, min(last * per_item, rows)):
            source = array(args[0] + row * length * size, (length,), real)
            target = array(args[1] + row * length * size, (length,), real)
            top = largest(source)
            for i in range(length):
                target[i] = exp(source[i] - top)
            whole = total(target)
            if log:
                shift = math.log(whole)
                for i in range(length):
                    target[i] = real(np.float64(source[i] - top) - shift)
            else:
                factor = 1.0 / whole
                for i in range(length):
                    target[i] = real(np.float64(target[i]) * factor)

    return body


@kernel
def softmax_columns(name: str, log: bool):  # type: ignore[no-untyped-def]
    """Softmax along an axis that others follow: a work item is a block of columns, or some."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize
    exp, low = make_exp(name), np.dtype(name).type(-np.inf)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        outer, length, inner, per_item, blocks = args[2], args[3], args[4], args[5], args[6]
        scratch = args[7] + worker * args[8]
        for item in range(first, last):
            group, part = divmod(item, blocks)
            count = min(COLUMNS, inner - part * COLUMNS)
            sums = array(scratch, (count,), np.float64)
            tops = array(scratch + 8 * COLUMNS, (count,), real)
            for o in range(group * per_item, min((group + 1) * per_item, outer)):
                start = (o * length * inner + part * COLUMNS) * size
                for i in range(count):
                    sums[i] = 0.0
                    tops[i] = low
                for k in range(length):
                    source = array(args[0] + start + k * inner * size, (count,), real)
                    for i in range(count):
                        tops[i] = pick(source[i] > tops[i], source[i], tops[i])
                for k in range(length):
                    source = array(args[0] + start + k * inner * size, (count,), real)
                    target = array(args[1] + start + k * inner * size, (count,), real)
                    for i in range(count):
                        target[i] = exp(source[i] - tops[i])
                    for i in range(count):
                        sums[i] += np.float64(target[i])
                for i in range(count):
                    sums[i] = math.log(sums[i]) if log else 1.0 / sums[i]
                for k in range(length):
                    source = array(args[0] + start + k * inner * size, (count,), real)
                    target = array(args[1] + start + k * inner * size, (count,), real)
                    if log:
                        for i in range(count):
                            target[i] = real(np.float64(source[i] - tops[i]) - sums[i])
                    else:
                        for i in range(count):
                            target[i] = real(np.float64(target[i]) * sums[i])

    return body


class Softmax(Pointwise):
    """Three passes; sums in float64, each in one order."""

    name = "softmax"

    def why_not(self, problem: SoftmaxProblem) -> str | None:
        if problem.dtype != problem.result:
            return f"dtype {problem.result.name} is not the input's: convert it before the call"
        return super().why_not(problem)

    def operations(self, problem: SoftmaxProblem) -> float:
        return 30

    def plan(self, problem: SoftmaxProblem, *parameters: Array | None) -> NativePlan:
        outer, length, inner = problem.extents
        name, log = problem.dtype.name, problem.log
        if inner == 1:
            rows = Rows(outer, length)
            items = -(-outer // rows.per_item)
            stage = Stage(softmax_rows(name, log), items, (INPUT(0), OUTPUT, *rows.words))
            return self.native_plan(problem, [stage])
        scratch = 16 * COLUMNS
        per_item = max(1, BLOCK // (length * inner))
        blocks = -(-inner // COLUMNS)
        arguments: tuple[Any, ...] = (
            INPUT(0), OUTPUT, outer, length, inner, per_item, blocks, SCRATCH,
            scratch_stride(scratch),
        )  # fmt: skip
        stage = Stage(softmax_columns(name, log), -(-outer // per_item) * blocks, arguments)
        return self.native_plan(problem, [stage], scratch_bytes=scratch)
