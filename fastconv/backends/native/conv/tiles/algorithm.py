"""Convolution on matrix tiles: float32 products by three products of bf16 pieces, or by one.

A number is split into two bf16 pieces, x = high + low + rest, each rounded to the nearest, so that
the rest is at most 2^-17 of x. Of the four products of two numbers' pieces the three larger ones
are made and summed in float32 (Henry, Tang and Heinecke, 2019: "Leveraging the bfloat16 Artificial
Intelligence Datatype For Higher-Precision Computations"). What is missing of a product is at most
2^-15 of it: 2^-16 for the two low pieces' product, 2^-17 for either rest. See `Tiles.error_bound`.

Processors without tiles run an emulation that gives the same bits. It takes many times as long as
other algorithms, so that it runs only where it is asked for by name.
"""

from __future__ import annotations

from math import prod, sqrt

import numpy as np

from fastconv.backends.base import Cost
from fastconv.backends.manifest.convolutions import ConvolveTiles, TileWeights
from fastconv.backends.native.bounds import FILTER_SIGMAS, sum_bound
from fastconv.backends.native.conv.common import NativeConv, unit
from fastconv.backends.native.conv.tiles.layout import COLUMNS, DEPTH, ROWS, TILE_BYTES, Layout
from fastconv.backends.native.gemm import clamp, fused
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    NativePlan,
    Packed,
    Stage,
    Weights,
    constant,
    scratch_stride,
)
from fastconv.backends.native.weights import packed_bias
from fastconv.machine import Machine, TileFigures, get_machine
from fastconv.problem import ConvProblem

# Taps above which other algorithms need fewer operations, and tables would be long.
MOST_TAPS = 256
# Of the widest vectors, which may run over the last element that is turned.
MOST_LANES = 16
# Least channels of a group: with fewer most of a tile is empty.
LEAST_CHANNELS = 16
# Root mean square of what is missing of a product, relative to it, and the largest mean of the
# data, in deviations, that the bound holds for.
MISSING, MOST_MEAN = 2.0**-17.7, 2.0
# Time of an emulated product, that of as many multiply-adds being 1.
EMULATION = 4.0
# Setting tiles up and releasing them, and the first tiles' wait for their packed rows.
BEGIN_SECONDS = 3e-6


def figures_of(machine: Machine, library: Library) -> TileFigures:
    """Return the figures of the processor's tiles, or of the emulation."""
    if machine.figures.tiles is not None and library.has_tiles():
        return machine.figures.tiles
    dot = EMULATION * 2 * ROWS * COLUMNS * DEPTH / machine.peak_flops(np.dtype(np.float32))
    return TileFigures(dot, 1e-9, 1e-10, 1e-10, 1e-9)


