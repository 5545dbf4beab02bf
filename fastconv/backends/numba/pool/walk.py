"""The walk over a planar pool's blocks: lines folded down, then columns across.

A window of h x w cells takes about h + w steps, and large ones that overlap 2 sqrt(h) + 2 sqrt(w):
runs of cells are folded first, and windows from runs (as van Herk, 1992, and Gil and Werman, 1993,
whose three steps a cell do not suit vectors). Lines are stored one after the other in a worker's
scratch memory, so that a shift down and a shift across are the same operation: a vector of outputs
is folded from vectors that are some bytes apart. The kernel knows this operation alone, and reads
from a table which folds a pool is made of.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.manifest.pools import (
    ColumnBlock,
    EmitLines,
    FoldLines,
    Step,
    StepFold,
    Walk,
)
from fastconv.backends.manifest.schema import size_of
from fastconv.backends.numba.engine import array, inlined, kernel, part
from fastconv.backends.numba.engine.arguments import record_at
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


_step_at, _fold_at, _column_at = map(record_at, (Step, StepFold, ColumnBlock))
_fold_lines_at, _emit_lines_at = record_at(FoldLines), record_at(EmitLines)
_STEP_BYTES, _FOLD_BYTES, _COLUMN_BYTES = (
    8 * size_of(record) for record in (Step, StepFold, ColumnBlock)
)


@inlined
def _pair(table: int, first: int) -> Any:
    """Read two words of a table from one on."""
    return array(table + 8 * first, (2,), np.int64)


@kernel(Walk)
def walk(tile: Tile, largest: bool):  # type: ignore[no-untyped-def]
    """Pool: a work item is a block of rows and columns of an output plane, or several planes."""
    size = tile.size
    any_nan = make_any_nan(tile)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        blocks = (args.out_height + args.rows - 1) // args.rows
        memory = args.scratch_base + worker * args.scratch_stride
        folds, emits = _fold_lines_at(memory), _emit_lines_at(memory)
        row_bytes = args.width * size
        for item in range(first, last):
            rest, column_block = divmod(item, args.column_blocks)
            rest, block = divmod(rest, blocks)
            plane, depth = divmod(rest, args.out_depth)
            cut = _column_at(args.column_table + column_block * _COLUMN_BYTES)
            base, low, high = cut.base, cut.low, cut.high
            volume = args.source + plane * args.volume_bytes + low * size
            fold, emit = args.fold, args.emit
            for number in range(args.steps):
                if largest and number == args.checked:
                    seen = _pair(args.row_table, 2 * block)
                    start = memory + args.checked_place
                    if args.checked_place < 0:
                        start = volume + seen[0] * row_bytes
                    if not any_nan(start, seen[1] - seen[0], row_bytes, high - low):
                        fold, emit = args.fold_ordered, args.emit_ordered
                step = _step_at(args.step_table + number * _STEP_BYTES)
                kernel = fold
                if step.first and fold == args.fold:
                    kernel = args.fold_first
                target = memory + step.target + (low - base) * size * step.inside
                source = volume if step.source < 0 else memory + step.source
                folds.to_step, folds.cell_step = step.target_bytes, step.cell_bytes
                folds.into = step.carry
                place = step.blocks + 2 * (depth * blocks + block)
                bounds = _pair(args.step_table, place)
                for at in range(8 * bounds[0], 8 * bounds[1], _FOLD_BYTES):
                    which = _fold_at(args.step_table + at)
                    folds.to = target
                    folds.source = source + which.line * step.line_bytes
                    folds.cells = which.cells
                    folds.count = which.elements if which.elements else high - low
                    folds.source_step = which.apart * step.line_bytes
                    call_kernel(kernel, memory, 0, which.lines, worker)
                    target += step.target_bytes * which.lines
            row = block * args.rows
            emits.line, emits.line_step = memory + args.result, args.pitch * size
            emits.results_step = args.out_width * size
            emits.results = (
                args.out
                + rest * args.out_bytes
                + row * emits.results_step
                + cut.first_output * size
            )
            emits.first_output, emits.outputs, emits.first_column = (
                cut.first_output,
                cut.outputs,
                base,
            )
            emits.down = args.counts_down + (depth * args.out_height + row) * size
            emits.across = args.counts_across + cut.first_output * size
            emits.seen, emits.seen_step = args.windows, args.window_step
            emits.row_outputs = args.out_width
            emits.taps, emits.stride = args.taps, args.stride
            call_kernel(emit, memory, 0, min(args.rows, args.out_height - row), worker)

    return body
