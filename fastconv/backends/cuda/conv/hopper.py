"""Convolutions on Hopper's tensor cores: plans of `hopper_gemm`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fastconv.backends.base import Array, Cost
from fastconv.backends.cuda.algorithm import BYTES, CROWD, LAUNCH, CudaAlgorithm
from fastconv.backends.cuda.conv.direct import geometry_of
from fastconv.backends.cuda.conv.hopper_gemm import Tile, hopper_gemm
from fastconv.backends.cuda.conv.implicit_gemm import Geometry
from fastconv.backends.cuda.engine.device import current_arch
from fastconv.backends.cuda.engine.plan import OUTPUT, CudaPlan, Launch, TensorMap
from fastconv.backends.cuda.engine.tensormap import Images, Matrix, most_offset, why_not
from fastconv.backends.cuda.transpose import channels_last
from fastconv.backends.native.bounds import FILTER_SIGMAS
from fastconv.backends.native.conv.geometry import lead
from fastconv.backends.native.plan import INPUT, constant
from fastconv.machine import Machine
from fastconv.problem import ConvProblem

# Arrays' dtypes and what float32 may be rounded to, as instructions name what they multiply: tf32
# is nearer to float32 than either half, and no array need be rounded beforehand.
KINDS = {
    ("float16", None): "f16",
    ("bfloat16", None): "bf16",
    ("float32", "tf32"): "tf32",
    ("float32", "fp16"): "tf32",
    ("float32", "bf16"): "tf32",
}
ARCH = "sm_90a"
# A large Hopper GPU: multiprocessors, clocks a second under such load, and bytes of factors of one
# side that are multiplied in a clock: 2048 halves.
_PROCESSORS, _CLOCK, _FACTORS = 132, 1.4e9, 4096
# Clocks before a block's first product, and sums that leave it in a clock.
_BEGIN, _SUMS = 1500, 8
# Tiles, and what part of the tensor cores' peak their products come to: how often a step reads the
# smaller side of a tile.
TILES = (
    (Tile(2, 256, 4), 1.0),
    (Tile(2, 192, 4), 0.95),
    (Tile(2, 128, 3), 0.9),
    (Tile(2, 96, 3), 0.75),
    (Tile(2, 64, 4), 0.6),
    (Tile(1, 64, 6), 0.5),
)
# Bytes of a step of a pixel, and what part of the speed is left: each step has its barriers.
LINES = {128: 1.0, 64: 0.9, 32: 0.75}
# The largest relative error of a factor of which TMA makes a tf32: how it rounds is not told.
_TF32 = 2.0**-10
# Steps on their way, where these have less than 128 bytes.
_MOST_STAGES = 8


class DirectHopper(CudaAlgorithm):
    """Implicit GEMM by warpgroups: halves, or float32 rounded to tf32; sums in float32."""

    name = "direct_hopper"
    moves_parameters = True

    def why_not(self, problem: ConvProblem) -> str | None:
        if kind_of(problem) is None:
            return (
                f"{problem.dtype.name}, precision {problem.precision}: this kernel is for float16, "
                f"bfloat16, and float32 that may be rounded to tf32"
            )
        if problem.padding_mode != "zeros":
            return f"padding mode {problem.padding_mode}: this kernel pads with zeros"
        if 0 in problem.output_shape:
            return "an empty output"
        return _why_not_tiles(problem) or _why_not_here()

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        one = geometry_of(problem)
        geometry = dataclasses.replace(one, batch=CROWD * one.batch)
        clocks = _clocks(geometry, tile_of(geometry, problem.dtype.itemsize)) / CROWD
        return Cost(LAUNCH + max(clocks / _CLOCK, problem.bytes / BYTES))

    def manner(self, problem: ConvProblem) -> str | None:
        if kind_of(problem) == "tf32":
            return "factors rounded to tf32, as allowed, sums in float32"
        return "sums in float32"

    def error_bound(self, problem: ConvProblem) -> float:
        # Tensor cores cut off where a float32 sum would be rounded.
        sums = problem.sum_length * 2 * float(np.finfo(np.float32).eps)
        return sums + (2 * _TF32 * FILTER_SIGMAS if kind_of(problem) == "tf32" else 0.0)

    def launches(self, problem: ConvProblem, *parameters: Array | None) -> CudaPlan:
        weight, bias = parameters
        assert weight is not None
        return channels_last(problem, lambda turned: plan_hopper(turned, weight, bias))


def _why_not_tiles(problem: ConvProblem) -> str | None:
    geometry = geometry_of(problem)
    least = min(LINES) // problem.dtype.itemsize
    if geometry.groups > 1 and geometry.group_inputs % least:
        return f"groups of {geometry.group_inputs} channels: not a multiple of {least}"
    if geometry.rows >= 1 << 30:
        return f"{geometry.rows} output pixels: more than the kernel counts"
    most = most_offset(problem.n)
    reach = max((k - 1) * d for k, d in zip(problem.kernel_size, problem.dilation, strict=True))
    if reach > most:
        return f"a window of {reach + 1} pixels: TMA takes {most + 1} in {problem.n} dimensions"
    tile = tile_of(geometry, problem.dtype.itemsize)
    return why_not(images_of(problem, tile)) or why_not(matrix_of(problem, geometry, tile))


def _why_not_here() -> str | None:
    try:
        arch = current_arch()
    except ValueError as error:
        return str(error)
    return None if arch == ARCH else f"this kernel is for {ARCH}, and the GPU is {arch}"


def kind_of(problem: ConvProblem) -> str | None:
    """Return what warpgroups multiply a problem's factors as; None: they may not."""
    return KINDS.get((problem.dtype.name, problem.precision))


