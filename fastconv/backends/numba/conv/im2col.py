"""im2col: windows are copied out block by block, then multiplied as one long sum."""

from __future__ import annotations

import numpy as np

from fastconv.backends.native.conv.im2col import (
    SOURCE_COUNT,
    SOURCE_DEPTH,
    SOURCE_GROUP,
    SOURCE_IMAGE,
    SOURCE_ROWS,
    SOURCE_TAPS,
)
from fastconv.backends.native.gemm import (
    BIAS,
    COLUMN_COUNT,
    DEPTH,
    GROUPS,
    OUT,
    OUT_GROUP,
    OUT_IMAGE,
    PANEL_BLOCK,
    RESIDUAL,
    ROW_BLOCK,
    ROW_COUNT,
    SCRATCH_BASE,
    SCRATCH_STRIDE,
    A,
    B,
    scratch_bytes,
)
from fastconv.backends.numba.engine import array, kernel
from fastconv.backends.numba.gemm import make_block
from fastconv.backends.numba.simd import Tile


@kernel
def im2col_gemm(tile: Tile):  # type: ignore[no-untyped-def]
    """Copy a block of windows and multiply it: a work item is a block of rows and panels.

    A worker that does several blocks of panels of the same rows copies their windows once.
    """
    block = make_block(tile)
    dtype = np.dtype(tile.dtype).type
    size, columns = tile.size, tile.columns
    corner = scratch_bytes(tile)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        row_count, row_block, length = args[ROW_COUNT], args[ROW_BLOCK], args[DEPTH]
        panels = (args[COLUMN_COUNT] + columns - 1) // columns
        row_blocks = (row_count + row_block - 1) // row_block
        count, depth = args[SOURCE_COUNT], args[SOURCE_DEPTH]
        rows = array(args[SOURCE_ROWS], (row_count,), np.int64)
        taps = array(args[SOURCE_TAPS], (count,), np.int64)
        scratch = args[SCRATCH_BASE] + worker * args[SCRATCH_STRIDE]
        lowered = array(scratch + corner, (row_block, length), dtype)
        panel_block = args[PANEL_BLOCK]
        panel_blocks = (panels + panel_block - 1) // panel_block
        before = -1
        for item in range(first, last):
            whole, p = divmod(item, panel_blocks)
            rest, r = divmod(whole, row_blocks)
            image, group = divmod(rest, args[GROUPS])
            source = args[A] + image * args[SOURCE_IMAGE] + group * args[SOURCE_GROUP]
            start = r * row_block
            stop = min(start + row_block, row_count)
            for row in range(start, stop if whole != before else start):
                for t in range(count):
                    window = array(source + rows[row] + taps[t], (depth,), dtype)
                    for k in range(depth):
                        lowered[row - start, t * depth + k] = window[k]
            before = whole
            shift = image * args[OUT_IMAGE] + group * args[OUT_GROUP]
            residual = args[RESIDUAL]
            if residual != 0:
                residual += shift
            block(
                args,
                scratch + corner - start * length * size,
                args[B] + group * panels * length * columns * size,
                args[BIAS] + group * panels * columns * size,
                args[OUT] + shift,
                residual,
                start,
                stop,
                p * panel_block,
                min((p + 1) * panel_block, panels),
                scratch,
            )

    return body
