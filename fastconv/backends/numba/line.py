"""Kernels of long lines: see csrc/line.h and csrc/line_copy.h."""

from __future__ import annotations

import numpy as np

from fastconv.backends.native import line as w
from fastconv.backends.numba.engine import array, as_float, kernel


@kernel
def linear(name: str):  # type: ignore[no-untyped-def]
    """Weigh two neighbours: a work item is a chunk of a line's outputs."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        inner, length, out = args[w.INNER], args[w.IN], args[w.OUT]
        scale, shift = as_float(args[w.SCALE]), as_float(args[w.SHIFT])
        for item in range(first, last):
            outer, number = divmod(item, args[w.CHUNKS])
            start = number * args[w.CHUNK]
            end = min(start + args[w.CHUNK], out)
            line = array(args[w.SOURCE] + outer * length * inner * size, (length, inner), real)
            to = array(args[w.TARGET] + outer * out * inner * size, (out, inner), real)
            for i in range(start, end):
                if args[w.SAME] != 0:
                    for c in range(inner):
                        to[i, c] = line[i, c]
                    continue
                place = scale * (np.float64(i) + shift) - shift
                if args[w.NARROW] != 0:
                    place = np.float64(np.float32(place))
                place = max(place, 0.0)
                low = min(int(place), length - 1)
                high = min(low + 1, length - 1)
                behind = min(place - low, 1.0)
                one, other = real(1 - behind), real(behind)
                for c in range(inner):
                    to[i, c] = one * line[low, c] + other * line[high, c]

    return body


@kernel
def nearest(cell: str):  # type: ignore[no-untyped-def]
    """Copy cells: a work item is a chunk of a line's outputs."""
    dtype, size = np.dtype(cell).type, np.dtype(cell).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        inner, length, out = args[w.INNER], args[w.IN], args[w.OUT]
        scale = np.float32(as_float(args[w.SCALE]))
        shift = np.float32(as_float(args[w.SHIFT]))
        for item in range(first, last):
            outer, number = divmod(item, args[w.CHUNKS])
            start = number * args[w.CHUNK]
            end = min(start + args[w.CHUNK], out)
            line = array(args[w.SOURCE] + outer * length * inner * size, (length, inner), dtype)
            to = array(args[w.TARGET] + outer * out * inner * size, (out, inner), dtype)
            for i in range(start, end):
                low = min(int((np.float32(i) + shift) * scale), length - 1)
                for c in range(inner):
                    to[i, c] = line[low, c]

    return body
