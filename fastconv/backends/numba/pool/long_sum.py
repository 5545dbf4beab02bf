"""The sum of a long run of cells: its error does not grow with its length."""

from __future__ import annotations

import dataclasses
from typing import Any

from fastconv.backends.native.pool.operations import SUM_CELLS, SUMS
from fastconv.backends.numba.engine import inlined
from fastconv.backends.numba.planar_simd import tile_fill
from fastconv.backends.numba.pool.simd import tile_bring_first, tile_total
from fastconv.backends.numba.simd import Tile


def make_long_sum(tile: Tile) -> Any:
    """Make the function that sums cells in blocks, each in vectors, and the blocks in float64."""
    tile = dataclasses.replace(tile, rows=1, vectors=SUMS)
    size, columns = tile.size, tile.columns
    block = SUM_CELLS * columns

    @inlined
    def long_sum(start, cells):  # type: ignore[no-untyped-def]
        total = 0.0
        for first in range(0, cells, block):
            values = tile_fill(tile, 0.0)
            for done in range(first, min(first + block, cells), columns):
                values = tile_bring_first(
                    tile, values, "sum", start + done * size, cells - done, 0.0
                )
            total += tile_total(tile, values, "sum")
        return total

    return long_sum
