"""Kernels that move cells of any dtype, bit for bit: gathered by tables, or permuted."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.native import joining as j
from fastconv.backends.native.move import (
    A_IN,
    A_OUT,
    A_TABLE,
    B_IN,
    B_OUT,
    B_TABLE,
    C_IN,
    C_OUT,
    C_TABLE,
    FILL,
    INNER,
    LENGTHS,
    RUN_FROM,
    RUN_TO,
    SOURCE,
    STEPS,
    TARGET,
)
from fastconv.backends.numba.engine import array, kernel, part


def make_copy(dtype: Any) -> Any:
    """Make the function that copies a run of cells."""

    @part
    def copy(target, source, n):  # type: ignore[no-untyped-def]
        to, of = array(target, (n,), dtype), array(source, (n,), dtype)
        for i in range(n):
            to[i] = of[i]

    return copy


@kernel
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
        source, target, fill = args[SOURCE], args[TARGET], args[FILL]
        a_table = array(args[A_TABLE], (args[A_OUT],), np.int64)
        b_table = array(args[B_TABLE], (args[B_OUT],), np.int64)
        c_table = array(args[C_TABLE], (args[C_OUT],), np.int64)
        a_out, b_out, c_out = args[A_OUT], args[B_OUT], args[C_OUT]
        a_in, b_in, c_in, inner = args[A_IN], args[B_IN], args[C_IN], args[INNER]
        run_from, run_to = args[RUN_FROM], args[RUN_TO]
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
                pick(row, start, fill, args[C_TABLE], 0, run_from)
                if run_to > run_from:
                    run = start + c_table[run_from] * size
                    copy(row + run_from * size, run, run_to - run_from)
                pick(row, start, fill, args[C_TABLE], run_to, c_out)
                continue
            for c in range(c_out):
                origin = fill + c * bytes if c_table[c] < 0 else start + c_table[c] * bytes
                copy(row + c * bytes, origin, inner)

    return body


@kernel
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
        planes, rows, columns = args[LENGTHS + 2], args[LENGTHS + 3], args[LENGTHS + 4]
        for item in range(first, last):
            rest, origin = item, 0
            for axis in range(2, 0, -1):
                length = args[LENGTHS + axis - 1]
                origin += rest % length * args[STEPS + axis]
                rest //= length
            origin += rest * args[STEPS]
            for plane in range(planes):
                done = (item * planes + plane) * rows * columns
                place = args[SOURCE] + (origin + plane * args[STEPS + 3]) * size
                target = args[TARGET] + done * size
                move(target, place, rows, columns, args[STEPS + 4], args[STEPS + 5])

    return body


@kernel
def rows(cell: str):  # type: ignore[no-untyped-def]
    """Copy rows to another array: a work item is a chunk of a row, or some short rows."""
    dtype, size = np.dtype(cell).type, np.dtype(cell).itemsize
    copy = make_copy(dtype)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        length, chunk, chunks = args[j.ROW_LENGTH], args[j.ROW_CHUNK], args[j.ROW_CHUNKS]
        per_item, count = args[j.ROWS_PER_ITEM], args[j.ROWS]
        for item in range(first, last):
            block, number = divmod(item, chunks)
            start = number * chunk
            for row in range(block * per_item, min((block + 1) * per_item, count)):
                target = args[j.TARGET] + (row * args[j.TARGET_PITCH] + start) * size
                source = args[j.SOURCE] + (row * args[j.SOURCE_PITCH] + start) * size
                copy(target, source, min(chunk, length - start))

    return body
