"""The kernels of products of batches of matrices; csrc/matmul.h has their twins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv.backends.native import matmul as w
from fastconv.backends.numba.engine import array, as_float, inlined, kernel, part
from fastconv.backends.numba.simd import (
    Tile,
    tile_multiply_add,
    tile_store,
    tile_strided,
    tile_strided_within,
    tile_zero,
)


def make_panel(name: str) -> Callable[..., None]:
    """Make the function that packs one panel of a right matrix, zeros after its last column."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    @part
    def panel(source, depth_step, column_step, depth, there, width, target):  # type: ignore[no-untyped-def]
        some = min(there, width)
        packed = array(target, (depth, width), real)
        for k in range(depth):
            line = source + k * depth_step
            if column_step == size:
                row = array(line, (some,), real)
                for j in range(some):
                    packed[k, j] = row[j]
            else:
                for j in range(some):
                    packed[k, j] = array(line + j * column_step, (1,), real)[0]
            for j in range(some, width):
                packed[k, j] = 0

    return panel  # type: ignore[no-any-return]


def make_store_part(tile: Tile) -> Callable[..., None]:
    """Make the function that stores the rows and columns of a tile that exist."""
    real, rows, columns, size = np.dtype(tile.dtype).type, tile.rows, tile.columns, tile.size

    @inlined
    def store_part(values, start, pitch, there, some, scratch):  # type: ignore[no-untyped-def]
        if there >= rows and some >= columns:
            tile_store(tile, values, tile_strided(tile, start, pitch))
        else:
            tile_store(tile, values, tile_strided(tile, scratch, columns * size))
            buffer = array(scratch, (rows, columns), real)
            for r in range(min(rows, there)):
                line = array(start + r * pitch, (min(columns, some),), real)
                for c in range(min(columns, some)):
                    line[c] = buffer[r, c]

    return store_part  # type: ignore[no-any-return]


@kernel
def pack(name: str):  # type: ignore[no-untyped-def]
    """Pack right matrices: a work item is a panel of one of them."""
    size = np.dtype(name).itemsize
    panel = make_panel(name)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        width, depth, columns = args[w.PACK_WIDTH], args[w.PACK_DEPTH], args[w.PACK_COLUMNS]
        panels = (columns + width - 1) // width
        for item in range(first, last):
            entry, number = divmod(item, panels)
            column = number * width
            place = array(args[w.PACK_PLACES] + 8 * entry, (1,), np.int64)[0]
            source = args[w.PACK_SOURCE] + place + column * args[w.PACK_COLUMN_STEP]
            target = args[w.PACK_TARGET] + item * depth * width * size
            panel(
                source, args[w.PACK_DEPTH_STEP], args[w.PACK_COLUMN_STEP], depth, columns - column,
                width, target,
            )  # fmt: skip

    return body


@kernel
def matmul(tile: Tile):  # type: ignore[no-untyped-def]
    """Multiply: a work item is some rows of an entry times a block of panels."""
    real, rows, width, size = np.dtype(tile.dtype).type, tile.rows, tile.columns, tile.size
    panel_of, store_part = make_panel(tile.dtype), make_store_part(tile)

    @part
    def lines_of(source, row_step, depth_step, there, depth, target):  # type: ignore[no-untyped-def]
        packed = array(target, (there, depth), real)
        for k in range(depth):
            for r in range(there):
                packed[r, k] = array(source + r * row_step + k * depth_step, (1,), real)[0]

    @part
    def block(args, base, step, panels_at, out, there, first, last, scratch):  # type: ignore[no-untyped-def]
        depth, columns, scale = args[w.DEPTH], args[w.COLUMNS], as_float(args[w.SCALE])
        for panel in range(first, last):
            for row in range(0, there, rows):
                addresses = tile_strided_within(tile, base + row * step, step, there - row)
                values = tile_zero(tile)
                values = tile_multiply_add(
                    tile, values, addresses, 0, panels_at + panel * depth * width * size, depth
                )
                start = out + row * args[w.OUT_ROW] + panel * width * size
                some = columns - panel * width
                store_part(values, start, args[w.OUT_ROW], there - row, some, scratch)
                if scale != 1.0:
                    for r in range(min(rows, there - row)):
                        line = array(start + r * args[w.OUT_ROW], (min(width, some),), real)
                        for c in range(min(width, some)):
                            line[c] *= real(scale)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        depth, columns = args[w.DEPTH], args[w.COLUMNS]
        panels = (columns + width - 1) // width
        panel_bytes = depth * width * size
        item_rows, panel_block = args[w.ITEM_ROWS], args[w.PANEL_BLOCK]
        row_block = args[w.ROW_BLOCK]
        row_items = (args[w.ROWS] + item_rows - 1) // item_rows
        panel_items = (panels + panel_block - 1) // panel_block
        scratch = args[w.SCRATCH_BASE] + worker * args[w.SCRATCH_STRIDE]
        lines = scratch + (rows * width * size + 63) // 64 * 64
        apart, fresh = args[w.LEFT_DEPTH] != size, args[w.RIGHT_DEPTH] != w.PACKED
        own = lines
        if apart:
            own += (row_block * depth * size + 63) // 64 * 64
        before = -1
        for item in range(first, last):
            whole, row_item = divmod(item, row_items)
            entry, panel_item = divmod(whole, panel_items)
            panel_from = panel_item * panel_block
            panel_to = min(panel_from + panel_block, panels)
            left = args[w.LEFT] + array(args[w.LEFT_PLACES] + 8 * entry, (1,), np.int64)[0]
            right = args[w.RIGHT] + array(args[w.RIGHT_PLACES] + 8 * entry, (1,), np.int64)[0]
            out = args[w.OUT] + array(args[w.OUT_PLACES] + 8 * entry, (1,), np.int64)[0]
            panels_at = right
            if fresh:
                panels_at = own - panel_from * panel_bytes
                if whole != before:
                    for panel in range(panel_from, panel_to):
                        panel_of(
                            right + panel * width * args[w.RIGHT_COLUMN], args[w.RIGHT_DEPTH],
                            args[w.RIGHT_COLUMN], depth, columns - panel * width, width,
                            panels_at + panel * panel_bytes,
                        )  # fmt: skip
            before = whole
            row_end = min((row_item + 1) * item_rows, args[w.ROWS])
            for start in range(row_item * item_rows, row_end, row_block):
                there = min(row_block, row_end - start)
                base, step = left + start * args[w.LEFT_ROW], args[w.LEFT_ROW]
                if apart:
                    lines_of(base, step, args[w.LEFT_DEPTH], there, depth, lines)
                    base, step = lines, depth * size
                block(
                    args, base, step, panels_at, out + start * args[w.OUT_ROW], there, panel_from,
                    panel_to, scratch,
                )  # fmt: skip

    return body
