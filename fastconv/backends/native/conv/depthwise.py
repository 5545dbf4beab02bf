"""Depthwise convolution: vector lanes across channels, a tile of outputs in registers.

One group a channel has no sum over channels to feed a GEMM with; each tap multiplies a vector of
channels with a vector of weights. A tile is neighbouring outputs of one line, so that each pixel
is loaded once for all the taps of a kernel's line that see it.
"""

from __future__ import annotations

import dataclasses
from math import prod

import numpy as np

from fastconv.backends.base import Cost
from fastconv.backends.manifest.convolutions import Depthwise as DepthwiseArgs
from fastconv.backends.manifest.tiles import tiles_of
from fastconv.backends.native.conv.common import NativeConv
from fastconv.backends.native.conv.direct import pack_bytes
from fastconv.backends.native.conv.geometry import lead, output_words, padded_size
from fastconv.backends.native.conv.pack import pack_input
from fastconv.backends.native.gemm import (
    clamp,
    fused,
    scratch_bytes,
    tile_for,
)
from fastconv.backends.native.items import part_of
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import (
    SCRATCH,
    NativePlan,
    Stage,
    constant,
    scratch_stride,
)
from fastconv.backends.native.tile import Tile
from fastconv.backends.native.weights import packed_bias, packed_panels, packing_seconds
from fastconv.machine import Machine, get_machine
from fastconv.problem import ConvProblem

# Taps of a line whose weights are held in registers together.
LINE_TAPS = 7
# Bytes of input that a work item's lines, of all channels, should not much exceed.
BLOCK_BYTES = 128 << 10


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
        tile = line_tile(self.library, problem, machine)
        waste = -(-problem.in_channels // tile.columns) * tile.columns / problem.in_channels
        # One load a multiply-add: half of the peak at most.
        seconds = 2 * problem.flops * waste / machine.peak_flops(problem.dtype)
        packed = 0 if _inside(problem) else pack_bytes(problem)
        moved = problem.bytes / machine.memory_bandwidth
        # The next lines are fetched while these are summed; a copy comes before.
        seconds = max(seconds, moved) + packed / machine.memory_bandwidth
        return Cost(seconds, packed, packing_seconds(problem, machine))

    def geometry(self, problem: ConvProblem) -> NativePlan:
        tile = line_tile(self.library, problem, get_machine())
        size, channels = tile.size, problem.out_channels
        before = tuple(p[0] for p in problem.padding)
        if _inside(problem):
            packed = pack_input(self.library, problem, (0,) * problem.n, problem.input_size)
        else:
            packed = pack_input(
                self.library, problem, before, padded_size(problem), mode=problem.padding_mode
            )
            before = (0,) * problem.n
        output = lead(problem.output_size, 1)
        block, column_block = blocking(problem, tile)
        out = output_words(dataclasses.replace(problem, groups=1))
        activation = problem.activation if fused(problem.activation) else None
        scratch = scratch_bytes(tile)
        panels = {"groups": 1, "columns": channels, "width": tile.columns}
        taps = prod(problem.kernel_size)
        arguments = DepthwiseArgs(
            source=packed.slot, source_image=packed.image * size, pitch=packed.channels * size,
            weights=packed_panels(self.library, tile.dtype, channels=taps, **panels),
            bias=packed_bias(self.library, tile.dtype, **panels), out=out["out"],
            out_image=out["out_image"], out_rows=constant(out["out_rows"], np.int64),
            out_column=out["out_column"], residual=out["residual"], **clamp(activation),
            channels=channels, line_block=block, tile_rows=tile.rows,
            kernel_size=lead(problem.kernel_size, 1), stride=lead(problem.stride, 1),
            dilation=lead(problem.dilation, 1), before=lead(before, 0), input_size=packed.size,
            output_size=output, scratch_base=SCRATCH, scratch_stride=scratch_stride(scratch),
            column_block=column_block,
        )  # fmt: skip
        taps = problem.kernel_size[-1] if problem.kernel_size[-1] <= LINE_TAPS else 4
        address = self.library.kernel(
            "depthwise", tile, taps, problem.stride[-1], problem.dilation[-1] if taps > 1 else 1
        )
        items = item_count(problem, tile)
        return self.native_plan(
            problem,
            [*packed.stages, Stage(address, items, arguments)],
            workspace_bytes=packed.workspace_bytes,
            scratch_bytes=scratch,
        )


def _inside(problem: ConvProblem) -> bool:
    """Whether the input is read as it is stored, zeros outside of it."""
    return problem.channels_last and problem.padding_mode == "zeros"


def blocking(problem: ConvProblem, tile: Tile) -> tuple[int, int]:
    """Count the lines of outputs of a work item, and their columns.

    They are fewer where the channels fill few vectors.
    """
    depth, height, columns = lead(problem.output_size, 1)
    width = problem.input_size[-1] if _inside(problem) else padded_size(problem)[-1]
    line_bytes = width * problem.out_channels * tile.size * lead(problem.stride, 1)[1]
    vectors = -(-problem.out_channels // tile.columns)
    block = min(max(1, BLOCK_BYTES // line_bytes), part_of(depth * height, vectors))
    items = vectors * -(-depth * height // block)
    return block, part_of(-(-columns // tile.rows), items) * tile.rows


def item_count(problem: ConvProblem, tile: Tile) -> int:
    """Count the work items."""
    depth, height, width = lead(problem.output_size, 1)
    lines, columns = blocking(problem, tile)
    vectors = -(-problem.out_channels // tile.columns)
    return problem.batch * -(-depth * height // lines) * -(-width // columns) * vectors


def line_tile(library: Library, problem: ConvProblem, machine: Machine) -> Tile:
    """Return a tile of outputs of a line of which few are past the last one."""
    width = problem.output_size[-1]
    pixels = [rows for rows, _ in tiles_of(machine.isa).pixels]
    # What a tile takes besides its multiply-adds is about what two outputs do.
    rows = min(pixels, key=lambda r: (-(-width // r) * (r + 2), -r))
    return dataclasses.replace(tile_for(library, problem.dtype, machine), rows=rows, vectors=1)
