"""Depthwise convolution: vector lanes across channels, a tile of outputs in registers.

The words of an argument block stand with the GEMM's, and how work is cut with the plans.
"""

from __future__ import annotations

import numpy as np

from fastconv.backends.native.gemm import (
    A_IMAGE,
    BIAS,
    COLUMN_COUNT,
    OUT,
    OUT_COLUMN,
    OUT_IMAGE,
    OUT_ROWS,
    RESIDUAL,
    ROW_BLOCK,
    ROW_COUNT,
    ROWS,
    SCRATCH_BASE,
    SCRATCH_STRIDE,
    SLOPE,
    TAP_COUNT,
    TAPS,
    A,
    B,
)
from fastconv.backends.numba.engine import array, as_float, kernel
from fastconv.backends.numba.gemm import make_finish
from fastconv.backends.numba.simd import (
    Tile,
    tile_addresses,
    tile_multiply_rows,
    tile_zero,
)


@kernel
def depthwise(tile: Tile):  # type: ignore[no-untyped-def]
    """Sum taps: a work item is a block of outputs of one vector of channels of one image."""
    finish = make_finish(tile)
    size, columns, rows = tile.size, tile.columns, tile.rows

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        count, row_count, row_block = args[TAP_COUNT], args[ROW_COUNT], args[ROW_BLOCK]
        taps = array(args[TAPS], (count,), np.int64)
        panels = (args[COLUMN_COUNT] + columns - 1) // columns
        row_blocks = (row_count + row_block - 1) // row_block
        scratch = args[SCRATCH_BASE] + worker * args[SCRATCH_STRIDE]
        slope, low, high = (
            as_float(args[SLOPE]),
            as_float(args[SLOPE + 1]),
            as_float(args[SLOPE + 2]),
        )
        for item in range(first, last):
            rest, panel = divmod(item, panels)
            image, r = divmod(rest, row_blocks)
            source = args[A] + image * args[A_IMAGE] + panel * columns * size
            weights = args[B] + panel * count * columns * size
            shift = image * args[OUT_IMAGE]
            residual = args[RESIDUAL]
            if residual != 0:
                residual += shift
            for row in range(r * row_block, min((r + 1) * row_block, row_count), rows):
                values = tile_zero(tile)
                addresses = tile_addresses(tile, source, args[ROWS], row, row_count)
                for t in range(count):
                    values = tile_multiply_rows(
                        tile, values, addresses, taps[t], weights + t * columns * size
                    )
                finish(
                    values, args[BIAS] + panel * columns * size, args[OUT] + shift, residual,
                    args[OUT_ROWS], args[OUT_COLUMN], row, row_count, panel * columns,
                    args[COLUMN_COUNT], slope, low, high, scratch,
                )  # fmt: skip

    return body
