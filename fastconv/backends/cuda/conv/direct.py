"""Direct convolution on the GPU: the implicit GEMM's plan, weights and table packed."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.conv.implicit_gemm import (
    BIT_WORDS,
    END_BIT,
    OUTSIDE,
    TABLE_WORDS,
    Geometry,
    implicit_gemm,
)
from fastconv.backends.cuda.conv.padded import padded_first
from fastconv.backends.cuda.conv.split import adding, sliced
from fastconv.backends.cuda.engine.plan import OUTPUT, WORKSPACE, Argument, CudaPlan, Launch
from fastconv.backends.cuda.tile import BLOCKS, DEPTH, TILES, Tile
from fastconv.backends.cuda.transpose import channels_last
from fastconv.backends.native.conv.geometry import lead, offsets
from fastconv.backends.native.plan import INPUT, constant
from fastconv.problem import ConvProblem
from fastconv.problem.activation import Activation

# The first input.
IMAGES = INPUT(0)
# What an int32 counts, a tile's rows left; and what a grid holds in its third dimension.
MOST_CELLS, MOST_GROUPS = 2**31 - 256, 65535


class Direct(CudaAlgorithm):
    """Implicit GEMM on float32 multiply-adds, channels last inside."""

    name = "direct"
    moves_parameters = True

    def why_not(self, problem: ConvProblem) -> str | None:
        return why_not_outsized(problem) or super().why_not(problem)

    def error_bound(self, problem: ConvProblem) -> float:
        return problem.sum_length * float(np.finfo(np.float32).eps)

    def launches(self, problem: ConvProblem, *parameters: Array | None) -> CudaPlan:
        weight, bias = parameters
        assert weight is not None

        def inner(zeros: ConvProblem) -> CudaPlan:
            return plan_direct(zeros, weight, bias)

        return channels_last(problem, lambda turned: padded_first(turned, inner))


def why_not_outsized(problem: Any) -> str | None:
    """Return why an image's offsets, or a grid's groups, do not fit; None: they do."""
    if max(prod(problem.input_shape[1:]), prod(problem.output_shape[1:])) >= MOST_CELLS:
        return f"images of {MOST_CELLS} cells and more: offsets inside one have 32 bits"
    if problem.groups > MOST_GROUPS:
        return f"more than {MOST_GROUPS} groups, which are a grid's third dimension"
    return None


def geometry_of(problem: ConvProblem) -> Geometry:
    """Return what is baked into a convolution's kernel."""
    pairs = zip(
        problem.input_size, problem.output_size, problem.kernel_size, problem.stride,
        problem.padding, problem.dilation, strict=True,
    )  # fmt: skip
    leaves = tuple(
        before > 0 or (out - 1) * s - before + (k - 1) * d >= size
        for size, out, k, s, (before, _), d in pairs
    )
    before = tuple(pair[0] for pair in problem.padding)
    d, h, w = (False,) * (3 - len(leaves)) + leaves
    return Geometry(
        problem.batch, lead(problem.input_size, 1), lead(problem.output_size, 1),
        lead(problem.stride, 1), lead(before, 0), problem.in_channels, problem.out_channels,
        problem.groups, prod(problem.kernel_size), (d, h, w),
        lattice=tuple(zip(lead(problem.kernel_size, 1), lead(problem.dilation, 1), strict=True)),
    )  # fmt: skip


