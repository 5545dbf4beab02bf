"""The kernel that packs parameters from wherever they are; csrc/placed.h has its twin."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.products import Placed, PlaceRow
from fastconv.backends.manifest.schema import size_of
from fastconv.backends.numba.cast import WORDS, converts_halves
from fastconv.backends.numba.engine import array, kernel
from fastconv.backends.numba.engine.arguments import record_at
from fastconv.backends.numba.engine.kernel import inlined
from fastconv.backends.numba.simd import Tile
from fastconv.machine import get_machine

_row_at, _ROW_BYTES = record_at(PlaceRow), 8 * size_of(PlaceRow)


@kernel(Placed)
def own(name: str):  # type: ignore[no-untyped-def]
    """Place elements: a work item is a chunk of the elements of all columns of one group."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def fill(row, place, step, some):  # type: ignore[no-untyped-def]
        target = array(row, (some,), real)
        if step == size:
            target[:] = array(place, (some,), real)
        else:
            for j in range(some):
                target[j] = array(place + j * step, (1,), real)[0]

    return placing(fill, real, size)


def sixteen(kind: str, name: str) -> int:
    """Return the kernel for elements of 16 bits, as this machine widens them to float32."""
    return widening(kind, converts_halves(get_machine()))


@kernel(Placed)
def widening(kind: str, hardware: bool):  # type: ignore[no-untyped-def]
    """Place elements of 16 bits, widened to float32: work items are the same."""
    word, single = WORDS[kind, "float32", hardware], Tile("float32", 1, 1, 1, False)

    def fill(row, place, step, some):  # type: ignore[no-untyped-def]
        for j in range(some):
            word(single, place + j * step, row + j * 4)

    return placing(fill, np.float32, 4)


def placing(fill, real, size):  # type: ignore[no-untyped-def]
    """Return the kernel that fills each row's columns by a function, and the rest by zeros."""
    fill = inlined(fill)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        columns, width, count = args.columns, args.width, args.count
        step = args.column_step
        chunks = (count + args.chunk - 1) // args.chunk
        panels = (columns + width - 1) // width
        for item in range(first, last):
            group, chunk = divmod(item, chunks)
            stop = min((chunk + 1) * args.chunk, count)
            for panel in range(panels):
                some = min(width, columns - panel * width)
                source = args.source + group * args.group_step + panel * width * step
                target = args.target + (group * panels + panel) * count * width * size
                for e in range(chunk * args.chunk, stop):
                    own_row = _row_at(args.table + e * _ROW_BYTES)
                    row = target + own_row.row * width * size
                    fill(row, source + own_row.place, step, some)
                    array(row, (width,), real)[some:] = 0

    return body
