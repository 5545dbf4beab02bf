"""Copying planes of an image, padded and split by column phase, into scratch memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv.backends.numba.engine import array, part
from fastconv.backends.numba.planar_simd import split_columns
from fastconv.backends.numba.simd import Tile


def make_copy_lines(tile: Tile, step: int, phases: int, by_table: int) -> Callable[..., None]:
    """Make the function that copies padded lines of one plane; padding is zeros."""
    dtype, size, lanes = np.dtype(tile.dtype).type, tile.size, tile.lanes

    @part
    def copy_lines(target, plane, first, count, rows, columns, width, before, phase):  # type: ignore[no-untyped-def]
        line_bytes = phases * phase * size
        table = array(rows, (first + count,), np.int64)
        for r in range(count):
            row = table[first + r]
            # A row of zeros is a line of no columns.
            shown = width if row >= 0 else 0
            source = plane + max(row, 0) * width * size
            place = target + r * line_bytes
            if by_table:
                line = array(place, (phases * phase,), dtype)
                pixels = array(source, (width,), dtype)
                which = array(columns, (phases * phase,), np.int64)
                for i in range(phases * phase):
                    line[i] = pixels[which[i]] if which[i] >= 0 and shown > 0 else dtype(0)
            else:
                for x in range(0, phase, lanes):
                    split_columns(
                        tile, step, phases, source, x * step - before, shown, place + x * size,
                        phase * size,
                    )  # fmt: skip

    return copy_lines  # type: ignore[no-any-return]