class Tiles(NativeConv):
    """Implicit GEMM over a padded copy of the input in bf16 pieces."""

    name = "tiles"
    approximates = True

    def why_not(self, problem: ConvProblem) -> str | None:
        if problem.dtype.name != "float32" or problem.output_dtype.name != "float32":
            return f"dtype {problem.dtype.name}: products of bf16 pieces are for float32"
        if prod(problem.kernel_size) > MOST_TAPS:
            return f"{prod(problem.kernel_size)} taps: this kernel is for up to {MOST_TAPS}"
        columns = problem.out_channels // problem.groups
        if problem.groups > 1 and min(columns, problem.in_channels // problem.groups) < (
            LEAST_CHANNELS
        ):
            return f"groups of fewer than {LEAST_CHANNELS} channels fill no tile"
        return super().why_not(problem)

    def arithmetic(self, problem: ConvProblem) -> str:
        """Three products of pieces, unless the call allows bf16 factors."""
        return "bf16" if problem.precision == "bf16" else "bf16x3"

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        layout = self._layout(problem, machine)
        figures = figures_of(machine, self.library)
        blocks = problem.batch * problem.groups * layout.blocks
        products = 3 if layout.parts > 1 else 1
        tiles = blocks * layout.row_tiles * layout.column_tiles
        # A tile by itself waits for its sums.
        alone = 1.5 if layout.row_tiles == 1 or layout.column_tiles == 1 else 1.0
        copied = blocks * layout.depth_blocks * layout.depth_bytes / 2
        if layout.merged:
            copied = blocks * DEPTH * prod(layout.places) * layout.axes[2].step
        weights = problem.batch * layout.blocks * problem.parameter_bytes
        seconds = (
            BEGIN_SECONDS
            + tiles * layout.chunk_count * products * figures.dot * alone
            + copied * figures.copy
            + weights * figures.weights
            + (problem.bytes - problem.parameter_bytes) * figures.moved
        )
        packing = problem.parameter_bytes * figures.packing
        return Cost(seconds, layout.scratch_bytes, packing)

    def limits(self, problem: ConvProblem, machine: Machine) -> tuple[float, float]:
        products = 1 if problem.precision == "bf16" else 3
        operations = 2 * ROWS * COLUMNS * DEPTH
        dot = figures_of(machine, self.library).dot
        return operations / (products * dot), machine.memory_bandwidth

    def error_bound(self, problem: ConvProblem) -> float:
        """Bound the error of three products, relative to the output's standard deviation.

        What is missing of a product x w has a random sign and a root mean square of about 2^-17.7
        of it, so that the missing parts of a sum of n products add up to 2^-17.7 times the root of
        the sum of x^2 w^2. That is relative to the deviation of the output where the data's mean is
        zero, and sqrt(1 + (mean / deviation)^2) times that for data with a mean, which an output's
        deviation does not show: the bound is for means of up to twice the deviation, which images
        and rectified data have. The sums themselves are float32's.
        """
        plain = sum_bound(-(-int(problem.sum_length) // DEPTH) * 3, unit(problem.dtype))
        if problem.precision == "bf16":
            return plain
        sigmas = FILTER_SIGMAS * (1 + 1 / sqrt(problem.sum_length))
        return float(plain + sigmas * MISSING * sqrt(1 + MOST_MEAN**2))

    def geometry(self, problem: ConvProblem) -> NativePlan:
        layout = self._layout(problem, get_machine())
        arithmetic = self.arithmetic(problem)
        slices, targets = layout.slices()
        chunks, counts, places = layout.chunks()
        tiles, edges = layout.tiles(), layout.edges()
        channels, columns = layout.channels, layout.columns
        groups, plane = problem.groups, prod(problem.input_size)
        out_plane, out_channels = prod(problem.output_size), problem.out_channels
        last_in, last_out = problem.channels_last or plane == 1, problem.channels_last
        column = channels * prod(problem.kernel_size)
        # An item turns the elements of one block of channels; of merged ones all are one.
        run = column if layout.merged else min(column, DEPTH * prod(problem.kernel_size))
        part = len(chunks) if layout.merged else prod(problem.kernel_size)
        weights_group = layout.column_tiles * len(chunks) * layout.parts * TILE_BYTES
        turned = (run + MOST_LANES) * COLUMNS * 4
        packing = Stage(
            self.library.kernel("tiles.weights", arithmetic, "float32"),
            groups * layout.column_tiles * (len(chunks) // part),
            TileWeights(
                source=INPUT(0), target=OUTPUT, column=column, columns=columns,
                places=constant(places, np.int32), chunks=len(chunks), part=part, run=run,
                scratch_base=SCRATCH, scratch_stride=scratch_stride(turned),
            ),
        )  # fmt: skip
        weights = Weights(groups * weights_group, (packing,), scratch_bytes=turned)
        bias = packed_bias(self.library, "float32", groups=groups, columns=columns, width=COLUMNS)
        inner = prod(axis.size for axis in layout.axes[layout.cut + 1 :])
        activation = problem.activation if fused(problem.activation) else None
        arguments = ConvolveTiles(
            source=INPUT(0), source_image=problem.in_channels * plane * 4,
            source_group=channels * (4 if last_in else plane * 4),
            source_channel=4 if last_in else plane * 4,
            source_pixel=problem.in_channels * 4 if last_in else 4, channels=channels,
            depth_blocks=layout.depth_blocks, depth_bytes=layout.depth_bytes,
            low_bytes=layout.low_bytes, pixel_bytes=layout.pixel_bytes,
            cleared=layout.scratch_bytes if layout.merged else 0,
            slices=constant(slices, np.int64),
            slice_step=layout.block * layout.axes[layout.cut].step, slice_count=len(targets),
            slice_targets=constant(targets, np.int64), slice_pixels=inner,
            pixel_targets=constant(layout.pixels(), np.int32),
            edges=constant(edges, np.int64) if len(edges) else 0, edge_count=len(edges),
            weights=Packed(weights), weights_group=weights_group, bias=bias,
            chunks=constant(chunks, np.int64), chunk_count=len(chunks),
            chunk_depths=constant(counts, np.int64), tiles=constant(tiles, np.int64),
            tile_count=len(tiles), tile_step=layout.row_step, target=OUTPUT,
            out_image=out_channels * out_plane * 4,
            out_group=columns * (4 if last_out else out_plane * 4),
            out_pixel=out_channels * 4 if last_out else 4,
            out_channel=4 if last_out else out_plane * 4, out_channels=columns,
            residual=INPUT(1) if problem.residual else 0, **clamp(activation), groups=groups,
            blocks=layout.blocks, block_pixels=layout.block_pixels, image_pixels=out_plane,
            parts=layout.shares, scratch_base=SCRATCH,
            scratch_stride=scratch_stride(layout.scratch_bytes),
        )  # fmt: skip
        stage = Stage(
            self.library.kernel("tiles.convolve", arithmetic, "float32"), layout.items, arguments
        )
        return self.native_plan(problem, [stage], scratch_bytes=layout.scratch_bytes)

    def _layout(self, problem: ConvProblem, machine: Machine) -> Layout:
        parts = 1 if problem.precision == "bf16" else 2
        return Layout.of(problem, parts, machine.l2_bytes)
