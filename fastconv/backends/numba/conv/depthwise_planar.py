"""Depthwise convolution of NCHW images: vector lanes across pixels, outputs kept in registers.

The words of an argument block, and how work is cut, stand with the plans.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.backends.native.conv.depthwise_planar import (
    BEFORE,
    BEFORE_DOWN,
    BIAS,
    CHANNELS,
    COLUMN_BLOCK,
    COLUMNS,
    HEIGHT,
    HIGH,
    IN_HEIGHT,
    IN_WIDTH,
    LOW,
    MULTIPLIER,
    OFFSETS,
    OUT,
    OUT_BYTES,
    PHASE,
    PLANE_BYTES,
    PLANES,
    RESIDUAL,
    ROW_BLOCK,
    ROWS,
    SCRATCH_BASE,
    SCRATCH_STRIDE,
    SLOPE,
    TAPS_ACROSS,
    TAPS_DOWN,
    WEIGHTS,
    WIDTH,
)
from fastconv.backends.numba.conv.planes import make_copy_lines
from fastconv.backends.numba.engine import array, as_float, inlined, kernel
from fastconv.backends.numba.gemm import make_activate
from fastconv.backends.numba.planar_simd import (
    beside,
    tile_add_masked,
    tile_correlate,
    tile_correlate_edge,
    tile_splat,
    tile_store_at,
    tile_store_masked,
)
from fastconv.backends.numba.simd import Tile


def make_copied(tile: Tile, taps: int, stride: int, dilation: int) -> Callable[..., Any]:
    """Make the function that adds all taps to a tile, from lines that hold all it reads."""
    size = tile.size

    @inlined
    def copied(values, args, base, pitch, weights):  # type: ignore[no-untyped-def]
        down, across = args[TAPS_DOWN], args[TAPS_ACROSS]
        offsets = array(args[OFFSETS], (across,), np.int64)
        for x in range(across):
            place = base + offsets[x] * size
            done = 0
            while done + taps <= down:
                values = tile_correlate(tile, values, taps, stride, dilation, place, pitch, weights)
                place += taps * dilation * pitch
                weights += taps * size
                done += taps
            while done < down:
                values = tile_correlate(tile, values, 1, stride, dilation, place, pitch, weights)
                place += dilation * pitch
                weights += size
                done += 1
        return values

    return copied  # type: ignore[no-any-return]


def make_edge(tile: Tile, taps: int, stride: int, dilation: int) -> Callable[..., Any]:
    """Make the function that adds all taps to a tile at the edge of a plane."""
    size = tile.size

    @inlined
    def edge(values, args, plane, line, column, weights):  # type: ignore[no-untyped-def]
        down, across = args[TAPS_DOWN], args[TAPS_ACROSS]
        offsets = array(args[OFFSETS], (across,), np.int64)
        lines, length = args[IN_HEIGHT], args[IN_WIDTH]
        for x in range(across):
            place, start = line, column + offsets[x]
            done = 0
            while done + taps <= down:
                values = tile_correlate_edge(
                    tile, values, taps, stride, dilation, plane, length * size, weights, place,
                    lines, start, length,
                )  # fmt: skip
                place += taps * dilation
                weights += taps * size
                done += taps
            while done < down:
                values = tile_correlate_edge(
                    tile, values, 1, stride, dilation, plane, length * size, weights, place,
                    lines, start, length,
                )  # fmt: skip
                place += dilation
                weights += size
                done += 1
        return values

    return edge  # type: ignore[no-any-return]


def make_store(tile: Tile) -> Callable[..., None]:
    """Make the function that does the epilogue and stores what of a tile is inside the output."""
    activate = make_activate(tile)
    size, lanes, columns, rows = tile.size, tile.lanes, tile.columns, tile.rows

    @inlined
    def store(args, values, image, row, rows_left, column, columns_left):  # type: ignore[no-untyped-def]
        width = args[WIDTH]
        slope, low, high = as_float(args[SLOPE]), as_float(args[LOW]), as_float(args[HIGH])
        shift = image * args[OUT_BYTES] + (row * width + column) * size
        places = beside(tile, 0, lanes * size)
        counts = beside(tile, columns_left, -lanes)
        line = width * size
        if args[RESIDUAL] != 0:
            values = tile_add_masked(
                tile, values, args[RESIDUAL] + shift, line, places, counts, rows_left
            )
        values = activate(values, slope, low, high)
        if columns_left >= columns and rows_left >= rows:
            tile_store_at(tile, values, args[OUT] + shift, line, places)
        else:
            tile_store_masked(tile, values, args[OUT] + shift, line, places, counts, rows_left)

    return store  # type: ignore[no-any-return]


@kernel
def depthwise_copied(  # type: ignore[no-untyped-def]
    tile: Tile, taps: int, stride: int, dilation: int, step: int, phases: int, by_table: int
):
    """Correlate planes: a work item is a block of rows of one channel of one image."""
    copy_lines = make_copy_lines(tile, step, phases, by_table)
    copied, store = make_copied(tile, taps, stride, dilation), make_store(tile)
    size, columns, rows = tile.size, tile.columns, tile.rows

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        height, width, row_block = args[HEIGHT], args[WIDTH], args[ROW_BLOCK]
        down, across, multiplier = args[TAPS_DOWN], args[TAPS_ACROSS], args[MULTIPLIER]
        blocks = (height + row_block - 1) // row_block
        lines = args[SCRATCH_BASE] + worker * args[SCRATCH_STRIDE]
        pitch = phases * args[PHASE] * size
        column_block = args[COLUMN_BLOCK]
        parts = (width + column_block - 1) // column_block
        before = -1
        for item in range(first, last):
            whole, some = divmod(item, parts)
            plane, block = divmod(whole, blocks)
            begin = some * column_block
            end = min(begin + column_block, width)
            start = block * row_block
            stop = min(start + row_block, height)
            filled = (stop - start + rows - 1) // rows * rows
            reach = (filled - 1) * stride + (down - 1) * dilation + 1
            there = (height - 1 - start) * stride + (down - 1) * dilation + 1
            # Several blocks of columns are summed from one copy.
            if whole != before:
                copy_lines(
                    lines, args[PLANES] + plane * args[PLANE_BYTES], start * stride,
                    min(reach, there), args[ROWS], args[COLUMNS], args[IN_WIDTH], args[BEFORE],
                    args[PHASE],
                )  # fmt: skip
                before = whole
            for m in range(multiplier):
                channel = (plane % args[CHANNELS]) * multiplier + m
                weights = args[WEIGHTS] + channel * down * across * size
                for row in range(start, stop, rows):
                    top = lines + (row - start) * stride * pitch
                    for column in range(begin, end, columns):
                        values = tile_splat(tile, args[BIAS] + channel * size, 0)
                        values = copied(values, args, top + column * size, pitch, weights)
                        store(
                            args, values, plane * multiplier + m, row, stop - row, column,
                            width - column,
                        )  # fmt: skip

    return body


@kernel
def depthwise_inside(tile: Tile, taps: int, stride: int, dilation: int):  # type: ignore[no-untyped-def]
    """Correlate planes as they lie, with masked loads at their edges; the items are the same."""
    copied, edge = (
        make_copied(tile, taps, stride, dilation),
        make_edge(tile, taps, stride, dilation),
    )
    store = make_store(tile)
    size, columns, rows = tile.size, tile.columns, tile.rows

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        height, width, row_block = args[HEIGHT], args[WIDTH], args[ROW_BLOCK]
        down, across, multiplier = args[TAPS_DOWN], args[TAPS_ACROSS], args[MULTIPLIER]
        in_height, in_width = args[IN_HEIGHT], args[IN_WIDTH]
        offsets = array(args[OFFSETS], (across,), np.int64)
        blocks = (height + row_block - 1) // row_block
        tall = (rows - 1) * stride + (down - 1) * dilation + 1
        wide = columns + offsets[across - 1]
        column_block = args[COLUMN_BLOCK]
        parts = (width + column_block - 1) // column_block
        for item in range(first, last):
            whole, some = divmod(item, parts)
            plane, block = divmod(whole, blocks)
            begin = some * column_block
            end = min(begin + column_block, width)
            start = block * row_block
            stop = min(start + row_block, height)
            source = args[PLANES] + plane * args[PLANE_BYTES]
            for m in range(multiplier):
                channel = (plane % args[CHANNELS]) * multiplier + m
                weights = args[WEIGHTS] + channel * down * across * size
                for row in range(start, stop, rows):
                    line = row * stride - args[BEFORE_DOWN]
                    within = line >= 0 and line + tall <= in_height
                    for column in range(begin, end, columns):
                        left = column - args[BEFORE]
                        values = tile_splat(tile, args[BIAS] + channel * size, 0)
                        if within and left >= 0 and left + wide <= in_width:
                            base = source + (line * in_width + left) * size
                            values = copied(values, args, base, in_width * size, weights)
                        else:
                            values = edge(values, args, source, line, left, weights)
                        store(
                            args, values, plane * multiplier + m, row, stop - row, column,
                            width - column,
                        )  # fmt: skip

    return body
