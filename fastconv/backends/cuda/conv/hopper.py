"""Convolutions of fp16 and bf16 on Hopper's tensor cores: plans of `hopper_gemm`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fastconv.backends.base import Array, Cost
from fastconv.backends.cuda.algorithm import BYTES, LAUNCH, CudaAlgorithm
from fastconv.backends.cuda.conv.direct import geometry_of
from fastconv.backends.cuda.conv.hopper_gemm import Tile, hopper_gemm
from fastconv.backends.cuda.conv.implicit_gemm import Geometry
from fastconv.backends.cuda.engine.device import device_for
from fastconv.backends.cuda.engine.plan import OUTPUT, CudaPlan, Launch, TensorMap
from fastconv.backends.cuda.engine.tensormap import Images, Matrix, most_offset, why_not
from fastconv.backends.native.conv.geometry import lead
from fastconv.backends.native.plan import INPUT, constant
from fastconv.machine import Machine
from fastconv.problem import ConvProblem

# Arrays' dtypes, as instructions name them.
KINDS = {"float16": "f16", "bfloat16": "bf16"}
ARCH = "sm_90a"
# A large Hopper card: multiprocessors, clocks a second under such load, products of a clock.
_PROCESSORS, _CLOCK, _PRODUCTS = 132, 1.4e9, 2048
# Clocks before a block's first product, and sums that leave it in a clock.
_BEGIN, _SUMS = 1500, 8
# Tiles, and what part of the tensor cores' peak their products come to: how often a step reads the
# smaller side of a tile.
TILES = (
    (Tile(2, 256, 4), 1.0),
    (Tile(2, 128, 3), 0.9),
    (Tile(2, 64, 4), 0.6),
    (Tile(1, 64, 6), 0.5),
)
# Channels of a step, and what part of the speed is left: each step has its barriers.
DEPTHS = {64: 1.0, 32: 0.9, 16: 0.75}
# Steps on their way, where these are smaller than tiles of 64 channels.
_MOST_STAGES = 8


class DirectHopper(CudaAlgorithm):
    """Implicit GEMM by warpgroups: pixels and weights in halves, sums in float32."""

    name = "direct_hopper"

    def why_not(self, problem: ConvProblem) -> str | None:
        if problem.dtype.name not in KINDS:
            return f"{problem.dtype.name}: this kernel is for float16 and bfloat16"
        if problem.padding_mode != "zeros":
            return f"padding mode {problem.padding_mode}: this kernel pads with zeros"
        if 0 in problem.output_shape:
            return "an empty output"
        if not problem.channels_last:
            return "channels first: this kernel is for channels last"
        return _why_not_tiles(problem) or _why_not_here()

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        geometry = geometry_of(problem)
        seconds = min(_clocks(geometry, tile) for tile in tiles_for(geometry)) / _CLOCK
        return Cost(LAUNCH + max(seconds, problem.bytes / BYTES))

    def error_bound(self, problem: ConvProblem) -> float:
        # Tensor cores cut off where a float32 sum would be rounded.
        return problem.sum_length * 2 * float(np.finfo(np.float32).eps)

    def launches(self, problem: ConvProblem, *parameters: Array | None) -> CudaPlan:
        weight, bias = parameters
        assert weight is not None
        return plan_hopper(problem, weight, bias)


def _why_not_tiles(problem: ConvProblem) -> str | None:
    geometry = geometry_of(problem)
    if geometry.groups > 1 and geometry.group_inputs % min(DEPTHS):
        return f"groups of {geometry.group_inputs} channels: not a multiple of {min(DEPTHS)}"
    if geometry.rows >= 1 << 30:
        return f"{geometry.rows} output pixels: more than the kernel counts"
    most = most_offset(problem.n)
    reach = max((k - 1) * d for k, d in zip(problem.kernel_size, problem.dilation, strict=True))
    if reach > most:
        return f"a window of {reach + 1} pixels: TMA takes {most + 1} in {problem.n} dimensions"
    tile = tile_of(geometry)
    return why_not(images_of(problem, tile)) or why_not(matrix_of(problem, geometry, tile))


def _why_not_here() -> str | None:
    try:
        arch = device_for().arch
    except ValueError as error:
        return str(error)
    return None if arch == ARCH else f"this kernel is for {ARCH}, and the card is {arch}"


def depth_of(geometry: Geometry) -> int:
    """Give the channels of a step: few, where more would be zeros, or another group's."""
    channels = geometry.group_inputs
    given = [d for d in DEPTHS if geometry.groups == 1 or channels % d == 0]
    return min(given, key=lambda depth: -(-channels // depth) * depth / DEPTHS[depth])


def steps_of(geometry: Geometry, tile: Tile) -> int:
    """Give the steps of a sum: each tap's channels in whole ones."""
    return geometry.taps * -(-geometry.group_inputs // tile.depth)


def images_of(problem: ConvProblem, tile: Tile) -> Images:
    """Describe the images by the windows that begin in them."""
    columns = zip(
        problem.input_size, problem.output_size, problem.stride, problem.padding, strict=True
    )
    # From the first window to the last: what a stride leaves over at the end is no part of it.
    corners = [(-a, (out - 1) * s - a - (n - 1)) for n, out, s, (a, _) in columns]
    first, last = zip(*corners[::-1], strict=True)
    return Images(
        problem.dtype.name, problem.in_channels, problem.input_size[::-1], problem.batch, first,
        last, problem.stride[::-1], tile.depth, tile.rows,
    )  # fmt: skip


def matrix_of(problem: ConvProblem, geometry: Geometry, tile: Tile) -> Matrix:
    """Describe the packed weights."""
    columns = steps_of(geometry, tile) * tile.depth
    return Matrix(problem.dtype.name, geometry.out_channels, columns, tile.columns, tile.depth)


def packed_weights(weight: Array, geometry: Geometry, tile: Tile) -> Array:
    """Give weights as (output channels, sum), as words: taps before channels, in whole steps."""
    outputs, columns = geometry.out_channels, steps_of(geometry, tile) * tile.depth
    packed: Any = np.zeros((outputs, geometry.taps, columns // geometry.taps), np.uint16)
    own = np.ascontiguousarray(weight).view(np.uint16).reshape(outputs, -1, geometry.taps)
    packed[..., : geometry.group_inputs] = own.transpose(0, 2, 1)
    return np.asarray(packed.reshape(outputs, -1))


def tiles_for(geometry: Geometry) -> list[Tile]:
    """Give the tiles, with as many channels a step as suit a convolution."""
    depth = depth_of(geometry)
    stages = [min(64 // depth * tile.stages, max(_MOST_STAGES, tile.stages)) for tile, _ in TILES]
    return [
        dataclasses.replace(tile, depth=depth, stages=count)
        for (tile, _), count in zip(TILES, stages, strict=True)
    ]


def tile_of(geometry: Geometry) -> Tile:
    """Give the tile by which the busiest multiprocessor is done first.

    Every tile sums in the same order, so the batch may have a say in it.
    """
    return min(tiles_for(geometry), key=lambda tile: _clocks(geometry, tile))


def _clocks(geometry: Geometry, tile: Tile) -> float:
    """Predict what the busiest multiprocessor takes: a block's ends go beside others' products."""
    part = {(t.rows, t.columns): part for t, part in TILES}[tile.rows, tile.columns]
    columns = -(-geometry.group_outputs // tile.columns)
    blocks = -(-geometry.rows // tile.rows) * columns * geometry.groups
    own = -(-blocks // _PROCESSORS)
    terms = steps_of(geometry, tile) * tile.depth / DEPTHS[tile.depth]
    products = terms * tile.rows * tile.columns / _PRODUCTS / part
    ends = _BEGIN + tile.rows * tile.columns / _SUMS
    return own * (products + ends / min(own, tile.resident))


def plan_hopper(
    problem: ConvProblem, weight: Array, bias: Array | None, tile: Tile | None = None
) -> CudaPlan:
    """Plan a convolution of channels-last images."""
    geometry = geometry_of(problem)
    tile = tile_of(geometry) if tile is None else tile
    kernel = hopper_gemm(
        tile, geometry, problem.n, lead(problem.kernel_size, 1), lead(problem.dilation, 1),
        KINDS[problem.dtype.name], bias is not None, problem.residual, problem.activation,
    )  # fmt: skip
    columns = -(-geometry.group_outputs // tile.columns)
    grid = (-(-geometry.rows // tile.rows) * columns, geometry.groups, 1)
    arguments = [
        TensorMap(INPUT(0), images_of(problem, tile)),
        TensorMap(
            constant(packed_weights(weight, geometry, tile)), matrix_of(problem, geometry, tile)
        ),
        None if bias is None else constant(bias, np.float32),
        INPUT(1) if problem.residual else None, OUTPUT,
    ]  # fmt: skip
    return CudaPlan([Launch(kernel, grid, arguments)])
