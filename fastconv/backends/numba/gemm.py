"""The one GEMM: register tiles over rows that tables of offsets find, columns packed in panels.

What it multiplies, and the words of its argument block, are defined with the plans.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.backends.manifest.products import Gemm
from fastconv.backends.numba.engine import array, inlined, kernel, part
from fastconv.backends.numba.simd import (
    Tile,
    tile_add,
    tile_add_row,
    tile_addresses,
    tile_bound,
    tile_hardswish,
    tile_multiply_add,
    tile_scale_negative,
    tile_store,
    tile_strided,
    tile_zero,
)
from fastconv.backends.numba.transpose import tile_add_columns, tile_store_columns


def make_activate(tile: Tile) -> Callable[..., Any]:
    """Make the function that does the activations of `clamp`: nothing, if none is asked.

    Integers have none: what carries them does theirs after the last stage.
    """
    if tile.dtype == "int64":
        return part(lambda values, slope, low, high: values)  # type: ignore[no-any-return]

    @inlined
    def activate(values, slope, low, high):  # type: ignore[no-untyped-def]
        if low == np.inf and high < np.inf:
            return tile_hardswish(tile, values, slope, high)
        if slope != 1.0:
            values = tile_scale_negative(tile, values, slope)
        if low != -np.inf or high != np.inf:
            values = tile_bound(tile, values, low, high)
        return values

    return activate  # type: ignore[no-any-return]


def make_finish(tile: Tile) -> Callable[..., None]:
    """Make the function that does a tile's epilogue and stores what of it is inside the output."""
    dtype = np.dtype(tile.dtype).type
    size, rows, columns = tile.size, tile.rows, tile.columns
    wide = columns * size
    by_columns = 1 < rows <= tile.lanes
    activate = make_activate(tile)

    @inlined
    def finish(  # type: ignore[no-untyped-def]
        values, bias, out, residual, out_rows, out_column, row, row_count, column, column_count,
        slope, low, high, scratch,
    ):  # fmt: skip
        values = tile_add_row(tile, values, bias)
        shift = column * out_column
        valid_rows = min(rows, row_count - row)
        valid_columns = min(columns, column_count - column)
        if out_column == size and valid_rows == rows and valid_columns == columns:
            if residual != 0:
                places = tile_addresses(tile, residual + shift, out_rows, row, row_count)
                values = tile_add(tile, values, places)
            values = activate(values, slope, low, high)
            places = tile_addresses(tile, out + shift, out_rows, row, row_count)
            tile_store(tile, values, places)
            return
        table = array(out_rows, (row_count,), np.int64)
        spread = table[row + valid_rows - 1] - table[row]
        together = spread == (valid_rows - 1) * size
        if by_columns and together:
            start = table[row] + shift
            if residual != 0:
                values = tile_add_columns(
                    tile, values, residual + start, out_column, valid_rows, valid_columns
                )
            values = activate(values, slope, low, high)
            tile_store_columns(tile, values, out + start, out_column, valid_rows, valid_columns)
            return
        buffer = array(scratch, (rows, columns), dtype)
        places = tile_strided(tile, scratch, wide)
        if residual != 0:
            buffer[:, :] = 0
            for r in range(valid_rows):
                base = residual + table[row + r] + shift
                for c in range(valid_columns):
                    buffer[r, c] = array(base + c * out_column, (1,), dtype)[0]
            values = tile_add(tile, values, places)
        values = activate(values, slope, low, high)
        tile_store(tile, values, places)
        for c in range(valid_columns):
            base = out + shift + c * out_column
            for r in range(valid_rows):
                array(base + table[row + r], (1,), dtype)[0] = buffer[r, c]

    return finish  # type: ignore[no-any-return]


def make_block(tile: Tile) -> Callable[..., None]:
    """Make the function that multiplies a block of rows with a block of panels."""
    size, columns, rows = tile.size, tile.columns, tile.rows
    finish = make_finish(tile)

    @part
    def block(  # type: ignore[no-untyped-def]
        args, a, b, bias, out, residual, first_row, last_row, first_panel, last_panel, scratch
    ):
        tap_count, depth, row_count = args.tap_count, args.depth, args.row_count
        taps = array(args.taps, (tap_count,), np.int64)
        step = depth * columns * size
        slope, low, high = args.slope, args.low, args.high
        for panel in range(first_panel, last_panel):
            for row in range(first_row, last_row, rows):
                values = tile_zero(tile)
                addresses = tile_addresses(tile, a, args.rows, row, row_count)
                weights = b + panel * tap_count * step
                for t in range(tap_count):
                    values = tile_multiply_add(tile, values, addresses, taps[t], weights, depth)
                    weights += step
                finish(
                    values, bias + panel * columns * size, out, residual, args.out_rows,
                    args.out_column, row, row_count, panel * columns, args.column_count,
                    slope, low, high, scratch,
                )  # fmt: skip

    return block  # type: ignore[no-any-return]


@kernel(Gemm)
def gemm(tile: Tile):  # type: ignore[no-untyped-def]
    """Multiply: a work item is a block of rows and panels of one group of one image."""
    block = make_block(tile)
    size, columns = tile.size, tile.columns

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        panels = (args.column_count + columns - 1) // columns
        row_block, panel_block = args.row_block, args.panel_block
        row_blocks = (args.row_count + row_block - 1) // row_block
        panel_blocks = (panels + panel_block - 1) // panel_block
        scratch = args.scratch_base + worker * args.scratch_stride
        panel_bytes = args.tap_count * args.depth * columns * size
        for item in range(first, last):
            rest, p = divmod(item, panel_blocks)
            rest, r = divmod(rest, row_blocks)
            image, group = divmod(rest, args.groups)
            shift = image * args.out_image + group * args.out_group
            residual = args.residual
            if residual != 0:
                residual += shift
            block(
                args,
                args.a + image * args.a_image + group * args.a_group,
                args.b + group * panels * panel_bytes,
                args.bias + group * panels * columns * size,
                args.out + shift,
                residual,
                r * row_block,
                min((r + 1) * row_block, args.row_count),
                p * panel_block,
                min((p + 1) * panel_block, panels),
                scratch,
            )

    return body
