"""im2col: windows are copied out block by block, then multiplied as one long sum."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.products import Im2col
from fastconv.backends.native.gemm import scratch_bytes
from fastconv.backends.numba.engine import array, kernel
from fastconv.backends.numba.gemm import make_block
from fastconv.backends.numba.simd import Tile


@kernel(Im2col)
def im2col_gemm(tile: Tile):  # type: ignore[no-untyped-def]
    """Copy a block of windows and multiply it: a work item is a block of rows and panels.

    A worker that does several blocks of panels of the same rows copies their windows once.
    """
    block = make_block(tile)
    dtype = np.dtype(tile.dtype).type
    size, columns = tile.size, tile.columns
    corner = scratch_bytes(tile)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        row_count, row_block, length = args.row_count, args.row_block, args.depth
        panels = (args.column_count + columns - 1) // columns
        row_blocks = (row_count + row_block - 1) // row_block
        count, depth = args.source_count, args.source_depth
        rows = array(args.source_rows, (row_count,), np.int64)
        taps = array(args.source_taps, (count,), np.int64)
        scratch = args.scratch_base + worker * args.scratch_stride
        lowered = array(scratch + corner, (row_block, length), dtype)
        panel_block = args.panel_block
        panel_blocks = (panels + panel_block - 1) // panel_block
        before = -1
        for item in range(first, last):
            whole, p = divmod(item, panel_blocks)
            rest, r = divmod(whole, row_blocks)
            image, group = divmod(rest, args.groups)
            source = args.a + image * args.source_image + group * args.source_group
            start = r * row_block
            stop = min(start + row_block, row_count)
            for row in range(start, stop if whole != before else start):
                for t in range(count):
                    window = array(source + rows[row] + taps[t], (depth,), dtype)
                    for k in range(depth):
                        lowered[row - start, t * depth + k] = window[k]
            before = whole
            shift = image * args.out_image + group * args.out_group
            residual = args.residual
            if residual != 0:
                residual += shift
            block(
                args,
                scratch + corner - start * length * size,
                args.b + group * panels * length * columns * size,
                args.bias + group * panels * columns * size,
                args.out + shift,
                residual,
                start,
                stop,
                p * panel_block,
                min((p + 1) * panel_block, panels),
                scratch,
            )

    return body
