"""Depthwise convolution of NCHW images: vector lanes across pixels, outputs kept in registers.

A tile of output rows slides down a column of weights, so that each line of the input is loaded
once for all the rows and taps that it serves. Channel multipliers are filters of one plane.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.backends.base import Array, Cost
from fastconv.backends.native.conv import common as native
from fastconv.backends.native.conv.planes import Planes, row_block, row_tile
from fastconv.backends.native.gemm import clamp_words, flush, fused
from fastconv.backends.native.plan import scratch_stride
from fastconv.backends.numba.conv.common import NumbaConv
from fastconv.backends.numba.conv.planes import make_copy_lines
from fastconv.backends.numba.engine import (
    INPUT,
    OUTPUT,
    SCRATCH,
    NativePlan,
    Stage,
    array,
    as_float,
    constant,
    inlined,
    kernel,
)
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
from fastconv.machine import Machine, get_machine
from fastconv.problem import ConvProblem

# Vertical taps whose weights are held in registers together.
COLUMN_TAPS = 7

# Taps up to which what surrounds their multiply-adds is felt.
FEW_TAPS = 25

(PLANES, PLANE_BYTES, WEIGHTS, BIAS, OUT, OUT_BYTES, RESIDUAL, SLOPE, LOW, HIGH, HEIGHT, WIDTH,
 ROW_BLOCK, MULTIPLIER, CHANNELS, TAPS_DOWN, TAPS_ACROSS, OFFSETS, ROWS, COLUMNS, IN_WIDTH, BEFORE,
 PHASE, STEP, PHASES, BY_TABLE, IN_HEIGHT, BEFORE_DOWN, SCRATCH_BASE,
 SCRATCH_STRIDE) = range(30)  # fmt: skip


class PlaneByPlane(NumbaConv, native.PlaneByPlane):
    """What filters planes one by one, whose plans have not moved."""


class DepthwisePlanar(PlaneByPlane):
    """Every tap of every output, in registers."""

    name = "depthwise_planar"

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        planes = Planes(problem, machine.lanes(problem.dtype))
        tile = row_tile(self.library, planes, machine)
        rows = -(-planes.height // tile.rows) * tile.rows
        columns = -(-planes.width // tile.columns) * tile.columns
        taps = planes.down[0] * planes.across[0]
        outputs = problem.batch * problem.out_channels * rows * columns
        lines = problem.batch * problem.in_channels * planes.lines(planes.height) * planes.line
        # A line is loaded once for all rows and taps that see it, which takes two multiply-adds.
        down, step, _ = planes.down
        loads = 2 * ((tile.rows - 1) * step + down) / (tile.rows * down)
        steps = max(1.1 * taps + 0.4 * min(taps, FEW_TAPS), loads * taps)
        flops = 2 * outputs * (steps + 4) + 6 * lines
        seconds = flops / machine.peak_flops(problem.dtype)
        return Cost(max(seconds, problem.bytes / machine.memory_bandwidth / 2))

    def plan(self, problem: ConvProblem, *parameters: Array | None) -> NativePlan:
        weight, bias = parameters
        assert weight is not None
        planes = Planes(problem, get_machine().lanes(problem.dtype))
        tile = row_tile(self.library, planes, get_machine())
        down, across = planes.down, planes.across
        block = row_block(planes, tile)
        size = problem.dtype.itemsize
        scratch = (planes.lines(block) * planes.line + tile.columns + tile.lanes) * size
        height, width = planes.height, planes.width
        plane = problem.input_size[-1] * (problem.input_size[0] if problem.n == 2 else 1) * size
        filters = flush(weight.reshape(-1, down[0], across[0]).transpose(0, 2, 1).copy())
        biases = np.zeros(problem.out_channels, problem.dtype) if bias is None else bias
        activation = problem.activation if fused(problem.activation) else None
        words = [
            INPUT(0), plane, constant(filters), constant(biases), OUTPUT, height * width * size,
            INPUT(1) if problem.residual else 0, *clamp_words(activation), height, width, block,
            problem.out_channels // problem.groups, problem.in_channels, down[0], across[0],
            constant(planes.offsets() * size, np.int64), *planes.words(),
            *planes.edge_words(), SCRATCH,
            scratch_stride(scratch),
        ]  # fmt: skip
        taps = down[0] if down[0] <= COLUMN_TAPS else 4
        apart = down[2] if taps > 1 else 1
        if planes.inside:
            address = depthwise_inside(tile, taps, down[1], apart)
            scratch = 0
        else:
            address = depthwise_copied(tile, taps, down[1], apart, *planes.constants())
        items = problem.batch * problem.in_channels * -(-height // block)
        return self.native_plan(
            problem, [Stage(address, items, words)], workspace_bytes=0, scratch_bytes=scratch
        )


def make_copied(tile: Tile, taps: int, stride: int, dilation: int) -> Callable[..., Any]:
    """Make the function that adds all taps to a tile, from lines that hold all it reads."""
    size = tile.size

    @inlined
    def copied(values, args, base, pitch, weights):  # type: ignore[no-untyped-def]
        down, across = args[TAPS_DOWN], args[TAPS_ACROSS]
        offsets = array(args[OFFSETS], (across,), np.int64)
        for x in range(across):
            place = base + offsets[x]
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
            place, start = line, column + offsets[x] // size
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
        for item in range(first, last):
            plane, block = divmod(item, blocks)
            start = block * row_block
            stop = min(start + row_block, height)
            filled = (stop - start + rows - 1) // rows * rows
            reach = (filled - 1) * stride + (down - 1) * dilation + 1
            there = (height - 1 - start) * stride + (down - 1) * dilation + 1
            copy_lines(
                lines, args[PLANES] + plane * args[PLANE_BYTES], start * stride,
                min(reach, there), args[ROWS], args[COLUMNS], args[IN_WIDTH], args[BEFORE],
                args[PHASE],
            )  # fmt: skip
            for m in range(multiplier):
                channel = (plane % args[CHANNELS]) * multiplier + m
                weights = args[WEIGHTS] + channel * down * across * size
                for row in range(start, stop, rows):
                    top = lines + (row - start) * stride * pitch
                    for column in range(0, width, columns):
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
        wide = columns + offsets[across - 1] // size
        for item in range(first, last):
            plane, block = divmod(item, blocks)
            start = block * row_block
            stop = min(start + row_block, height)
            source = args[PLANES] + plane * args[PLANE_BYTES]
            for m in range(multiplier):
                channel = (plane % args[CHANNELS]) * multiplier + m
                weights = args[WEIGHTS] + channel * down * across * size
                for row in range(start, stop, rows):
                    line = row * stride - args[BEFORE_DOWN]
                    within = line >= 0 and line + tall <= in_height
                    for column in range(0, width, columns):
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
