"""Two arrays put together element by element."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.elements import Arithmetic
from fastconv.backends.numba.elementary import clamped, inlined, pick
from fastconv.backends.numba.engine import array, kernel, part

_DIMENSIONS = Arithmetic.DIMENSIONS
_FUNCTIONS = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    # NaN is neither above nor below anything, and wins.
    "maximum": lambda a, b: pick(a != a, a, pick(a > b, a, b)),
    "minimum": lambda a, b: pick(a != a, a, pick(a < b, a, b)),
}


@kernel(Arithmetic)
def arithmetic(function: str, name: str):  # type: ignore[no-untyped-def]
    """Put rows together: a work item is a chunk of a row, or some short rows."""
    apply, clamp, real = inlined(_FUNCTIONS[function]), inlined(clamped), np.dtype(name).type
    size = np.dtype(name).itemsize

    @part
    def line(target, left, right, left_each, right_each, n, low, high):  # type: ignore[no-untyped-def]
        to = array(target, (n,), real)
        a, b = array(left, (n,), real), array(right, (n,), real)
        if left_each and right_each:
            for i in range(n):
                to[i] = clamp(apply(a[i], b[i]), low, high)
        elif left_each:
            only = b[0]
            for i in range(n):
                to[i] = clamp(apply(a[i], only), low, high)
        else:
            only = a[0]
            for i in range(n):
                to[i] = clamp(apply(only, b[i]), low, high)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        length, chunk, chunks = args.row_length, args.row_chunk, args.row_chunks
        per_item, rows = args.rows_per_item, args.rows
        left_each, right_each = args.left_each, args.right_each
        low, high = real(args.low), real(args.high)
        for item in range(first, last):
            block, number = divmod(item, chunks)
            start = number * chunk
            count = min(chunk, length - start)
            for row in range(block * per_item, min((block + 1) * per_item, rows)):
                rest, left, right = row, start * left_each, start * right_each
                for back in range(_DIMENSIONS):
                    d = _DIMENSIONS - 1 - back
                    rest, place = divmod(rest, args.lengths[d])
                    left += place * args.left_steps[d]
                    right += place * args.right_steps[d]
                line(
                    args.target + (row * length + start) * size,
                    args.left + left * size,
                    args.right + right * size,
                    left_each,
                    right_each,
                    count,
                    low,
                    high,
                )

    return body
