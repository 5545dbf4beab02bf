"""Winograd's minimal filtering in two dimensions, fused over blocks of tiles.

A work item transforms a block of input tiles, multiplies each of the n x n frequencies by its
transformed weights on the one GEMM tile, transforms back and does the epilogue, all in a worker's
scratch memory (Lavin and Gray, 2015). The matrices come from `cook_toom`.
"""

from __future__ import annotations

import dataclasses
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array, Cost
from fastconv.backends.cook_toom import Transform, transform, winograd_bound
from fastconv.backends.numba.conv.common import NumbaConv, unit
from fastconv.backends.numba.conv.geometry import output_words
from fastconv.backends.numba.conv.pack import Packed, pack_input
from fastconv.backends.numba.engine import SCRATCH, NativePlan, Stage, as_float, kernel, part
from fastconv.backends.numba.engine.plan import constant, scratch_stride
from fastconv.backends.numba.gemm import (
    clamp_words,
    fused,
    make_finish,
    pack_bias,
    pack_panels,
    tile_for,
)
from fastconv.backends.numba.gemm import scratch_bytes as finish_bytes
from fastconv.backends.numba.simd import (
    Matrix,
    Tile,
    linear_map,
    tile_load,
    tile_multiply_add,
    tile_store,
    tile_strided,
    tile_zero,
)
from fastconv.machine import Machine
from fastconv.problem import ConvProblem

# Rows of register tiles in a block: input tiles that are transformed and multiplied together.
BLOCK_TILES = 2

# Words of the argument block.
(A, A_IMAGE, A_ROW, A_COLUMN, CHANNELS, B, BIAS, OUT, OUT_IMAGE, OUT_ROWS, OUT_COLUMN, RESIDUAL,
 SLOPE, LOW, HIGH, HEIGHT, WIDTH, TILES_DOWN, TILES_ACROSS, COLUMN_COUNT, SCRATCH_BASE,
 SCRATCH_STRIDE) = range(22)  # fmt: skip


