"""The kernels of global pools: planes reduced one by one, or as many as a vector has lanes."""

from __future__ import annotations

import dataclasses

import numpy as np

from fastconv.backends.manifest.pools import Whole
from fastconv.backends.numba.engine import array, kernel
from fastconv.backends.numba.planar_simd import beside, tile_fill, tile_store_masked
from fastconv.backends.numba.pool.long_sum import make_long_sum
from fastconv.backends.numba.pool.simd import (
    tile_bring_first,
    tile_bring_rows,
    tile_divide,
    tile_row_totals,
    tile_total,
)
from fastconv.backends.numba.simd import Tile


@kernel(Whole)
def whole(tile: Tile, kind: str):  # type: ignore[no-untyped-def]
    """Reduce planes: a work item is one of them."""
    dtype, size, columns = np.dtype(tile.dtype).type, tile.size, tile.columns
    largest = kind == "max"
    neutral, operation = (-np.inf, "max") if largest else (0.0, "sum")
    long_sum = make_long_sum(tile)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        cells = args.cells
        results = array(args.out, (last,), dtype)
        for plane in range(first, last):
            start = args.source + plane * cells * size
            if not largest:
                results[plane] = dtype(long_sum(start, cells) / cells)
                continue
            values = tile_fill(tile, neutral)
            for done in range(0, cells, columns):
                values = tile_bring_first(
                    tile, values, operation, start + done * size, cells - done, neutral
                )
            results[plane] = dtype(tile_total(tile, values, operation))

    return body


@kernel(Whole)
def whole_rows(tile: Tile, kind: str):  # type: ignore[no-untyped-def]
    """Reduce planes: a work item is as many of them as a vector has lanes."""
    size, lanes = tile.size, tile.lanes
    narrow = dataclasses.replace(tile, rows=1)
    largest = kind == "max"
    neutral, operation = (-np.inf, "max") if largest else (0.0, "sum")

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        cells = args.cells
        for item in range(first, last):
            plane = item * lanes
            count = min(lanes, args.planes - plane)
            start = args.source + plane * cells * size
            values = tile_fill(tile, neutral)
            for done in range(0, cells, lanes):
                values = tile_bring_rows(
                    tile, values, operation, start + done * size, cells * size, count - 1,
                    cells - done, neutral,
                )  # fmt: skip
            totals = tile_row_totals(narrow, values, operation)
            if not largest:
                totals = tile_divide(narrow, totals, args.counts, args.counts + size)
            place, counts = args.out + plane * size, beside(narrow, count, 0)
            tile_store_masked(narrow, totals, place, 0, beside(narrow, 0, 0), counts, 1)

    return body
