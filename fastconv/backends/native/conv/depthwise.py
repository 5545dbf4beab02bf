"""Depthwise convolution: vector lanes across channels, a tile of outputs in registers.

One group a channel has no sum over channels to feed a GEMM with; each tap multiplies a vector of
channels with a vector of weights.
"""

from __future__ import annotations

import dataclasses
from math import prod

from fastconv.backends.base import Array, Cost
from fastconv.backends.native.conv.common import NativeConv
from fastconv.backends.native.conv.direct import pack_bytes
from fastconv.backends.native.conv.geometry import output_words, padded_size, window_tables
from fastconv.backends.native.conv.pack import pack_input
from fastconv.backends.native.gemm import (
    ROW_BLOCK,
    Gemm,
    pack_bias,
    pack_panels,
    scratch_bytes,
    tile_for,
)
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import SCRATCH, NativePlan, Stage, scratch_stride
from fastconv.backends.native.tile import Tile
from fastconv.machine import Machine
from fastconv.problem import ConvProblem


class Depthwise(NativeConv):
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
        tile = _tile(self.library, problem, machine)
        waste = -(-problem.in_channels // tile.columns) * tile.columns / problem.in_channels
        # One load a multiply-add: half of the peak at most.
        seconds = 2 * problem.flops * waste / machine.peak_flops(problem.dtype)
        moved = problem.bytes + pack_bytes(problem)
        return Cost(seconds + moved / machine.memory_bandwidth, pack_bytes(problem))

    def plan(self, problem: ConvProblem, *parameters: Array | None) -> NativePlan:
        weight, bias = parameters
        assert weight is not None
        tile = _tile(self.library, problem)
        size = tile.size
        packed = pack_input(
            self.library,
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
            [*packed.stages, Stage(self.library.kernel("depthwise", tile), items, words)],
            workspace_bytes=packed.workspace_bytes,
            scratch_bytes=scratch,
        )


def _tile(library: Library, problem: ConvProblem, machine: Machine | None = None) -> Tile:
    return dataclasses.replace(tile_for(library, problem.dtype, machine), vectors=1)
