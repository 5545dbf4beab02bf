"""Winograd's minimal filtering of 3 x 3 kernels on the GPU: the fused kernel's plans."""

from __future__ import annotations

import dataclasses
from math import prod

import numpy as np

from fastconv.backends.base import Array, Cost, Work
from fastconv.backends.cuda.algorithm import BYTES, FLOPS, LAUNCH, CudaAlgorithm
from fastconv.backends.cuda.conv.direct import geometry_of, why_not_outsized
from fastconv.backends.cuda.conv.implicit_gemm import Geometry
from fastconv.backends.cuda.conv.split import adding
from fastconv.backends.cuda.conv.winograd_kernel import (
    LARGE,
    NARROW,
    TILES,
    WIDE,
    Filtering,
    tiles_of,
    winograd,
)
from fastconv.backends.cuda.engine.plan import OUTPUT, WORKSPACE, CudaPlan, Launch
from fastconv.backends.cuda.tile import BLOCKS
from fastconv.backends.cuda.transpose import channels_last
from fastconv.backends.native.conv.common import unit
from fastconv.backends.native.conv.winograd.axis import Axis, winograd_bound
from fastconv.backends.native.plan import INPUT, constant
from fastconv.machine import Machine
from fastconv.problem import ConvProblem

# A slice's least channels: what a block does besides its products is done for each.
LEAST_CHANNELS = 64
# Multiprocessors of a large GPU: fewer blocks leave some idle.
MULTIPROCESSORS = 132


