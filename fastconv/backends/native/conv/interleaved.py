"""Transposed convolution of NCHW images whose filters are as long as their strides, two across.

No two inputs reach the same output: each makes a patch of its own, as where segmentation networks
double an image. Lanes are neighbouring pixels, whose patches are interleaved as they are stored.
"""

from __future__ import annotations

import dataclasses
from math import prod

import numpy as np

from fastconv.backends.base import Cost, Work
from fastconv.backends.manifest.convolutions import Interleaved as InterleavedArgs
from fastconv.backends.manifest.tiles import tiles_of
from fastconv.backends.native.conv.common import NativeConv
from fastconv.backends.native.gemm import clamp, fused, tile_for
from fastconv.backends.native.items import part_of
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    NativePlan,
    Stage,
    scratch_stride,
)
from fastconv.backends.native.tile import Tile
from fastconv.backends.native.weights import packed_repeat, packed_rows, packing_seconds
from fastconv.machine import Machine, get_machine
from fastconv.problem import ConvTransposeProblem

# Pixels of a work item at least.
ITEM_PIXELS = 1 << 10


class Interleaved(NativeConv):
    """A product of each pixel's channels, and patches put side by side."""

    name = "interleaved"

    def why_not(self, problem: ConvTransposeProblem) -> str | None:
        if problem.channels_last:
            return "channels last: this kernel is for channels first"
        if problem.n != 2:
            return f"{problem.n} dimensions: this kernel is for two"
        patches = tuple(n * s for n, s in zip(problem.input_size, problem.stride, strict=True))
        alone = problem.kernel_size == problem.stride and problem.output_size == patches
        if not alone or problem.stride[1] != 2 or set(problem.dilation) != {1}:
            return "windows that are not patches, two pixels wide, side by side"
        if problem.parameter_bytes > get_machine().l2_bytes // 2:
            return "more weights than half of the second cache: they are read for each line"
        return super().why_not(problem)

    def cost(self, problem: ConvTransposeProblem, machine: Machine) -> Cost:
        tile = self._tile(problem, machine)
        columns = _columns(problem)
        height, width = problem.input_size
        pixels = height * -(-width // tile.columns) * tile.columns
        waste = -(-columns // tile.rows) * tile.rows / columns * pixels / (height * width)
        seconds = (
            problem.flops * waste / machine.peak_flops(problem.dtype)
            + problem.bytes / machine.memory_bandwidth
        )
        return Cost(seconds, packing_seconds=packing_seconds(problem, machine))

    def work(self, problem: ConvTransposeProblem, machine: Machine) -> Work:
        return Work(problem.flops, problem.bytes, problem.dtype.name)

    def geometry(self, problem: ConvTransposeProblem) -> NativePlan:
        tile = self._tile(problem, get_machine())
        size, groups, columns = problem.dtype.itemsize, problem.groups, _columns(problem)
        height, width = problem.input_size
        channels = problem.in_channels // groups
        down = problem.kernel_size[0]
        weights = packed_rows(
            self.library, tile.dtype, groups=groups, columns=columns, width=tile.rows,
            places=np.arange(channels) * columns, group=channels * columns, step=1,
        )  # fmt: skip
        bias = packed_repeat(self.library, tile.dtype, 1, problem.out_channels, run=2 * down)
        plane, out_plane = height * width * size, prod(problem.output_size) * size
        lines = min(-(-ITEM_PIXELS // width), part_of(height, groups))
        activation = problem.activation if fused(problem.activation) else None
        scratch = channels * tile.columns * size
        arguments = InterleavedArgs(
            source=INPUT(0), source_image=problem.in_channels * plane, source_plane=plane,
            weights=weights, bias=bias, target=OUTPUT,
            out_image=problem.out_channels * out_plane, out_plane=out_plane,
            residual=INPUT(1) if problem.residual else 0, **clamp(activation), groups=groups,
            channels=channels, columns=columns, down=down, height=height, width=width,
            lines=lines, scratch_base=SCRATCH, scratch_stride=scratch_stride(scratch),
        )  # fmt: skip
        items = problem.batch * groups * -(-height // lines)
        stage = Stage(self.library.kernel("interleaved", tile), items, arguments)
        return self.native_plan(problem, [stage], workspace_bytes=0, scratch_bytes=scratch)

    def _tile(self, problem: ConvTransposeProblem, machine: Machine) -> Tile:
        tile = tile_for(self.library, problem.dtype, machine)
        narrow, wide = tiles_of(machine.isa).interleaved
        rows, vectors = narrow if _columns(problem) <= narrow[0] else wide
        return dataclasses.replace(tile, rows=rows, vectors=vectors)


def _columns(problem: ConvTransposeProblem) -> int:
    """Count a group's columns: the outputs that each of its pixels makes."""
    return problem.out_channels // problem.groups * prod(problem.kernel_size)
