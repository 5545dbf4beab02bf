"""Kernels that move cells of any dtype, bit for bit: gathered by tables, or permuted."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.numba.engine import array, kernel, part

# Types by which cells of any dtype are moved, bit for bit.
MOVERS: dict[int, Any] = {
    1: np.uint8,
    2: np.uint16,
    4: np.uint32,
    8: np.uint64,
    16: np.complex128,
}


def make_copy(dtype: Any) -> Any:
    """Make the function that copies a run of cells."""

    @part
    def copy(target, source, n):  # type: ignore[no-untyped-def]
        to, of = array(target, (n,), dtype), array(source, (n,), dtype)
        for i in range(n):
            to[i] = of[i]

    return copy


@kernel
def gather(size: int):  # type: ignore[no-untyped-def]
    """Copy cells by tables: a work item is one row of the last table.

    The arrays are (outer, A, B, C, inner); -1 in a table takes the fill row's cell.
    """
    dtype = MOVERS[size]
    copy = make_copy(dtype)

    @part
    def pick(target, source, fill, table, first, last):  # type: ignore[no-untyped-def]
        cells = array(table, (last,), np.int64)
        to, of = array(target, (last,), dtype), array(source, (1 << 40,), dtype)
        filling = array(fill, (last,), dtype)
        for c in range(first, last):
            to[c] = of[np.uintp(cells[c])] if cells[c] >= 0 else filling[c]

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        source, target, fill = args[0], args[1], args[2]
        a_table = array(args[3], (args[6],), np.int64)
        b_table = array(args[4], (args[7],), np.int64)
        c_table = array(args[5], (args[8],), np.int64)
        a_out, b_out, c_out = args[6], args[7], args[8]
        a_in, b_in, c_in, inner = args[9], args[10], args[11], args[12]
        run_from, run_to = args[13], args[14]
        cell = inner * size
        for item in range(first, last):
            b, rest = item % b_out, item // b_out
            a, outer = rest % a_out, rest // a_out
            row = target + item * c_out * cell
            if b > 0 and item > first and b_table[b] == b_table[b - 1]:
                copy(row, row - c_out * cell, c_out * inner)
                continue
            if a_table[a] < 0 or b_table[b] < 0:
                copy(row, fill, c_out * inner)
                continue
            start = source + ((outer * a_in + a_table[a]) * b_in + b_table[b]) * c_in * cell
            if inner == 1:
                pick(row, start, fill, args[5], 0, run_from)
                if run_to > run_from:
                    run = start + c_table[run_from] * size
                    copy(row + run_from * size, run, run_to - run_from)
                pick(row, start, fill, args[5], run_to, c_out)
                continue
            for c in range(c_out):
                origin = fill + c * cell if c_table[c] < 0 else start + c_table[c] * cell
                copy(row + c * cell, origin, inner)

    return body


@kernel
def permute(size: int):  # type: ignore[no-untyped-def]
    """Permute six axes: a work item is what the output's last three axes hold."""
    dtype = MOVERS[size]

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
        planes, rows, columns = args[4], args[5], args[6]
        for item in range(first, last):
            rest, origin = item, 0
            for axis in range(2, 0, -1):
                length = args[2 + axis - 1]
                origin += rest % length * args[7 + axis]
                rest //= length
            origin += rest * args[7]
            for plane in range(planes):
                done = (item * planes + plane) * rows * columns
                place = args[0] + (origin + plane * args[10]) * size
                move(args[1] + done * size, place, rows, columns, args[11], args[12])

    return body
