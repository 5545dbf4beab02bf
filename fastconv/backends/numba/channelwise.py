"""The kernels of functions of elements and of numbers of their channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.backends.manifest.elements import ByRow, ByTable
from fastconv.backends.native.channelwise import table_dtype
from fastconv.backends.numba.elementary import clamped, inlined, pick
from fastconv.backends.numba.engine import array, kernel


def _affine(name: str) -> Callable[..., Any]:
    """X a + b, in float64, so that a mean far from zero costs no digits; clamped."""
    real, clamp = np.dtype(name).type, inlined(clamped)
    return lambda x, a, b, low, high: real(clamp(np.float64(x) * a + b, low, high))


def _prelu(name: str) -> Callable[..., Any]:
    zero = np.dtype(name).type(0)
    return lambda x, a, b, _, __: pick(x > zero, x, x * a)


_FUNCTIONS = {"affine": _affine, "prelu": _prelu}


@kernel(ByTable)
def by_table(function: str, name: str):  # type: ignore[no-untyped-def]
    """Elements meet a table's entries in turn: a work item is a block of an image's elements."""
    apply, real = inlined(_FUNCTIONS[function](name)), np.dtype(name).type
    entry, size = np.dtype(table_dtype(function, name)).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        image_count, period = args.image, args.period
        block, blocks = args.block, args.blocks
        low, high = args.low, args.high
        for item in range(first, last):
            image, part = divmod(item, blocks)
            a = array(args.first_table + image * args.table_step, (period,), entry)
            b = array(args.second_table + image * args.table_step, (period,), entry)
            stop = min((part + 1) * block, image_count)
            for start in range(part * block, stop, period):
                count = min(period, stop - start)
                shift = (image * image_count + start) * size
                source = array(args.source + shift, (count,), real)
                target = array(args.target + shift, (count,), real)
                for i in range(count):
                    target[i] = apply(source[i], a[i], b[i], low, high)

    return body


@kernel(ByRow)
def by_row(function: str, name: str):  # type: ignore[no-untyped-def]
    """Rows have an entry each: a work item is a chunk of a row, or some short rows."""
    apply, real = inlined(_FUNCTIONS[function](name)), np.dtype(name).type
    entry, size = np.dtype(table_dtype(function, name)).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        rows, length, chunk = args.rows, args.row_length, args.row_chunk
        chunks, per_item = args.row_chunks, args.rows_per_item
        entries = args.entry_count
        low, high = args.low, args.high
        table_a = array(args.first_entries, (entries,), entry)
        table_b = array(args.second_entries, (entries,), entry)
        for item in range(first, last):
            block, part = divmod(item, chunks)
            count = min(chunk, length - part * chunk)
            for row in range(block * per_item, min((block + 1) * per_item, rows)):
                a, b = table_a[row % entries], table_b[row % entries]
                shift = (row * length + part * chunk) * size
                source = array(args.source + shift, (count,), real)
                target = array(args.target + shift, (count,), real)
                for i in range(count):
                    target[i] = apply(source[i], a, b, low, high)

    return body