class Winograd(NumbaConv):
    """F(m x m, r x r) for stride 1, one group, no dilation."""

    def __init__(self, name: str, m: int, r: int) -> None:
        self.name = name
        self.f = transform(m, r)

    def why_not(self, problem: ConvProblem) -> str | None:
        r = self.f.r
        if problem.kernel_size != (r, r):
            kernel_size = " x ".join(map(str, problem.kernel_size))
            return f"kernel {kernel_size}: F({self.f.m}, {r}) is for {r} x {r}"
        if any(s != 1 for s in problem.stride + problem.dilation):
            return "stride or dilation above 1"
        if problem.groups != 1:
            return f"{problem.groups} groups: this kernel is for one"
        return super().why_not(problem)

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        f, tile = self.f, tile_for(problem.dtype, machine)
        tiles = problem.batch * prod(-(-length // f.m) for length in problem.output_size)
        rows = -(-tiles // tile.rows) * tile.rows
        channels = -(-problem.in_channels // tile.lanes) * tile.lanes
        columns = -(-problem.out_channels // tile.columns) * tile.columns
        size = problem.dtype.itemsize
        flops = 2 * f.n**2 * rows * channels * columns
        # Transforms run through L1 and L2, at some 4 times the speed of memory.
        transformed = 2 * size * f.n**2 * rows * (channels + columns)
        weights = size * f.n**2 * channels * columns
        packed = self._packed_bytes(problem, channels)
        moved = problem.bytes + packed + weights + transformed / 4
        seconds = flops / machine.peak_flops(problem.dtype) + moved / machine.memory_bandwidth
        return Cost(seconds, packed)

    def error_bound(self, problem: ConvProblem) -> float:
        return winograd_bound(self.f, problem.in_channels, unit(problem.dtype))

    def _padded(self, problem: ConvProblem) -> tuple[int, int]:
        height, width = (-(-o // self.f.m) * self.f.m + self.f.r - 1 for o in problem.output_size)
        return height, width

    def _packed_bytes(self, problem: ConvProblem, channels: int) -> int:
        return problem.batch * prod(self._padded(problem)) * channels * problem.dtype.itemsize

    def plan(self, problem: ConvProblem, *parameters: Array | None) -> NativePlan:
        weight, bias = parameters
        assert weight is not None
        tile = tile_for(problem.dtype)
        before = tuple(p[0] for p in problem.padding)
        packed = pack_input(
            problem,
            before,
            self._padded(problem),
            mode=problem.padding_mode,
            channel_multiple=tile.lanes,
        )
        kernels = self.f.kernel(weight)
        extra = packed.channels - problem.in_channels
        padded = np.pad(kernels, ((0, 0), (0, 0), (0, extra), (0, 0)))
        sizes = Sizes(self.f, tile, packed.channels, problem.out_channels)
        words = self._words(
            problem,
            packed,
            pack_panels(padded, tile),
            pack_bias(bias, 1, problem.out_channels, tile),
            tile,
            scratch_stride(sizes.total),
        )
        tiles = prod(-(-length // self.f.m) for length in problem.output_size)
        items = problem.batch * -(-tiles // (BLOCK_TILES * tile.rows))
        address = winograd(tile, self.f.m, self.f.r)
        return self.native_plan(
            problem,
            [*packed.stages, Stage(address, items, words)],
            workspace_bytes=packed.workspace_bytes,
            scratch_bytes=sizes.total,
        )

    def _words(
        self,
        problem: ConvProblem,
        packed: Packed,
        b: Array,
        bias: Array,
        tile: Tile,
        stride: int,
    ) -> list[Any]:
        size = tile.size
        out = output_words(problem)
        activation = problem.activation if fused(problem.activation) else None
        height, width = problem.output_size
        return [
            packed.slot, packed.image * size, packed.strides[1] * size, packed.strides[2] * size,
            packed.channels, constant(b), constant(bias), out["out"], out["out_image"],
            constant(out["out_rows"], np.int64), out["out_column"], out["residual"],
            *clamp_words(activation), height, width, -(-height // self.f.m), -(-width // self.f.m),
            problem.out_channels, SCRATCH, stride,
        ]  # fmt: skip


class Winograd2x2(Winograd):
    """F(2 x 2, 3 x 3): 2.25 times fewer multiplications, hardly any loss of accuracy."""

    def __init__(self) -> None:
        super().__init__("winograd", 2, 3)


class Winograd4x4(Winograd):
    """F(4 x 4, 3 x 3): 4 times fewer multiplications."""

    def __init__(self) -> None:
        super().__init__("winograd4", 4, 3)


class Winograd6x6(Winograd):
    """F(6 x 6, 3 x 3): 5.06 times fewer multiplications, at the cost of a digit."""

    def __init__(self) -> None:
        super().__init__("winograd6", 6, 3)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Bytes of the parts of a worker's scratch memory."""

    f: Transform
    tile: Tile
    channels: int
    columns: int

    @property
    def wide(self) -> int:
        """Output channels, filled up to whole panels."""
        return -(-self.columns // self.tile.columns) * self.tile.columns

    @property
    def block(self) -> int:
        """Tiles in a block."""
        return BLOCK_TILES * self.tile.rows

    @property
    def total(self) -> int:
        """All of them, in order.

        The corner for stores that need one, a tile between its two passes, a group of output
        tiles, transformed inputs, products.
        """
        n2, pixels = self.f.n**2, output_tile(self.tile, self.f.m)
        between, outputs = n2 * self.tile.lanes, self.f.m * pixels.rows * self.tile.lanes
        elements = between + outputs + n2 * self.block * (self.channels + self.wide)
        return finish_bytes(pixels) + elements * self.tile.size


def output_tile(tile: Tile, m: int) -> Tile:
    """Give the register tile of a line of outputs: as many tiles of m beside each other as fit."""
    return dataclasses.replace(tile, rows=max(1, tile.lanes // m) * m, vectors=1)


def _matrix(rows: Any) -> Matrix:
    return Matrix(tuple(tuple(float(entry) for entry in row) for row in rows))


@kernel
def winograd(tile: Tile, m: int, r: int):  # type: ignore[no-untyped-def]
    """F(m x m, r x r): a work item is a block of tiles of one image."""
    f = transform(m, r)
    n, lanes, size, rows, columns = f.n, tile.lanes, tile.size, tile.rows, tile.columns
    bt, at = _matrix(f.bt), _matrix(f.at)
    pixels = output_tile(tile, m)
    group = pixels.rows // m
    finish = make_finish(pixels)
    block = BLOCK_TILES * rows
    corner = finish_bytes(pixels)
    vector = lanes * size
    line = pixels.rows * vector

    @part
    def transform_input(source, row_bytes, column_bytes, between, target, frequency):  # type: ignore[no-untyped-def]
        for j in range(n):
            linear_map(
                tile, bt, source + j * column_bytes, row_bytes, between + j * vector, n * vector
            )
        for i in range(n):
            linear_map(
                tile, bt, between + i * n * vector, vector, target + i * n * frequency, frequency
            )

    @part
    def transform_output(source, frequency, between, target):  # type: ignore[no-untyped-def]
        for j in range(n):
            linear_map(
                tile, at, source + j * frequency, n * frequency, between + j * vector, n * vector
            )
        for i in range(m):
            linear_map(tile, at, between + i * n * vector, vector, target + i * line, vector)

    @part
    def multiply(a, a_row, depth, b, panels, out, out_row, count):  # type: ignore[no-untyped-def]
        for panel in range(panels):
            for row in range(0, count, rows):
                values = tile_zero(tile)
                addresses = tile_strided(tile, a + row * a_row, a_row)
                weights = b + panel * depth * columns * size
                values = tile_multiply_add(tile, values, addresses, 0, weights, depth)
                places = tile_strided(tile, out + row * out_row + panel * columns * size, out_row)
                tile_store(tile, values, places)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        channels, column_count = args[CHANNELS], args[COLUMN_COUNT]
        height, width = args[HEIGHT], args[WIDTH]
        across = args[TILES_ACROSS]
        tiles = args[TILES_DOWN] * across
        blocks = (tiles + block - 1) // block
        panels = (column_count + columns - 1) // columns
        a_row, out_row = channels * size, panels * columns * size
        a_frequency, out_frequency = block * a_row, block * out_row
        base = args[SCRATCH_BASE] + worker * args[SCRATCH_STRIDE]
        between = base + corner
        outputs = between + n * n * vector
        inputs = outputs + m * line
        products = inputs + n * n * a_frequency
        slope, low, high = as_float(args[SLOPE]), as_float(args[LOW]), as_float(args[HIGH])
        for item in range(first, last):
            image, b = divmod(item, blocks)
            start = b * block
            count = min(block, tiles - start)
            # Rows that fill the last register tile up repeat the last tile: never left unset.
            filled = (count + rows - 1) // rows * rows
            for t in range(filled):
                down, right = divmod(min(start + t, tiles - 1), across)
                source = (
                    args[A]
                    + image * args[A_IMAGE]
                    + down * m * args[A_ROW]
                    + right * m * args[A_COLUMN]
                )
                for c in range(0, channels, lanes):
                    transform_input(
                        source + c * size,
                        args[A_ROW],
                        args[A_COLUMN],
                        between,
                        inputs + t * a_row + c * size,
                        a_frequency,
                    )
            for q in range(n * n):
                multiply(
                    inputs + q * a_frequency,
                    a_row,
                    channels,
                    args[B] + q * panels * channels * columns * size,
                    panels,
                    products + q * out_frequency,
                    out_row,
                    filled,
                )
            shift = image * args[OUT_IMAGE]
            residual = args[RESIDUAL]
            if residual != 0:
                residual += shift
            t = 0
            while t < count:
                down, right = divmod(start + t, across)
                some = min(group, count - t, across - right)
                pixel = down * m * width + right * m
                end = min(some * m, width - right * m)
                for c in range(0, out_row, vector):
                    for g in range(some):
                        source = products + (t + g) * out_row + c
                        transform_output(source, out_frequency, between, outputs + g * m * vector)
                    for i in range(min(m, height - down * m)):
                        first_pixel = pixel + i * width
                        finish(
                            tile_load(pixels, tile_strided(pixels, outputs + i * line, vector)),
                            args[BIAS] + c, args[OUT] + shift, residual, args[OUT_ROWS],
                            args[OUT_COLUMN], first_pixel, first_pixel + end, c // size,
                            column_count, slope, low, high, base,
                        )  # fmt: skip
                t += some

    return body
