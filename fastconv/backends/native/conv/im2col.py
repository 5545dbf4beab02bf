"""im2col: windows are copied out block by block, then multiplied as one long sum.

Worth its copies where a window is few and long runs, whose taps the direct kernel would start
one by one; asked for by name it serves everything.
The lowered matrix never exists as a whole: a worker keeps one block of rows.
(Chellapilla, Puri and Simard, 2006.)
"""

from __future__ import annotations

import dataclasses
from math import prod

import numpy as np

from fastconv.backends.base import Cost
from fastconv.backends.manifest.products import Im2col as Im2colArgs
from fastconv.backends.native.conv.common import NativeConv, conv_tile, register_tiles
from fastconv.backends.native.conv.direct import TURN_OPERATIONS, pack_bytes, taps_merge
from fastconv.backends.native.conv.geometry import conv_gemm, padded_size
from fastconv.backends.native.conv.pack import pack_input
from fastconv.backends.native.gemm import scratch_bytes
from fastconv.backends.native.items import part_of
from fastconv.backends.native.plan import NativePlan, Stage, constant
from fastconv.backends.native.tile import Tile
from fastconv.backends.native.weights import packing_seconds
from fastconv.machine import Machine
from fastconv.problem import ConvProblem

# Seconds that copying a run of neighbours out takes beyond moving its bytes, most of them one cell.
RUN_SECONDS = 2e-9


class Im2col(NativeConv):
    """GEMM over windows copied to contiguous rows."""

    name = "im2col"

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        tile = conv_tile(self.library, problem, machine)
        flops = 2 * register_tiles(problem, tile) * tile.rows * tile.columns * problem.sum_length
        windows = problem.batch * prod(problem.output_size) * problem.groups
        lowered = windows * problem.sum_length * problem.dtype.itemsize
        if not problem.channels_last:
            flops += TURN_OPERATIONS * prod(problem.output_shape)
        moved = problem.bytes + pack_bytes(problem) + 2 * lowered
        merged = problem.kernel_size[-1] if taps_merge(problem) else 1
        runs = windows * prod(problem.kernel_size) // merged
        seconds = (
            flops / machine.peak_flops(problem.dtype)
            + moved / machine.memory_bandwidth
            + runs * RUN_SECONDS
        )
        return Cost(seconds, pack_bytes(problem), packing_seconds(problem, machine))

    def geometry(self, problem: ConvProblem) -> NativePlan:
        tile = conv_tile(self.library, problem)
        size = problem.dtype.itemsize
        before = tuple(p[0] for p in problem.padding)
        packed = pack_input(
            self.library, problem, before, padded_size(problem), mode=problem.padding_mode
        )
        windows = conv_gemm(self.library, problem, packed, tile)
        length = problem.sum_length
        job = dataclasses.replace(
            windows,
            rows=np.arange(len(windows.rows)) * length * size,
            taps=np.zeros(1, np.int64),
            depth=length,
        )
        row_block, panel_block = _blocking(problem, tile)
        scratch = scratch_bytes(tile) + row_block * length * size
        blocks = {"row_block": row_block, "panel_block": panel_block}
        arguments = Im2colArgs(
            **job.fields(tile, scratch) | blocks, source_image=windows.a_image,
            source_group=windows.a_group, source_rows=constant(windows.rows, np.int64),
            source_taps=constant(windows.taps, np.int64), source_count=len(windows.taps),
            source_depth=windows.depth,
        )  # fmt: skip
        stage = Stage(self.library.kernel("im2col", tile), item_count(problem, tile), arguments)
        return self.native_plan(
            problem,
            [*packed.stages, stage],
            workspace_bytes=packed.workspace_bytes,
            scratch_bytes=scratch,
        )


def _blocking(problem: ConvProblem, tile: Tile) -> tuple[int, int]:
    """Return the rows and panels of a work item: all panels, unless the rows are few."""
    row_tiles = -(-prod(problem.output_size) // tile.rows)
    panels = -(-problem.out_channels // problem.groups // tile.columns)
    row_block = min(4, row_tiles)
    panel_block = part_of(panels, problem.groups * -(-row_tiles // row_block))
    others = problem.groups * -(-panels // panel_block)
    return min(row_block, part_of(row_tiles, others)) * tile.rows, panel_block


def item_count(problem: ConvProblem, tile: Tile) -> int:
    """Count the work items."""
    row_block, panel_block = _blocking(problem, tile)
    panels = -(-problem.out_channels // problem.groups // tile.columns)
    blocks = -(-prod(problem.output_size) // row_block) * -(-panels // panel_block)
    return problem.batch * problem.groups * blocks