class Winograd(CudaAlgorithm):
    """F(m x m, 3 x 3), fused: nothing that is transformed goes through the GPU's memory."""

    approximates = True
    m: int
    # How a block is cut, widest first.
    filterings: tuple[Filtering, ...]
    # Multiplications per unit of time compared with those of the direct kernel, whose loop has
    # fewer other instructions.
    pace: float

    def why_not(self, problem: ConvProblem) -> str | None:
        if problem.n != 2 or problem.kernel_size != (3, 3):
            kernel = " x ".join(map(str, problem.kernel_size))
            return f"kernel {kernel}: this kernel is for 3 x 3"
        if max(problem.stride) > 1 or max(problem.dilation) > 1:
            return "stride or dilation above 1"
        if problem.padding_mode != "zeros":
            return f"padding mode {problem.padding_mode}: this kernel pads with zeros"
        return why_not_outsized(problem) or super().why_not(problem)

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        geometry, narrow = geometry_of(problem), self.filterings[-1]
        down, across = tiles_of(geometry, self.m)
        inputs = -(-geometry.group_inputs // narrow.depth) * narrow.depth
        outputs = -(-geometry.group_outputs // narrow.filters) * narrow.filters
        products = problem.batch * down * across * narrow.points * inputs * outputs
        seconds = 2 * products * geometry.groups / (FLOPS * self.pace)
        return Cost(LAUNCH + max(seconds, problem.bytes / BYTES))

    def work(self, problem: ConvProblem, machine: Machine) -> Work:
        geometry, filtering = geometry_of(problem), self.filterings[-1]
        tiles = problem.batch * prod(tiles_of(geometry, self.m))
        channels = problem.in_channels // problem.groups * problem.out_channels
        flops = 2 * tiles * filtering.points * channels
        return Work(flops, problem.bytes, problem.dtype.name)

    def error_bound(self, problem: ConvProblem) -> float:
        axis = axis_of(self.m)
        channels = problem.in_channels // problem.groups
        return winograd_bound(axis, axis, channels, unit(problem.dtype), chain=channels)

    def launches(self, problem: ConvProblem, *parameters: Array | None) -> CudaPlan:
        weight, bias = parameters
        assert weight is not None
        return channels_last(
            problem, lambda turned: plan_winograd(turned, weight, bias, self.filterings)
        )


class Winograd2(Winograd):
    """Tiles of 2 x 2 outputs: 2.25 times fewer multiplications."""

    name, m, filterings, pace = "winograd", 2, (WIDE, NARROW), 0.9


class Winograd4(Winograd):
    """Tiles of 4 x 4 outputs: 4 times fewer."""

    name, m, filterings, pace = "winograd4", 4, (LARGE,), 0.7


def axis_of(m: int) -> Axis:
    """Return the filter of m outputs and three taps."""
    axis = Axis.of(m, 3, 1)
    assert axis is not None
    return axis


def filtering_of(geometry: Geometry, filterings: tuple[Filtering, ...]) -> Filtering:
    """Return the widest cut of which there are enough blocks for all of the GPU."""
    for filtering in filterings:
        grid = grid_of(geometry, filtering)
        wasted = grid[1] * filtering.filters - geometry.group_outputs >= NARROW.filters
        if grid[0] * grid[1] * grid[2] >= MULTIPROCESSORS and not wasted:
            return filtering
    return filterings[-1]


def grid_of(geometry: Geometry, filtering: Filtering) -> tuple[int, int, int]:
    """Return the blocks: of tiles, of filters, of groups."""
    down, across = tiles_of(geometry, filtering.m)
    tiles = geometry.batch * down * across
    filters = -(-geometry.group_outputs // filtering.filters)
    slices = geometry.slices if geometry.apart else 1
    return -(-tiles // TILES), filters, geometry.groups * slices


def plan_winograd(
    problem: ConvProblem, weight: Array, bias: Array | None, filterings: tuple[Filtering, ...]
) -> CudaPlan:
    """Plan a 3 x 3 convolution of channels-last images, by the first cut that suits it."""
    geometry = sliced(geometry_of(problem), filterings[-1])
    filtering = filtering_of(geometry, filterings)
    packed = constant(packed_weights(weight, geometry, filtering))
    biases = None if bias is None else constant(bias)
    residual = INPUT(1) if problem.residual else None
    grid = grid_of(geometry, filtering)
    if not geometry.apart:
        kernel = winograd(
            filtering, geometry, bias is not None, problem.residual, problem.activation
        )
        return CudaPlan([Launch(kernel, grid, [INPUT(0), packed, biases, residual, OUTPUT])])
    kernel = winograd(filtering, geometry, False, False, None)
    launches = [
        Launch(kernel, grid, [INPUT(0), packed, None, None, WORKSPACE]),
        adding(geometry, WORKSPACE, biases, residual, problem.activation, OUTPUT),
    ]
    size = 4 * geometry.slices * geometry.rows * geometry.out_channels
    return CudaPlan(launches, workspace_bytes=size)


def sliced(geometry: Geometry, filtering: Filtering) -> Geometry:
    """Return a geometry with its sum of channels cut as one image asks for (see `split`)."""
    one = grid_of(dataclasses.replace(geometry, batch=1), filtering)
    steps = -(-geometry.group_inputs // filtering.depth)
    least = LEAST_CHANNELS // filtering.depth
    count = min(BLOCKS // prod(one), steps // least)
    if count < 2 or geometry.group_outputs % 4:
        return geometry
    count = -(-steps // -(-steps // count))
    blocks = prod(grid_of(geometry, filtering))
    return dataclasses.replace(geometry, slices=count, apart=blocks < MULTIPROCESSORS)


def packed_weights(weight: Array, geometry: Geometry, filtering: Filtering) -> Array:
    """Return transformed weights as (group, filters, step, point, channel, filter).

    Transformed in float64 and rounded once; zeros fill up steps and blocks.
    """
    groups, depth, filters = geometry.groups, filtering.depth, filtering.filters
    inputs, outputs = geometry.group_inputs, geometry.group_outputs
    steps, blocks = -(-inputs // depth), -(-outputs // filters)
    g = axis_of(filtering.m).matrix("g")
    own = weight.reshape(groups, outputs, inputs, 9).astype(np.float64)
    points = own @ np.kron(g, g).T
    packed = np.zeros((groups, blocks * filters, steps * depth, filtering.points), np.float32)
    packed[:, :outputs, :inputs] = points
    cut = packed.reshape(groups, blocks, filters, steps, depth, filtering.points)
    return np.ascontiguousarray(cut.transpose(0, 1, 3, 5, 4, 2))
