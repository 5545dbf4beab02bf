"""Convolution of few pixels and large weights: a GEMM that reads the weights as they are given.

Where an image has few pixels, packing the weights of a call takes as long as multiplying by them.
So the roles are exchanged: output channels are rows, whose weights follow each other in memory,
and vector lanes go across pixels. The windows of the small image are lowered to a matrix
(channel and tap, pixel) that stays in a cache (im2col: Chellapilla, Puri and Simard, 2006).
"""

from __future__ import annotations

from math import prod

import numpy as np

from fastconv.backends.base import Array, Cost
from fastconv.backends.manifest.convolutions import Lower
from fastconv.backends.manifest.convolutions import Skinny as SkinnyArgs
from fastconv.backends.native.arena import rounded
from fastconv.backends.native.conv.common import NativeConv
from fastconv.backends.native.conv.geometry import lead
from fastconv.backends.native.conv.pack import index_table
from fastconv.backends.native.gemm import clamp, fitting_tile, fused, tile_steps
from fastconv.backends.native.items import part_of
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    WORKSPACE,
    Given,
    NativePlan,
    Packed,
    Stage,
    constant,
    scratch_stride,
)
from fastconv.backends.native.tile import Tile
from fastconv.machine import Machine, get_machine
from fastconv.problem import ConvProblem

# Seconds that an entry of the lowered matrix takes: a cell looked up by a table.
LOOKUP_SECONDS = 0.3e-9
# Bytes a second at which several vectors of columns come from the second cache, once for each tile
# of rows; one vector of them is available in time.
COLUMN_BYTES_PER_SECOND = 50e9
# Pixels of an image up to which its lowered columns are small compared with the weights.
MOST_PIXELS = 1024
# Planes that a work item lowers.
PLANES_OF_ITEM = 32


