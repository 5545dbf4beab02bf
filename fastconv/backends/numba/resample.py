"""The kernel of interpolation that sums: rows first, then along the row."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.moves import Weigh
from fastconv.backends.numba.engine import array, kernel, part


@kernel(Weigh)
def weigh(name: str, taps: int):  # type: ignore[no-untyped-def]
    """Sum weighted cells by tables: a work item is one row of the last table.

    First the rows that the tables of A and B name are summed into a line, then the line's cells
    that the table of C names; ``taps`` is how many, or 0 where that varies, or -1: C has one cell.
    """
    dtype, size = np.dtype(name).type, np.dtype(name).itemsize

    @part
    def add_rows(target, sources, weights, count, fresh, n):  # type: ignore[no-untyped-def]
        to = array(target, (n,), dtype)
        p, q = array(sources[0], (n,), dtype), array(sources[1], (n,), dtype)
        u, v = weights
        if count == 2:
            if fresh:
                for i in range(n):
                    to[i] = u * p[i] + v * q[i]
            else:
                for i in range(n):
                    to[i] = (to[i] + u * p[i]) + v * q[i]
        elif fresh:
            for i in range(n):
                to[i] = u * p[i]
        else:
            for i in range(n):
                to[i] += u * p[i]

    @part
    def add_columns(target, line, first, index, weight, length, inner):  # type: ignore[no-untyped-def]
        starts = array(first, (length + 1,), np.int64)
        cells = array(index, (1 << 40,), np.int64)
        weights = array(weight, (1 << 40,), dtype)
        for c in range(length):
            t, end = starts[c], starts[c + 1]
            fresh = True
            while t < end:
                count = min(2, end - t)
                other = t + count - 1
                add_rows(
                    target + c * inner * size,
                    (line + cells[t] * inner * size, line + cells[other] * inner * size),
                    (weights[t], weights[other]),
                    count,
                    fresh,
                    inner,
                )
                fresh = False
                t += count

    @part
    def add_cells(target, line, first, index, weight, length):  # type: ignore[no-untyped-def]
        to, of = array(target, (length,), dtype), array(line, (1 << 40,), dtype)
        starts = array(first, (length + 1,), np.int64)
        cells = array(index, (1 << 40,), np.int64)
        weights = array(weight, (1 << 40,), dtype)
        for c in range(length):
            total = dtype(0)
            if taps > 0:
                for k in range(taps):
                    t = np.uintp(c * taps + k)
                    total += weights[t] * of[np.uintp(cells[t])]
            else:
                for place in range(starts[c], starts[c + 1]):
                    total += weights[place] * of[np.uintp(cells[place])]
            to[c] = total

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        source, target = args.source, args.target
        a_out, b_out, c_out = args.a_out, args.b_out, args.c_out
        a_in, b_in, c_in, inner = args.a_in, args.b_in, args.c_in, args.inner
        a_first = array(args.a_first, (a_out + 1,), np.int64)
        b_first = array(args.b_first, (b_out + 1,), np.int64)
        a_index = array(args.a_index, (1 << 40,), np.int64)
        b_index = array(args.b_index, (1 << 40,), np.int64)
        a_weight = array(args.a_weight, (1 << 40,), np.float64)
        b_weight = array(args.b_weight, (1 << 40,), np.float64)
        n = c_in * inner
        scratch = args.scratch_base + worker * args.scratch_stride
        for item in range(first, last):
            b, rest = item % b_out, item // b_out
            a, outer = rest % a_out, rest // a_out
            row = target + item * c_out * inner * size
            plane = source + outer * a_in * b_in * n * size
            line = row if taps == -1 else scratch
            width = b_first[b + 1] - b_first[b]
            total = (a_first[a + 1] - a_first[a]) * width
            if taps != -1 and total == 1 and args.plain == 1:
                line = plane + (a_index[a_first[a]] * b_in + b_index[b_first[b]]) * n * size
            else:
                done = 0
                while done < total:
                    count = min(2, total - done)
                    i, j = a_first[a] + done // width, b_first[b] + done % width
                    other = done + count - 1
                    k, m = a_first[a] + other // width, b_first[b] + other % width
                    add_rows(
                        line,
                        (
                            plane + (a_index[i] * b_in + b_index[j]) * n * size,
                            plane + (a_index[k] * b_in + b_index[m]) * n * size,
                        ),
                        (dtype(a_weight[i] * b_weight[j]), dtype(a_weight[k] * b_weight[m])),
                        count,
                        done == 0,
                        n,
                    )
                    done += count
            if taps != -1:
                tables = args.c_first, args.c_index, args.c_weight
                if inner == 1:
                    add_cells(row, line, tables[0], tables[1], tables[2], c_out)
                else:
                    add_columns(row, line, tables[0], tables[1], tables[2], c_out, inner)

    return body
