"""Kernels that move cells of any dtype, bit for bit: gathered by tables, or permuted."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.manifest.moves import CopyRows, Gather, Permute
from fastconv.backends.numba.engine import array, kernel, part


def make_copy(dtype: Any) -> Any:
    """Make the function that copies a run of cells."""

    @part
    def copy(target, source, n):  # type: ignore[no-untyped-def]
        to, of = array(target, (n,), dtype), array(source, (n,), dtype)
        for i in range(n):
            to[i] = of[i]

    return copy


@kernel(Gather)
def gather(cell: str):  # type: ignore[no-untyped-def]
    """Copy cells by tables: a work item is one row of the last table.

    The arrays are (outer, A, B, C, inner); -1 in a table takes the fill row's cell.
    """
    dtype, size = np.dtype(cell).type, np.dtype(cell).itemsize
    copy = make_copy(dtype)

    @part
    def pick(target, source, fill, table, first, last):  # type: ignore[no-untyped-def]
        cells = array(table, (last,), np.int64)
        to, of = array(target, (last,), dtype), array(source, (1 << 40,), dtype)
        filling = array(fill, (last,), dtype)
        for c in range(first, last):
            to[c] = of[np.uintp(cells[c])] if cells[c] >= 0 else filling[c]

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        source, target, fill = args.source, args.target, args.fill
        a_table = array(args.a_table, (args.a_out,), np.int64)
        b_table = array(args.b_table, (args.b_out,), np.int64)
        c_table = array(args.c_table, (args.c_out,), np.int64)
        a_out, b_out, c_out = args.a_out, args.b_out, args.c_out
        a_in, b_in, c_in, inner = args.a_in, args.b_in, args.c_in, args.inner
        run_from, run_to = args.run_from, args.run_to
        bytes = inner * size
        for item in range(first, last):
            b, rest = item % b_out, item // b_out
            a, outer = rest % a_out, rest // a_out
            row = target + item * c_out * bytes
            if b > 0 and item > first and b_table[b] == b_table[b - 1]:
                copy(row, row - c_out * bytes, c_out * inner)
                continue
            if a_table[a] < 0 or b_table[b] < 0:
                copy(row, fill, c_out * inner)
                continue
            start = source + ((outer * a_in + a_table[a]) * b_in + b_table[b]) * c_in * bytes
            if inner == 1:
                pick(row, start, fill, args.c_table, 0, run_from)
                if run_to > run_from:
                    run = start + c_table[run_from] * size
                    copy(row + run_from * size, run, run_to - run_from)
                pick(row, start, fill, args.c_table, run_to, c_out)
                continue
            for c in range(c_out):
                origin = fill + c * bytes if c_table[c] < 0 else start + c_table[c] * bytes
                copy(row + c * bytes, origin, inner)

    return body


@kernel(Permute)
def permute(cell: str):  # type: ignore[no-untyped-def]
    """Permute six axes: a work item is what the output's last three axes hold."""
    dtype, size = np.dtype(cell).type, np.dtype(cell).itemsize

    @part
    def move(target, source, rows, columns, row_step, column_step):  # type: ignore[no-untyped-def]
        of, to = array(source, (1 << 40,), dtype), array(target, (rows * columns,), dtype)
        if columns < rows:
            for j in range(columns):
                for i in range(rows):
                    to[i * columns + j] = of[np.uintp(i * row_step + j * column_step)]
        else:
            for i in range(rows):
                for j in range(columns):
                    to[i * columns + j] = of[np.uintp(i * row_step + j * column_step)]

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        planes, rows, columns = args.lengths[2], args.lengths[3], args.lengths[4]
        for item in range(first, last):
            rest, origin = item, 0
            for axis in range(2, 0, -1):
                length = args.lengths[axis - 1]
                origin += rest % length * args.steps[axis]
                rest //= length
            origin += rest * args.steps[0]
            for plane in range(planes):
                done = (item * planes + plane) * rows * columns
                place = args.source + (origin + plane * args.steps[3]) * size
                target = args.target + done * size
                move(target, place, rows, columns, args.steps[4], args.steps[5])

    return body


@kernel(CopyRows)
def rows(cell: str):  # type: ignore[no-untyped-def]
    """Copy rows to another array: a work item is a chunk of a row, or some short rows."""
    dtype, size = np.dtype(cell).type, np.dtype(cell).itemsize
    copy = make_copy(dtype)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        length, chunk, chunks = args.row_length, args.row_chunk, args.row_chunks
        per_item, count = args.rows_per_item, args.rows
        for item in range(first, last):
            block, number = divmod(item, chunks)
            start = number * chunk
            for row in range(block * per_item, min((block + 1) * per_item, count)):
                target = args.target + (row * args.target_pitch + start) * size
                source = args.source + (row * args.source_pitch + start) * size
                copy(target, source, min(chunk, length - start))

    return body
