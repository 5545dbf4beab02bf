"""Depthwise convolution: vector lanes across channels, a tile of outputs in registers.

One group a channel has no sum over channels to feed a GEMM with; each tap multiplies a vector of
channels with a vector of weights.
"""

from __future__ import annotations

import dataclasses
from math import prod

import numpy as np

from fastconv.backends.base import Array, Cost
from fastconv.backends.native.conv.direct import pack_bytes
from fastconv.backends.native.conv.geometry import output_words, padded_size, window_tables
from fastconv.backends.native.conv.pack import pack_input
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
    Gemm,
    pack_bias,
    pack_panels,
    scratch_bytes,
    tile_for,
)
from fastconv.backends.native.plan import scratch_stride
from fastconv.backends.numba import library
from fastconv.backends.numba.conv.common import NumbaConv
from fastconv.backends.numba.engine import SCRATCH, NativePlan, Stage, array, as_float, kernel
from fastconv.backends.numba.gemm import make_finish
from fastconv.backends.numba.simd import (
    Tile,
    tile_addresses,
    tile_multiply_rows,
    tile_zero,
)
from fastconv.machine import Machine
from fastconv.problem import ConvProblem


class Depthwise(NumbaConv):
    """One filter a channel."""

    name = "depthwise"

    def why_not(self, problem: ConvProblem) -> str | None:
        if not 1 < problem.groups == problem.in_channels == problem.out_channels:
            return (
                f"{problem.in_channels} channels to {problem.out_channels} in {problem.groups} "
                f"groups: this kernel is for one group and one filter a channel"
            )
        return super().why_not(problem)

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        tile = _tile(problem, machine)
        waste = -(-problem.in_channels // tile.columns) * tile.columns / problem.in_channels
        # One load a multiply-add: half of the peak at most.
        seconds = 2 * problem.flops * waste / machine.peak_flops(problem.dtype)
        moved = problem.bytes + pack_bytes(problem)
        return Cost(seconds + moved / machine.memory_bandwidth, pack_bytes(problem))

    def plan(self, problem: ConvProblem, *parameters: Array | None) -> NativePlan:
        weight, bias = parameters
        assert weight is not None
        tile = _tile(problem)
        size = tile.size
        packed = pack_input(
            library,
            problem,
            tuple(p[0] for p in problem.padding),
            padded_size(problem),
            mode=problem.padding_mode,
            channel_multiple=tile.columns,
        )
        ungrouped = dataclasses.replace(problem, groups=1)
        rows, taps, _ = window_tables(ungrouped, packed, merge=False)
        matrix = weight.reshape(problem.out_channels, -1).T
        job = Gemm(
            a=packed.slot,
            a_image=packed.image * size,
            a_group=0,
            rows=rows,
            taps=taps,
            depth=1,
            b=pack_panels(matrix, tile),
            bias=pack_bias(bias, 1, problem.out_channels, tile),
            **output_words(ungrouped),
        )
        scratch = scratch_bytes(tile)
        words = job.words(tile, SCRATCH, scratch_stride(scratch))
        row_block = 4 * tile.rows
        words[ROW_BLOCK] = row_block
        panels = -(-problem.out_channels // tile.columns)
        items = problem.batch * -(-prod(problem.output_size) // row_block) * panels
        return self.native_plan(
            problem,
            [*packed.stages, Stage(depthwise(tile), items, words)],
            workspace_bytes=packed.workspace_bytes,
            scratch_bytes=scratch,
        )


def _tile(problem: ConvProblem, machine: Machine | None = None) -> Tile:
    return dataclasses.replace(tile_for(library, problem.dtype, machine), vectors=1)


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
