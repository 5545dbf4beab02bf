"""Kernels of long lines: see csrc/line.h and csrc/line_copy.h."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.moves import LineLinear, LineNearest
from fastconv.backends.numba.engine import array, kernel


@kernel(LineLinear)
def linear(name: str):  # type: ignore[no-untyped-def]
    """Weigh two neighbours: a work item is a chunk of a line's outputs."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        inner, length, out = args.inner, args.in_cells, args.out_cells
        scale, shift = args.scale, args.shift
        for item in range(first, last):
            outer, number = divmod(item, args.chunks)
            start = number * args.chunk
            end = min(start + args.chunk, out)
            line = array(args.source + outer * length * inner * size, (length, inner), real)
            to = array(args.target + outer * out * inner * size, (out, inner), real)
            for i in range(start, end):
                if args.same != 0:
                    for c in range(inner):
                        to[i, c] = line[i, c]
                    continue
                place = scale * (np.float64(i) + shift) - shift
                if args.narrow != 0:
                    place = np.float64(np.float32(place))
                place = max(place, 0.0)
                low = min(int(place), length - 1)
                high = min(low + 1, length - 1)
                behind = min(place - low, 1.0)
                one, other = real(1 - behind), real(behind)
                for c in range(inner):
                    to[i, c] = one * line[low, c] + other * line[high, c]

    return body


@kernel(LineNearest)
def nearest(cell: str):  # type: ignore[no-untyped-def]
    """Copy cells: a work item is a chunk of a line's outputs."""
    dtype, size = np.dtype(cell).type, np.dtype(cell).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        inner, length, out = args.inner, args.in_cells, args.out_cells
        scale = np.float32(args.scale)
        shift = np.float32(args.shift)
        for item in range(first, last):
            outer, number = divmod(item, args.chunks)
            start = number * args.chunk
            end = min(start + args.chunk, out)
            line = array(args.source + outer * length * inner * size, (length, inner), dtype)
            to = array(args.target + outer * out * inner * size, (out, inner), dtype)
            for i in range(start, end):
                low = min(int((np.float32(i) + shift) * scale), length - 1)
                for c in range(inner):
                    to[i, c] = line[low, c]

    return body
