"""Two arrays put together element by element."""

from __future__ import annotations

import numpy as np

from fastconv.backends.native import arithmetic as w
from fastconv.backends.numba.elementary import clamped, inlined, pick
from fastconv.backends.numba.engine import array, as_float, kernel, part

_DIMENSIONS = w.ROW_DIMENSIONS
_FUNCTIONS = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    # NaN is neither above nor below anything, and wins.
    "maximum": lambda a, b: pick(a != a, a, pick(a > b, a, b)),
    "minimum": lambda a, b: pick(a != a, a, pick(a < b, a, b)),
}


@kernel
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
        length, chunk, chunks = args[w.ROW_LENGTH], args[w.ROW_CHUNK], args[w.ROW_CHUNKS]
        per_item, rows = args[w.ROWS_PER_ITEM], args[w.ROWS]
        left_each, right_each = args[w.LEFT_EACH], args[w.RIGHT_EACH]
        low, high = real(as_float(args[w.LOW])), real(as_float(args[w.HIGH]))
        for item in range(first, last):
            block, number = divmod(item, chunks)
            start = number * chunk
            count = min(chunk, length - start)
            for row in range(block * per_item, min((block + 1) * per_item, rows)):
                rest, left, right = row, start * left_each, start * right_each
                for back in range(_DIMENSIONS):
                    d = _DIMENSIONS - 1 - back
                    rest, place = divmod(rest, args[w.LENGTHS + d])
                    left += place * args[w.LEFT_STEPS + d]
                    right += place * args[w.RIGHT_STEPS + d]
                line(
                    args[w.TARGET] + (row * length + start) * size,
                    args[w.LEFT] + left * size,
                    args[w.RIGHT] + right * size,
                    left_each,
                    right_each,
                    count,
                    low,
                    high,
                )

    return body
