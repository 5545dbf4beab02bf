"""Depthwise convolution of NCHW images: vector lanes across pixels, outputs kept in registers.

The words of an argument block, and how work is cut, are defined with the plans.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.backends.manifest.convolutions import DepthwisePlanar
from fastconv.backends.numba.conv.planes import make_copy_lines
from fastconv.backends.numba.engine import array, inlined, kernel
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
        down, across = args.taps_down, args.taps_across
        offsets = array(args.offsets, (across,), np.int64)
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
        down, across = args.taps_down, args.taps_across
        offsets = array(args.offsets, (across,), np.int64)
        lines, length = args.in_height, args.line_width
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
        width = args.width
        slope, low, high = args.slope, args.low, args.high
        shift = image * args.out_bytes + (row * width + column) * size
        places = beside(tile, 0, lanes * size)
        counts = beside(tile, columns_left, -lanes)
        line = width * size
        if args.residual != 0:
            values = tile_add_masked(
                tile, values, args.residual + shift, line, places, counts, rows_left
            )
        values = activate(values, slope, low, high)
        if columns_left >= columns and rows_left >= rows:
            tile_store_at(tile, values, args.out + shift, line, places)
        else:
            tile_store_masked(tile, values, args.out + shift, line, places, counts, rows_left)

    return store  # type: ignore[no-any-return]


@kernel(DepthwisePlanar)
def depthwise_copied(  # type: ignore[no-untyped-def]
    tile: Tile, taps: int, stride: int, dilation: int, step: int, phases: int, by_table: int
):
    """Correlate planes: a work item is a block of rows of one channel of one image."""
    copy_lines = make_copy_lines(tile, step, phases, by_table)
    copied, store = make_copied(tile, taps, stride, dilation), make_store(tile)
    size, columns, rows = tile.size, tile.columns, tile.rows

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        height, width, row_block = args.height, args.width, args.row_block
        down, across, multiplier = args.taps_down, args.taps_across, args.multiplier
        blocks = (height + row_block - 1) // row_block
        lines = args.scratch_base + worker * args.scratch_stride
        pitch = phases * args.line_phase * size
        column_block = args.column_block
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
                    lines, args.planes + plane * args.plane_bytes, start * stride,
                    min(reach, there), args.line_rows, args.line_columns, args.line_width,
                    args.line_before, args.line_phase,
                )  # fmt: skip
                before = whole
            for m in range(multiplier):
                channel = (plane % args.channels) * multiplier + m
                weights = args.weights + channel * down * across * size
                for row in range(start, stop, rows):
                    top = lines + (row - start) * stride * pitch
                    for column in range(begin, end, columns):
                        values = tile_splat(tile, args.bias + channel * size, 0)
                        values = copied(values, args, top + column * size, pitch, weights)
                        store(
                            args, values, plane * multiplier + m, row, stop - row, column,
                            width - column,
                        )  # fmt: skip

    return body


@kernel(DepthwisePlanar)
def depthwise_inside(tile: Tile, taps: int, stride: int, dilation: int):  # type: ignore[no-untyped-def]
    """Correlate planes as stored, with masked loads at their edges; the items are the same."""
    copied, edge = (
        make_copied(tile, taps, stride, dilation),
        make_edge(tile, taps, stride, dilation),
    )
    store = make_store(tile)
    size, columns, rows = tile.size, tile.columns, tile.rows

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        height, width, row_block = args.height, args.width, args.row_block
        down, across, multiplier = args.taps_down, args.taps_across, args.multiplier
        in_height, in_width = args.in_height, args.line_width
        offsets = array(args.offsets, (across,), np.int64)
        blocks = (height + row_block - 1) // row_block
        tall = (rows - 1) * stride + (down - 1) * dilation + 1
        wide = columns + offsets[across - 1]
        column_block = args.column_block
        parts = (width + column_block - 1) // column_block
        for item in range(first, last):
            whole, some = divmod(item, parts)
            plane, block = divmod(whole, blocks)
            begin = some * column_block
            end = min(begin + column_block, width)
            start = block * row_block
            stop = min(start + row_block, height)
            source = args.planes + plane * args.plane_bytes
            for m in range(multiplier):
                channel = (plane % args.channels) * multiplier + m
                weights = args.weights + channel * down * across * size
                for row in range(start, stop, rows):
                    line = row * stride - args.before_down
                    within = line >= 0 and line + tall <= in_height
                    for column in range(begin, end, columns):
                        left = column - args.line_before
                        values = tile_splat(tile, args.bias + channel * size, 0)
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
