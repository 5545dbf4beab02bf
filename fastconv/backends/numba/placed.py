"""The kernel that packs parameters from wherever they are; csrc/placed.h has its twin."""

from __future__ import annotations

import numpy as np

from fastconv.backends.native import sources as w
from fastconv.backends.numba.cast import WORDS, converts_halves
from fastconv.backends.numba.engine import array, kernel
from fastconv.backends.numba.simd import Tile
from fastconv.machine import get_machine


def placed(kind: str, name: str) -> int:
    """Return the kernel for elements of a kind: "own", or a 16-bit float that is widened."""
    if kind == "own":
        return own(name)
    return sixteen(kind, converts_halves(get_machine()))


@kernel
def own(name: str):  # type: ignore[no-untyped-def]
    """Place elements: a work item is a chunk of the elements of all columns of one group."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        columns, width, count = args[w.COLUMNS], args[w.WIDTH], args[w.COUNT]
        step = args[w.COLUMN_STEP]
        chunks = (count + args[w.CHUNK] - 1) // args[w.CHUNK]
        panels = (columns + width - 1) // width
        table = array(args[w.TABLE], (count, w.PLACE_WORDS), np.int64)
        for item in range(first, last):
            group, chunk = divmod(item, chunks)
            stop = min((chunk + 1) * args[w.CHUNK], count)
            for panel in range(panels):
                some = min(width, columns - panel * width)
                source = args[w.SOURCE] + group * args[w.GROUP_STEP] + panel * width * step
                target = args[w.TARGET] + (group * panels + panel) * count * width * size
                for e in range(chunk * args[w.CHUNK], stop):
                    row = array(target + table[e, 1] * width * size, (width,), real)
                    place = source + table[e, 0]
                    if step == size:
                        row[:some] = array(place, (some,), real)
                    else:
                        for j in range(some):
                            row[j] = array(place + j * step, (1,), real)[0]
                    row[some:] = 0

    return body


@kernel
def sixteen(kind: str, hardware: bool):  # type: ignore[no-untyped-def]
    """Place elements of 16 bits, widened to float32: work items are the same."""
    word, single = WORDS[kind, "float32", hardware], Tile("float32", 1, 1, 1, False)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        columns, width, count = args[w.COLUMNS], args[w.WIDTH], args[w.COUNT]
        step = args[w.COLUMN_STEP]
        chunks = (count + args[w.CHUNK] - 1) // args[w.CHUNK]
        panels = (columns + width - 1) // width
        table = array(args[w.TABLE], (count, w.PLACE_WORDS), np.int64)
        for item in range(first, last):
            group, chunk = divmod(item, chunks)
            stop = min((chunk + 1) * args[w.CHUNK], count)
            for panel in range(panels):
                some = min(width, columns - panel * width)
                source = args[w.SOURCE] + group * args[w.GROUP_STEP] + panel * width * step
                target = args[w.TARGET] + (group * panels + panel) * count * width * 4
                for e in range(chunk * args[w.CHUNK], stop):
                    row = target + table[e, 1] * width * 4
                    place = source + table[e, 0]
                    for j in range(some):
                        word(single, place + j * step, row + j * 4)
                    array(row, (width,), np.float32)[some:] = 0

    return body
