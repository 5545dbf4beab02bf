"""Depthwise convolution of NCHW images: vector lanes across pixels, outputs kept in registers.

A tile of output rows slides down a column of weights, so that each line of the input is loaded
once for all the rows and taps that it serves. Channel multipliers are filters of one plane.
"""

from __future__ import annotations

import numpy as np

from fastconv.backends.base import Cost
from fastconv.backends.manifest.convolutions import DepthwisePlanar as DepthwisePlanarArgs
from fastconv.backends.native.conv.common import PlaneByPlane
from fastconv.backends.native.conv.planes import Planes, row_block, row_tile
from fastconv.backends.native.gemm import clamp, fused
from fastconv.backends.native.items import part_of
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
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

# Vertical taps whose weights are held in registers together.
COLUMN_TAPS = 7

# Taps up to which what surrounds their multiply-adds is felt, and what each of these takes.
FEW_TAPS, FEW_TAP_STEPS = 25, 1.5


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
        each = machine.figures.tap_steps
        steps = max(each * taps + (FEW_TAP_STEPS - each) * min(taps, FEW_TAPS), loads * taps)
        flops = 2 * outputs * (steps + 4) + 6 * lines
        seconds = flops / machine.peak_flops(problem.dtype)
        seconds = max(seconds, problem.bytes / machine.memory_bandwidth / 2)
        return Cost(seconds, packing_seconds=packing_seconds(problem, machine))

    def geometry(self, problem: ConvProblem) -> NativePlan:
        planes = Planes(problem, get_machine().lanes(problem.dtype))
        tile = row_tile(self.library, planes, get_machine())
        down, across = planes.down, planes.across
        block = row_block(planes, tile)
        column_block = _column_block(planes, tile)
        size = problem.dtype.itemsize
        scratch = (planes.lines(block) * planes.line + tile.columns + tile.lanes) * size
        height, width = planes.height, planes.width
        plane = problem.input_size[-1] * (problem.input_size[0] if problem.n == 2 else 1) * size
        # A filter's columns one after the other.
        filters = packed_panels(
            self.library, tile.dtype, groups=problem.out_channels, columns=1, width=1,
            channels=down[0], taps=across[0],
        )  # fmt: skip
        biases = packed_bias(
            self.library, tile.dtype, groups=1, columns=problem.out_channels, width=tile.lanes
        )
        activation = problem.activation if fused(problem.activation) else None
        arguments = DepthwisePlanarArgs(
            planes=INPUT(0), plane_bytes=plane, weights=filters, bias=biases, out=OUTPUT,
            out_bytes=height * width * size, residual=INPUT(1) if problem.residual else 0,
            **clamp(activation), height=height, width=width, row_block=block,
            multiplier=problem.out_channels // problem.groups, channels=problem.in_channels,
            taps_down=down[0], step_down=down[1], apart_down=down[2], taps_across=across[0],
            offsets=constant(planes.offsets(), np.int64), **planes.edge(), tile_rows=tile.rows,
            tile_vectors=tile.vectors, scratch_base=SCRATCH,
            scratch_stride=scratch_stride(scratch), column_block=column_block, **planes.fields(),
        )  # fmt: skip
        taps = down[0] if down[0] <= COLUMN_TAPS else 4
        apart = down[2] if taps > 1 else 1
        name, constants = "depthwise_planar.inside", [tile, taps, down[1], apart]
        if planes.inside:
            scratch = 0
        else:
            name = "depthwise_planar.copied"
            constants += map(int, planes.constants())
        items = item_count(planes, tile)
        return self.native_plan(
            problem,
            [Stage(self.library.kernel(name, *constants), items, arguments)],
            workspace_bytes=0,
            scratch_bytes=scratch,
        )


def _column_block(planes: Planes, tile: Tile) -> int:
    """Count the output columns of a work item: all, unless planes and blocks of rows are few."""
    others = planes.problem.in_channels * -(-planes.height // row_block(planes, tile))
    return part_of(-(-planes.width // tile.columns), others) * tile.columns


def item_count(planes: Planes, tile: Tile) -> int:
    """Count the work items."""
    rows = -(-planes.height // row_block(planes, tile))
    columns = -(-planes.width // _column_block(planes, tile))
    return planes.problem.batch * planes.problem.in_channels * rows * columns