def tile_of(geometry: Geometry) -> Tile:
    """Return the largest tile of which there are enough for all of the GPU.

    What a block adds up of slices is in the shared memory that every GPU grants: the largest
    tile has too much of it.
    """
    for tile in TILES if geometry.slices == 1 else TILES[1:]:
        columns = -(-geometry.group_outputs // tile.columns)
        blocks = -(-geometry.rows // tile.rows) * columns * geometry.groups
        wasted = columns * tile.columns >= 2 * geometry.group_outputs
        if blocks >= BLOCKS and not wasted:
            return tile
    return TILES[-1]


def plan_direct(
    problem: ConvProblem, weight: Array, bias: Array | None, tile: Tile | None = None
) -> CudaPlan:
    """Plan a convolution of channels-last images."""
    geometry = sliced(geometry_of(problem))
    tile = tile_of(geometry) if tile is None else tile
    steps = zip(lead(problem.kernel_size, 1), lead(problem.dilation, 1), strict=True)
    table = table_of(geometry, [np.arange(k) * d for k, d in steps])
    biases = None if bias is None else constant(bias)
    residual = INPUT(1) if problem.residual else None
    if not geometry.apart:
        launch = gemm_launch(
            tile, geometry, weight, table, bias=biases, residual=residual,
            activation=problem.activation,
        )  # fmt: skip
        return CudaPlan([launch])
    launches = [
        gemm_launch(tile, geometry, weight, table, target=WORKSPACE),
        adding(geometry, WORKSPACE, biases, residual, problem.activation, OUTPUT),
    ]
    size = 4 * geometry.slices * geometry.rows * geometry.out_channels
    return CudaPlan(launches, workspace_bytes=size)


def gemm_launch(
    tile: Tile,
    geometry: Geometry,
    weight: Array,
    table: Array,
    *,
    source: Argument = IMAGES,
    bias: Argument = None,
    residual: Argument = None,
    activation: Activation | None = None,
    target: Argument = OUTPUT,
) -> Launch:
    """Return the launch of an implicit GEMM; ``weight`` is (out, in / groups, taps).

    Raises
    ------
    ValueError
        For a batch of more output pixels than 32 bits count.
    """
    if geometry.rows >= MOST_CELLS:
        raise ValueError(
            f"{geometry.rows} output pixels: this kernel counts up to {MOST_CELLS}; split the batch"
        )
    kernel = implicit_gemm(tile, geometry, bias is not None, residual is not None, activation)
    grid = (
        -(-geometry.rows // tile.rows),
        -(-geometry.group_outputs // tile.columns),
        geometry.groups * (geometry.slices if geometry.apart else 1),
    )
    packed = constant(packed_weights(weight, geometry, tile))
    return Launch(kernel, grid, [source, packed, constant(table), bias, residual, target])


def packed_weights(weight: Array, geometry: Geometry, tile: Tile) -> Array:
    """Return weights as (groups, sum, columns): taps before channels, zeros to whole tiles.

    There is one step more than the sum has, which is fetched and never multiplied.
    """
    groups, outputs, inputs = geometry.groups, geometry.group_outputs, geometry.group_inputs
    columns = -(-outputs // tile.columns) * tile.columns
    packed = np.zeros((groups, geometry.depth + DEPTH, columns), weight.dtype)
    own = weight.reshape(groups, outputs, inputs, geometry.taps)
    packed[:, : geometry.taps * inputs, :outputs] = own.transpose(0, 3, 2, 1).reshape(
        groups, geometry.taps * inputs, outputs
    )
    return packed


def table_of(geometry: Geometry, steps: Sequence[Array]) -> Array:
    """Return where the sum's terms are: cells from a window's first, and the tap's place.

    ``steps`` are the taps' places in a window, a dimension. A row is a step of 8 channels where
    those are all of one tap, else one term: of a small window, with its coordinates' bits.
    """
    places = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)
    _, height, width = geometry.input_size
    pixel = geometry.pitch or geometry.in_channels
    strides = (height * width * pixel, width * pixel, pixel)
    taps = offsets(*(s * t for s, t in zip(steps, strides, strict=True)))
    each = DEPTH if geometry.whole_steps else 1
    channels = np.arange(0, geometry.group_inputs, each)
    rows = (geometry.depth + DEPTH) // each
    table: Any = np.zeros((rows, TABLE_WORDS), np.int64)
    table[:, 3] = 0 if geometry.whole_steps else OUTSIDE
    count = len(taps) * len(channels)
    if geometry.has_bits:
        table = np.full((rows, BIT_WORDS), (0, 1 << END_BIT), np.int64)
        table[:count, 1] = np.repeat(_bits(geometry), len(channels))
    else:
        table[:count, 1:] = np.repeat(places, len(channels), 0)
    table[:count, 0] = (taps[:, None] + channels).reshape(-1)
    return np.asarray(table, np.int32)


def _bits(geometry: Geometry) -> Array:
    """Return the bits of each tap's coordinates, those of one dimension behind another's."""
    assert geometry.lattice is not None
    own, first = [], 0
    for (taps, _), count in zip(geometry.lattice, geometry.bits, strict=True):
        places = np.arange(first, first + taps)
        own.append(1 << places if count else np.zeros(taps, np.int64))
        first += count
    return offsets(*own)
