"""The kernels of products of batches of matrices; csrc/matmul.h has their twins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv.backends.manifest.products import Matmul, PackMatrix
from fastconv.backends.native import matmul as w
from fastconv.backends.numba.engine import array, inlined, kernel, part
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


@kernel(PackMatrix)
def pack(name: str):  # type: ignore[no-untyped-def]
    """Pack right matrices: a work item is a panel of one of them."""
    size = np.dtype(name).itemsize
    panel = make_panel(name)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        width, depth, columns = args.width, args.depth, args.columns
        panels = (columns + width - 1) // width
        for item in range(first, last):
            entry, number = divmod(item, panels)
            column = number * width
            place = array(args.places + 8 * entry, (1,), np.int64)[0]
            source = args.source + place + column * args.column_step
            target = args.target + item * depth * width * size
            panel(
                source, args.depth_step, args.column_step, depth, columns - column,
                width, target,
            )  # fmt: skip

    return body


@kernel(Matmul)
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
        depth, columns, scale = args.depth, args.columns, args.scale
        for panel in range(first, last):
            for row in range(0, there, rows):
                addresses = tile_strided_within(tile, base + row * step, step, there - row)
                values = tile_zero(tile)
                values = tile_multiply_add(
                    tile, values, addresses, 0, panels_at + panel * depth * width * size, depth
                )
                start = out + row * args.out_row + panel * width * size
                some = columns - panel * width
                store_part(values, start, args.out_row, there - row, some, scratch)
                if scale != 1.0:
                    for r in range(min(rows, there - row)):
                        line = array(start + r * args.out_row, (min(width, some),), real)
                        for c in range(min(width, some)):
                            line[c] *= real(scale)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        depth, columns = args.depth, args.columns
        panels = (columns + width - 1) // width
        panel_bytes = depth * width * size
        item_rows, panel_block = args.item_rows, args.panel_block
        row_block = args.row_block
        row_items = (args.rows + item_rows - 1) // item_rows
        panel_items = (panels + panel_block - 1) // panel_block
        scratch = args.scratch_base + worker * args.scratch_stride
        lines = scratch + (rows * width * size + 63) // 64 * 64
        apart, fresh = args.left_depth != size, args.right_depth != w.PACKED
        own = lines
        if apart:
            own += (row_block * depth * size + 63) // 64 * 64
        before = -1
        for item in range(first, last):
            whole, row_item = divmod(item, row_items)
            entry, panel_item = divmod(whole, panel_items)
            panel_from = panel_item * panel_block
            panel_to = min(panel_from + panel_block, panels)
            left = args.left + array(args.left_places + 8 * entry, (1,), np.int64)[0]
            right = args.right + array(args.right_places + 8 * entry, (1,), np.int64)[0]
            out = args.out + array(args.out_places + 8 * entry, (1,), np.int64)[0]
            panels_at = right
            if fresh:
                panels_at = own - panel_from * panel_bytes
                if whole != before:
                    for panel in range(panel_from, panel_to):
                        panel_of(
                            right + panel * width * args.right_column, args.right_depth,
                            args.right_column, depth, columns - panel * width, width,
                            panels_at + panel * panel_bytes,
                        )  # fmt: skip
            before = whole
            row_end = min((row_item + 1) * item_rows, args.rows)
            for start in range(row_item * item_rows, row_end, row_block):
                there = min(row_block, row_end - start)
                base, step = left + start * args.left_row, args.left_row
                if apart:
                    lines_of(base, step, args.left_depth, there, depth, lines)
                    base, step = lines, depth * size
                block(
                    args, base, step, panels_at, out + start * args.out_row, there, panel_from,
                    panel_to, scratch,
                )  # fmt: skip

    return body
