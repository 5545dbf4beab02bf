"""The walk over a planar pool's blocks: lines folded down, then columns across.

A window of h x w cells takes about h + w steps, and large ones that overlap 2 sqrt(h) + 2 sqrt(w):
runs of cells are folded first, and windows from runs (as van Herk, 1992, and Gil and Werman, 1993,
whose three steps a cell do not suit vectors). Lines lie one after the other in a worker's scratch
memory, so that a shift down and a shift across are the same operation: a vector of outputs is
folded from vectors that lie some bytes apart. The kernel knows this operation alone, and reads
from a table which folds a pool is made of.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.native.pool import words as w
from fastconv.backends.numba.engine import array, inlined, kernel, part
from fastconv.backends.numba.engine.memory import call_kernel
from fastconv.backends.numba.pool.simd import holds_nan
from fastconv.backends.numba.simd import Tile


def make_any_nan(tile: Tile) -> Any:
    """Make the function that tells whether any of ``count`` elements of some lines is NaN."""
    size, columns, dtype = tile.size, tile.columns, np.dtype(tile.dtype).type

    @part
    def any_nan(start, lines, pitch, count):  # type: ignore[no-untyped-def]
        if count * size == pitch:
            count, lines = count * lines, 1
        found = False
        for line in range(lines):
            place = start + line * pitch
            if count >= columns:
                found |= holds_nan(tile, place, count // columns)
                found |= holds_nan(tile, place + (count - columns) * size, 1)
            else:
                values = array(place, (count,), dtype)
                for i in range(count):
                    found |= values[i] != values[i]
        return found

    return any_nan


@inlined
def words(table: int, first: int) -> Any:
    """Read the int64 words of a table from one on."""
    return array(table + 8 * first, (w.CALL_WORDS,), np.int64)


@kernel
def walk(tile: Tile, largest: bool):  # type: ignore[no-untyped-def]
    """Pool: a work item is a block of rows and columns of an output plane, or several planes."""
    size = tile.size
    any_nan = make_any_nan(tile)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        blocks = (args[w.OUT_HEIGHT] + args[w.ROWS] - 1) // args[w.ROWS]
        memory = args[w.SCRATCH_BASE] + worker * args[w.SCRATCH_STRIDE]
        call = words(memory, 0)
        row_bytes = args[w.WIDTH] * size
        for item in range(first, last):
            rest, column_block = divmod(item, args[w.COLUMN_BLOCKS])
            rest, block = divmod(rest, blocks)
            plane, depth = divmod(rest, args[w.OUT_DEPTH])
            cut = words(args[w.COLUMN_TABLE], column_block * w.COLUMN_BLOCK)
            base, low, high = cut[2], cut[3], cut[4]
            volume = args[w.SOURCE] + plane * args[w.VOLUME_BYTES] + low * size
            fold, emit = args[w.FOLD], args[w.EMIT]
            for number in range(args[w.STEPS]):
                if largest and number == args[w.CHECKED]:
                    seen = words(args[w.ROW_TABLE], 2 * block)
                    start = memory + args[w.CHECKED_PLACE]
                    if args[w.CHECKED_PLACE] < 0:
                        start = volume + seen[0] * row_bytes
                    if not any_nan(start, seen[1] - seen[0], row_bytes, high - low):
                        fold, emit = args[w.FOLD_ORDERED], args[w.EMIT_ORDERED]
                step = words(args[w.STEP_TABLE], number * w.STEP_WORDS)
                kernel = fold
                if step[w.FIRST] and fold == args[w.FOLD]:
                    kernel = args[w.FOLD_FIRST]
                target = memory + step[w.TARGET] + (low - base) * size * step[w.INSIDE]
                source = volume if step[w.FROM] < 0 else memory + step[w.FROM]
                call[w.TO_STEP], call[w.CELL_STEP] = step[w.TARGET_BYTES], step[w.CELL_BYTES]
                call[w.INTO] = step[w.CARRY]
                place = step[w.BLOCKS] + 2 * (depth * blocks + block)
                bounds = words(args[w.STEP_TABLE], place)
                for at in range(bounds[0], bounds[1], w.FOLD_WORDS):
                    which = words(args[w.STEP_TABLE], at)
                    call[w.TO] = target
                    call[w.CELLS_AT] = source + which[0] * step[w.LINE_BYTES]
                    call[w.CELLS] = which[1]
                    call[w.COUNT] = which[2] if which[2] else high - low
                    call[w.CELLS_STEP] = which[4] * step[w.LINE_BYTES]
                    call_kernel(kernel, memory, 0, which[3], worker)
                    target += step[w.TARGET_BYTES] * which[3]
            row = block * args[w.ROWS]
            call[w.LINE], call[w.LINE_STEP] = memory + args[w.RESULT], args[w.PITCH] * size
            call[w.RESULTS_STEP] = args[w.OUT_WIDTH] * size
            call[w.RESULTS] = (
                args[w.OUT] + rest * args[w.OUT_BYTES] + row * call[w.RESULTS_STEP] + cut[0] * size
            )
            call[w.FIRST_OUTPUT], call[w.OUTPUTS], call[w.FIRST_COLUMN] = cut[0], cut[1], base
            call[w.DOWN] = args[w.COUNTS_DOWN] + (depth * args[w.OUT_HEIGHT] + row) * size
            call[w.ACROSS] = args[w.COUNTS_ACROSS] + cut[0] * size
            call[w.SEEN], call[w.SEEN_STEP] = args[w.WINDOWS], args[w.WINDOW_STEP]
            call[w.ROW_OUTPUTS] = args[w.OUT_WIDTH]
            call[w.LINE_TAPS], call[w.LINE_STRIDE] = args[w.TAPS], args[w.STRIDE]
            call_kernel(emit, memory, 0, min(args[w.ROWS], args[w.OUT_HEIGHT] - row), worker)

    return body