class Skinny(NativeConv):
    """GEMM of weights as they are given, and of few pixels lowered to columns."""

    name = "skinny"

    def why_not(self, problem: ConvProblem) -> str | None:
        if problem.channels_last and (problem.in_channels > 1 or problem.out_channels > 1):
            return "channels last: this kernel is for channels first"
        pixels = prod(problem.output_size)
        if pixels > MOST_PIXELS:
            return f"{pixels} pixels: this kernel is for up to {MOST_PIXELS}"
        return super().why_not(problem)

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        tile = skinny_tile(self.library, problem, machine)
        channels, size = problem.out_channels // problem.groups, problem.dtype.itemsize
        rows = -(-channels // tile.rows) * tile.rows
        pitch = _pitch(problem, tile)
        images = problem.batch * problem.groups
        flops = 2 * images * rows * pitch * problem.sum_length * tile_steps(tile)
        entries = 0 if _is_lowered(problem, tile) else images * problem.sum_length * pitch
        columns = images * rows // tile.rows * problem.sum_length * (pitch - tile.lanes) * size
        moved = problem.bytes + machine.figures.packing.as_given * problem.parameter_bytes
        seconds = (
            flops / machine.peak_flops(problem.dtype)
            + moved / machine.memory_bandwidth
            + columns / COLUMN_BYTES_PER_SECOND
            + entries * LOOKUP_SECONDS
        )
        return Cost(seconds, entries * size)

    def geometry(self, problem: ConvProblem) -> NativePlan:
        tile = skinny_tile(self.library, problem, get_machine())
        size, pitch = problem.dtype.itemsize, _pitch(problem, tile)
        stages: list[Stage] = []
        columns, workspace = INPUT(0), 0
        if not _is_lowered(problem, tile):
            table = _table(problem, pitch)
            planes, cells = problem.batch * problem.in_channels, prod(problem.input_size)
            columns, workspace = WORKSPACE, planes * table.size * size
            lowering = Lower(
                planes=INPUT(0), lowered=WORKSPACE, cells=cells,
                table=constant(table, np.int32), entries=table.size, plane_count=planes,
                plane_block=PLANES_OF_ITEM,
            )  # fmt: skip
            kernel = self.library.kernel("skinny.lower", tile.dtype)
            stages.append(Stage(kernel, -(-planes // PLANES_OF_ITEM), lowering))
        channels = problem.out_channels // problem.groups
        row_block, column_block = _blocking(problem, tile)
        scratch = rounded(tile.rows * SkinnyArgs.CHUNK * size) + tile.rows * tile.columns * size
        activation = problem.activation if fused(problem.activation) else None
        arguments = SkinnyArgs(
            weights=Packed(Given(0)), columns=columns, bias=Packed(Given(1)), out=OUTPUT,
            residual=INPUT(1) if problem.residual else 0, **clamp(activation),
            depth=problem.sum_length, channels=channels, groups=problem.groups,
            pixels=prod(problem.output_size), pitch=pitch, images=problem.batch,
            row_block=row_block, column_block=column_block, scratch_base=SCRATCH,
            scratch_stride=scratch_stride(scratch),
        )  # fmt: skip
        items = item_count(problem, tile)
        stages.append(Stage(self.library.kernel("skinny", tile), items, arguments))
        return self.native_plan(
            problem, stages, workspace_bytes=rounded(workspace), scratch_bytes=scratch
        )


def skinny_tile(library: Library, problem: ConvProblem, machine: Machine) -> Tile:
    """Return the register tile: output channels by pixels."""
    channels = problem.out_channels // problem.groups
    return fitting_tile(library, problem.dtype, machine, channels, prod(problem.output_size))


def _pitch(problem: ConvProblem, tile: Tile) -> int:
    """Return the elements of a row of the columns: whole tiles."""
    return -(-prod(problem.output_size) // tile.columns) * tile.columns


def _is_lowered(problem: ConvProblem, tile: Tile) -> bool:
    """Return whether the input is the matrix of columns: single cells, whole tiles of them."""
    single = set(problem.kernel_size) == {1} and set(problem.stride) == {1}
    same = problem.input_size == problem.output_size
    return single and same and _pitch(problem, tile) == prod(problem.output_size)


def _blocking(problem: ConvProblem, tile: Tile) -> tuple[int, int]:
    """Return the output channels and the pixels of a work item: all pixels, if it can be."""
    row_tiles = -(-problem.out_channels // problem.groups // tile.rows)
    row_block = min(4, part_of(row_tiles, problem.groups))
    others = problem.groups * -(-row_tiles // row_block)
    panels = part_of(_pitch(problem, tile) // tile.columns, others)
    return row_block * tile.rows, panels * tile.columns


def item_count(problem: ConvProblem, tile: Tile) -> int:
    """Count the work items, of all images together."""
    row_block, column_block = _blocking(problem, tile)
    rows = -(-problem.out_channels // problem.groups // row_block)
    return int(problem.groups * rows * -(-prod(problem.output_size) // column_block))


def _table(problem: ConvProblem, pitch: int) -> Array:
    """Return for each tap of a window, and each pixel, its cell in a plane; -1 for zero."""
    size, kernel = lead(problem.input_size, 1), lead(problem.kernel_size, 1)
    stride, dilation = lead(problem.stride, 1), lead(problem.dilation, 1)
    outputs = lead(problem.output_size, 1)
    padding = ((0, 0),) * (3 - problem.n) + tuple(problem.padding)
    cells = np.zeros((1, 1), np.int64)
    for n, k, s, d, o, (before, after) in zip(
        size, kernel, stride, dilation, outputs, padding, strict=True
    ):
        shown = index_table(n, before, n + before + after, problem.padding_mode)
        axis = shown[np.arange(k)[:, None] * d + np.arange(o)[None, :] * s]
        whole, inner = cells[:, None, :, None], axis[None, :, None, :]
        cells = np.where((whole < 0) | (inner < 0), -1, whole * n + inner)
        cells = cells.reshape(cells.shape[0] * k, -1)
    table = np.full((len(cells), pitch), -1, np.int64)
    table[:, : cells.shape[1]] = cells
    return table.ravel()
