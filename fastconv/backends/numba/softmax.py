"""The kernels of softmax: three passes, sums in float64, each in one order."""

from __future__ import annotations

import math

import numba
import numpy as np

from fastconv.backends.manifest.elements import SoftmaxColumns, SoftmaxRows
from fastconv.backends.numba.elementary import make_exp, pick
from fastconv.backends.numba.engine import array, kernel

COLUMNS = SoftmaxColumns.AT_ONCE


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


@kernel(SoftmaxRows)
def softmax_rows(name: str, log: bool):  # type: ignore[no-untyped-def]
    """Softmax of contiguous rows: a work item is some rows."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize
    exp = make_exp(name)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        rows, length, per_item = args.rows, args.row_length, args.rows_per_item
        for row in range(first * per_item, min(last * per_item, rows)):
            source = array(args.source + row * length * size, (length,), real)
            target = array(args.target + row * length * size, (length,), real)
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


@kernel(SoftmaxColumns)
def softmax_columns(name: str, log: bool):  # type: ignore[no-untyped-def]
    """Softmax along an axis that others follow: a work item is a block of columns, or some."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize
    exp, low = make_exp(name), np.dtype(name).type(-np.inf)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        outer, length, inner = args.outer, args.length, args.inner
        per_item, blocks = args.per_item, args.blocks
        scratch = args.scratch_base + worker * args.scratch_stride
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
                    source = array(args.source + start + k * inner * size, (count,), real)
                    for i in range(count):
                        tops[i] = pick(source[i] > tops[i], source[i], tops[i])
                for k in range(length):
                    source = array(args.source + start + k * inner * size, (count,), real)
                    target = array(args.target + start + k * inner * size, (count,), real)
                    for i in range(count):
                        target[i] = exp(source[i] - tops[i])
                    for i in range(count):
                        sums[i] += np.float64(target[i])
                for i in range(count):
                    sums[i] = math.log(sums[i]) if log else 1.0 / sums[i]
                for k in range(length):
                    source = array(args.source + start + k * inner * size, (count,), real)
                    target = array(args.target + start + k * inner * size, (count,), real)
                    if log:
                        for i in range(count):
                            target[i] = real(np.float64(source[i] - tops[i]) - sums[i])
                    else:
                        for i in range(count):
                            target[i] = real(np.float64(target[i]) * sums[i])

    return body