def line_of(geometry: Geometry, item: int) -> int:
    """Return the bytes of a step: few, where more would be zeros, or another group's."""
    size = geometry.group_inputs * item
    given = [line for line in LINES if geometry.groups == 1 or size % line == 0]
    return min(given, key=lambda line: -(-size // line) * line / LINES[line])


def steps_of(geometry: Geometry, tile: Tile) -> int:
    """Return the steps of a sum: each tap's channels in whole ones."""
    return geometry.taps * -(-geometry.group_inputs // tile.depth)


def images_of(problem: ConvProblem, tile: Tile) -> Images:
    """Describe the images by the windows that begin in them."""
    columns = zip(
        problem.input_size, problem.output_size, problem.stride, problem.padding, strict=True
    )
    # From the first window to the last: what a stride leaves over at the end is not part of it.
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
    """Return weights as (output channels, sum): taps before channels, in whole steps."""
    outputs, columns = geometry.out_channels, steps_of(geometry, tile) * tile.depth
    packed: Any = np.zeros((outputs, geometry.taps, columns // geometry.taps), weight.dtype)
    own = weight.reshape(outputs, -1, geometry.taps)
    packed[..., : geometry.group_inputs] = own.transpose(0, 2, 1)
    return np.asarray(packed.reshape(outputs, -1))


def tiles_for(geometry: Geometry, item: int) -> list[Tile]:
    """Return the tiles, with as many channels a step as suit a convolution."""
    line = line_of(geometry, item)
    found = []
    for tile, _ in TILES:
        stages = min(128 // line * tile.stages, max(_MOST_STAGES, tile.stages))
        found.append(dataclasses.replace(tile, line=line, item=item, stages=stages))
    return found


def tile_of(geometry: Geometry, item: int) -> Tile:
    """Return the tile by which the busiest multiprocessor is done first.

    Every tile sums in the same order, so the batch may have a say in it.
    """
    return min(tiles_for(geometry, item), key=lambda tile: _clocks(geometry, tile))


def _clocks(geometry: Geometry, tile: Tile) -> float:
    """Predict the busiest multiprocessor's time: a block's ends overlap with others' products."""
    part = {(t.rows, t.columns): part for t, part in TILES}[tile.rows, tile.columns]
    columns = -(-geometry.group_outputs // tile.columns)
    blocks = -(-geometry.rows // tile.rows) * columns * geometry.groups
    own = -(-blocks // _PROCESSORS)
    size = steps_of(geometry, tile) * tile.line / LINES[tile.line]
    products = size * tile.rows * tile.columns / _FACTORS / part
    ends = _BEGIN + tile.rows * tile.columns / _SUMS
    return own * (products + ends / min(own, tile.resident))


def plan_hopper(
    problem: ConvProblem, weight: Array, bias: Array | None, tile: Tile | None = None
) -> CudaPlan:
    """Plan a convolution of channels-last images."""
    geometry = geometry_of(problem)
    tile = tile_of(geometry, problem.dtype.itemsize) if tile is None else tile
    kind = kind_of(problem)
    assert kind is not None
    kernel = hopper_gemm(
        tile, geometry, problem.n, lead(problem.kernel_size, 1), lead(problem.dilation, 1),
        kind, bias is not None, problem.residual, problem.activation,
    )  # fmt: skip
    columns = -(-geometry.group_outputs // tile.columns)
    grid = (-(-geometry.rows // tile.rows) * columns, geometry.groups, 1)
    arguments = [
        TensorMap(INPUT(0), images_of(problem, tile)),
        TensorMap(
            constant(packed_weights(weight, geometry, tile)), matrix_of(problem, geometry, tile)
        ),
        None if bias is None else constant(bias),
        INPUT(1) if problem.residual else None, OUTPUT,
    ]  # fmt: skip
    return CudaPlan([Launch(kernel, grid, arguments)])
