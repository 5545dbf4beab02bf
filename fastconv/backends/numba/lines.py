"""The kernel that finds two lines whose outer product a filter is; csrc/lines.h has its twin."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.products import FilterLines
from fastconv.backends.numba.engine import array, kernel, part


@part
def _to_length_one(line):  # type: ignore[no-untyped-def]
    """Scale a line to length one; one of zeros stays."""
    largest = 0.0
    for i in range(len(line)):
        largest = max(largest, abs(line[i]))
    if largest > 0:
        line /= largest
        line /= np.sqrt(np.sum(line * line))


@kernel(FilterLines)
def lines(name: str):  # type: ignore[no-untyped-def]
    """Find lines by power iteration: a work item is a filter."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        down, across = args.down, args.across
        base = args.scratch_base + worker * args.scratch_stride
        column = array(base, (down,), np.float64)
        row = array(base + 8 * down, (across,), np.float64)
        for item in range(first, last):
            source = args.source + item * args.apart
            start, largest = 0, -1.0
            for i in range(down):
                for j in range(across):
                    place = source + i * args.down_apart + j * args.across_apart
                    value = abs(np.float64(array(place, (1,), real)[0]))
                    if value > largest:
                        start, largest = i, value
            for j in range(across):
                place = source + start * args.down_apart + j * args.across_apart
                row[j] = array(place, (1,), real)[0]
            _to_length_one(row)
            strength = 0.0
            for turn in range(3):
                # The last turn counts how strong the product of both lines is.
                for i in range(down):
                    total = 0.0
                    for j in range(across):
                        place = source + i * args.down_apart
                        place += j * args.across_apart
                        total += np.float64(array(place, (1,), real)[0]) * row[j]
                    if turn == 2:
                        strength += column[i] * total
                    else:
                        column[i] = total
                if turn == 2:
                    break
                _to_length_one(column)
                for j in range(across):
                    total = 0.0
                    for i in range(down):
                        place = source + i * args.down_apart
                        place += j * args.across_apart
                        total += np.float64(array(place, (1,), real)[0]) * column[i]
                    row[j] = total
                _to_length_one(row)
            half = np.sqrt(abs(strength))
            columns = array(args.columns + item * down * size, (down,), real)
            rows = array(args.rows + item * across * size, (across,), real)
            for i in range(down):
                columns[i] = real(column[i] * np.copysign(half, strength))
            for j in range(across):
                rows[j] = real(row[j] * half)

    return body
