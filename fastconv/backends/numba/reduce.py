"""Sums, smallest and largest elements along an axis: see csrc/reduce.h."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.elements import Reduce
from fastconv.backends.numba.engine import array, kernel, part

_LANES = Reduce.LANES


@kernel(Reduce)
def reduce(function: str, name: str):  # type: ignore[no-untyped-def]
    """Reduce: a work item is some rows, or some elements after the axis."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize
    is_sum, is_max = function == "sum", function == "max"

    @part
    def better(x, best):  # type: ignore[no-untyped-def]
        if best != best or x != x:
            return best if best != best else x
        if is_max:
            return x if x > best else best
        return x if x < best else best

    @part
    def along(of, length, inner, c):  # type: ignore[no-untyped-def]
        if is_sum:
            total = 0.0
            for row in range(length):
                total += np.float64(of[row * inner + c])
            return real(total)
        best = of[c]
        for row in range(1, length):
            best = better(of[row * inner + c], best)
        return best

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        outer, length, inner = args.outer, args.length, args.inner
        to = array(args.target, (outer * inner,), real)
        if inner == 1:
            for row in range(first * args.each, min(last * args.each, outer)):
                of = array(args.source + row * length * size, (length,), real)
                to[row] = along(of, length, 1, 0)
            return
        for item in range(first, last):
            number, block = divmod(item, args.parts)
            start = block * _LANES
            of = array(args.source + number * length * inner * size, (length * inner,), real)
            for c in range(start, min(start + _LANES, inner)):
                to[number * inner + c] = along(of, length, inner, c)

    return body
