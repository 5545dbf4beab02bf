"""im2col: windows are copied out block by block, then multiplied as one long sum.

Worth its copies where taps are many and short: grouped and dilated convolutions of few channels.
The lowered matrix never exists as a whole: a worker keeps one block of rows.
(Chellapilla, Puri and Simard, 2006.)
"""

from __future__ import annotations

import dataclasses
from math import prod

import numpy as np

from fastconv.backends.base import Array, Cost
from fastconv.backends.native.plan import scratch_stride
from fastconv.backends.numba.conv.common import NumbaConv, conv_tile, register_tiles
from fastconv.backends.numba.conv.direct import TURN_OPERATIONS, pack_bytes
from fastconv.backends.numba.conv.geometry import conv_gemm, padded_size, weight_matrix
from fastconv.backends.numba.conv.pack import pack_input
from fastconv.backends.numba.engine import SCRATCH, NativePlan, Stage, array, constant, kernel
from fastconv.backends.numba.gemm import (
    BIAS,
    COLUMN_COUNT,
    DEPTH,
    GROUPS,
    OUT,
    OUT_GROUP,
    OUT_IMAGE,
    RESIDUAL,
    ROW_BLOCK,
    ROW_COUNT,
    SCRATCH_BASE,
    SCRATCH_STRIDE,
    A,
    B,
    make_block,
    pack_bias,
    pack_panels,
    scratch_bytes,
)
from fastconv.backends.numba.simd import Tile
from fastconv.machine import Machine
from fastconv.problem import ConvProblem

# Words after the GEMM's: where the windows lie.
SOURCE_IMAGE, SOURCE_GROUP, SOURCE_ROWS, SOURCE_TAPS, SOURCE_COUNT, SOURCE_DEPTH = range(25, 31)


class Im2col(NumbaConv):
    """GEMM over windows copied to contiguous rows."""

    name = "im2col"

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        tile = conv_tile(problem, machine)
        flops = 2 * register_tiles(problem, tile) * tile.rows * tile.columns * problem.sum_length
        windows = problem.batch * prod(problem.output_size) * problem.groups
        lowered = windows * problem.sum_length * problem.dtype.itemsize
        if not problem.channels_last:
            flops += TURN_OPERATIONS * prod(problem.output_shape)
        moved = problem.bytes + pack_bytes(problem) + 2 * lowered
        seconds = flops / machine.peak_flops(problem.dtype) + moved / machine.memory_bandwidth
        return Cost(seconds, pack_bytes(problem))

    def plan(self, problem: ConvProblem, *parameters: Array | None) -> NativePlan:
        weight, bias = parameters
        assert weight is not None
        tile = conv_tile(problem)
        size = problem.dtype.itemsize
        before = tuple(p[0] for p in problem.padding)
        packed = pack_input(problem, before, padded_size(problem), mode=problem.padding_mode)
        columns = problem.out_channels // problem.groups
        windows = conv_gemm(
            problem,
            packed,
            pack_panels(weight_matrix(weight, problem.groups), tile),
            pack_bias(bias, problem.groups, columns, tile),
        )
        length = problem.sum_length
        job = dataclasses.replace(
            windows,
            rows=np.arange(len(windows.rows)) * length * size,
            taps=np.zeros(1, np.int64),
            depth=length,
        )
        row_block = min(4 * tile.rows, -(-len(job.rows) // tile.rows) * tile.rows)
        scratch = scratch_bytes(tile) + row_block * length * size
        words = job.words(tile, SCRATCH, scratch_stride(scratch))
        words[ROW_BLOCK] = row_block
        words += [
            windows.a_image, windows.a_group, constant(windows.rows, np.int64),
            constant(windows.taps, np.int64), len(windows.taps), windows.depth,
        ]  # fmt: skip
        items = problem.batch * problem.groups * -(-len(job.rows) // row_block)
        return self.native_plan(
            problem,
            [*packed.stages, Stage(im2col_gemm(tile), items, words)],
            workspace_bytes=packed.workspace_bytes,
            scratch_bytes=scratch,
        )


@kernel
def im2col_gemm(tile: Tile):  # type: ignore[no-untyped-def]
    """Copy a block of windows and multiply it: a work item is a block of rows of one group."""
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
        for item in range(first, last):
            rest, r = divmod(item, row_blocks)
            image, group = divmod(rest, args[GROUPS])
            source = args[A] + image * args[SOURCE_IMAGE] + group * args[SOURCE_GROUP]
            start = r * row_block
            stop = min(start + row_block, row_count)
            for row in range(start, stop):
                for t in range(count):
                    window = array(source + rows[row] + taps[t], (depth,), dtype)
                    for k in range(depth):
                        lowered[row - start, t * depth + k] = window[k]
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
                0,
                panels,
                scratch,
            )

    return body
