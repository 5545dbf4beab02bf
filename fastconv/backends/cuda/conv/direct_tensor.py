"""Direct convolution on tensor cores: float16, bfloat16, and float32 where rounding is allowed."""

from __future__ import annotations

import dataclasses
from math import prod, sqrt

import numpy as np

from fastconv.backends.base import Array, Cost
from fastconv.backends.cuda.algorithm import BYTES, LAUNCH, CudaAlgorithm
from fastconv.backends.cuda.conv.channels import filling
from fastconv.backends.cuda.conv.direct import (
    BLOCKS,
    IMAGES,
    MOST_CELLS,
    geometry_of,
    why_not_outsized,
)
from fastconv.backends.cuda.conv.implicit_gemm import Geometry
from fastconv.backends.cuda.conv.padded import padded_first
from fastconv.backends.cuda.conv.tensor_gemm import MOST_BITS, tap_bits, tensor_gemm
from fastconv.backends.cuda.conv.tensor_pack import packed_weights, table_of
from fastconv.backends.cuda.conv.tensor_tile import Products, TensorTile
from fastconv.backends.cuda.engine.plan import OUTPUT, WORKSPACE, Argument, CudaPlan, Launch
from fastconv.backends.cuda.transpose import channels_last
from fastconv.backends.native.bounds import FILTER_SIGMAS
from fastconv.backends.native.conv.geometry import lead
from fastconv.backends.native.plan import INPUT, constant
from fastconv.machine import Machine
from fastconv.problem import ConvProblem, Problem
from fastconv.problem.activation import Activation

# What arrays of a dtype, and float32 arrays that allow a precision, are multiplied as.
BY_DTYPE = {"float16": Products("f16", "f16"), "bfloat16": Products("bf16", "bf16")}
BY_PRECISION = {
    "tf32": Products("tf32", "f32"),
    "3xtf32": Products("tf32", "f32", thrice=True),
    "fp16": Products("f16", "f32"),
    "bf16": Products("bf16", "f32"),
}
# The largest relative error of a factor that is rounded.
UNITS = {"tf32": 2.0**-11, "f16": 2.0**-11, "bf16": 2.0**-8}
# A large card's multiply-adds, by which algorithms are ranked.
RATES = {"f16": 300e12, "bf16": 300e12, "tf32": 150e12}
TILES = (TensorTile(128, 128, 64, 64), TensorTile(128, 64, 64, 32), TensorTile(64, 64, 32, 32))
# Factors in two parts take twice the registers.
THRICE_TILES = (TensorTile(128, 128, 64, 32), *TILES[1:])


class DirectTensor(CudaAlgorithm):
    """Implicit GEMM on tensor cores, channels last inside; sums are float32."""

    name = "direct_tensor"
    moves_parameters = True

    def why_not(self, problem: ConvProblem) -> str | None:
        refused = why_not_products(problem)
        if refused is not None:
            return refused
        if 0 in problem.output_shape:
            return "an empty output"
        if tap_bits(geometry_of(problem), lead(problem.kernel_size, 1))[3] >= MOST_BITS:
            return f"windows leave images, and have {MOST_BITS - 1} taps or more, lengths added"
        return why_not_outsized(problem)

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        products = products_of(problem)
        assert products is not None
        geometry = geometry_of(problem)
        filled = _filled(geometry, products)
        flops = problem.flops * filled.group_inputs / geometry.group_inputs
        launches = 1 if filled is geometry else 2
        return Cost(launches * LAUNCH + max(flops / rate_of(problem), problem.bytes / BYTES))

    def error_bound(self, problem: ConvProblem) -> float:
        products = products_of(problem)
        assert products is not None
        return bound(products, problem.sum_length)

    def manner(self, problem: ConvProblem) -> str | None:
        return manner_of(problem)

    def launches(self, problem: ConvProblem, *parameters: Array | None) -> CudaPlan:
        weight, bias = parameters
        assert weight is not None

        def inner(zeros: ConvProblem) -> CudaPlan:
            return plan_tensor(zeros, weight, bias)

        return channels_last(problem, lambda turned: padded_first(turned, inner))


def products_of(problem: Problem) -> Products | None:
    """Give how tensor cores multiply a problem's factors; None: they may not."""
    if problem.dtype.name == "float32":
        precision = getattr(problem, "precision", None)
        return None if precision is None else BY_PRECISION[precision]
    return BY_DTYPE.get(problem.dtype.name)


def why_not_products(problem: Problem) -> str | None:
    """Say why tensor cores may not, or cannot, multiply a problem's factors; None: they can."""
    if products_of(problem) is not None:
        return None
    if problem.dtype.name == "float32":
        return "tensor cores round float32's factors: ask for it by precision="
    return f"{problem.dtype.name}: tensor cores have no such products here"


def manner_of(problem: Problem) -> str:
    """Say how products are made."""
    products = products_of(problem)
    if products is None or products.stored != "f32":
        return "sums in float32"
    parts = " in two parts" if products.thrice else ""
    return f"factors rounded to {products.factor}{parts}, as allowed, sums in float32"


def rate_of(problem: Problem) -> float:
    """Give the operations a second of a large card, by which algorithms are ranked."""
    products = products_of(problem)
    assert products is not None
    return RATES[products.factor] / (3 if products.thrice else 1)


def bound(products: Products, length: int) -> float:
    """Give the largest error of a sum of ``length`` products, relative to its standard deviation.

    Factors' roundings are independent, of standard deviation unit / sqrt(3) at most, and add as
    random numbers do. Split factors leave what a rest is rounded by, and the product of two rests:
    a unit of each unit. Tensor cores cut what does not fit in a sum, which adds up.
    """
    unit = UNITS[products.factor] if products.stored == "f32" else 0.0
    if products.thrice:
        unit = 2 * unit**2
    terms = 3 * length if products.thrice else length
    return FILTER_SIGMAS * unit * sqrt(2 / 3) + terms * float(np.finfo(np.float32).eps)


def tile_of(geometry: Geometry, products: Products) -> TensorTile:
    """Give the largest tile of which there are enough for all of the card.

    A sum's order is the same in all of them.
    """
    for tile in THRICE_TILES if products.thrice else TILES:
        columns = -(-geometry.group_outputs // tile.columns)
        blocks = -(-geometry.rows // tile.rows) * columns * geometry.groups
        wasted = columns * tile.columns >= 2 * geometry.group_outputs
        if blocks >= BLOCKS and not wasted:
            return tile
    return TILES[-1]


def plan_tensor(
    problem: ConvProblem, weight: Array, bias: Array | None, tile: TensorTile | None = None
) -> CudaPlan:
    """Plan a convolution of channels-last images."""
    products = products_of(problem)
    assert products is not None
    return tensor_plan(
        products, geometry_of(problem), weight,
        kernel_size=lead(problem.kernel_size, 1), dilation=lead(problem.dilation, 1), bias=bias,
        residual=INPUT(1) if problem.residual else None, activation=problem.activation, tile=tile,
    )  # fmt: skip


def tensor_plan(
    products: Products,
    geometry: Geometry,
    weight: Array,
    *,
    kernel_size: tuple[int, int, int] = (1, 1, 1),
    dilation: tuple[int, int, int] = (1, 1, 1),
    bias: Array | None = None,
    residual: Argument = None,
    activation: Activation | None = None,
    tile: TensorTile | None = None,
) -> CudaPlan:
    """Plan an implicit GEMM on tensor cores; ``weight`` is (out, in / groups, taps).

    Channels that do not come in chunks of 16 bytes are copied first, with zeros between groups.

    Raises
    ------
    ValueError
        For a batch of more output pixels, or of more input, than 32 bits count.
    """
    filled = _filled(geometry, products)
    cells = geometry.batch * prod(geometry.input_size)
    if max(geometry.rows, cells * filled.in_channels // products.chunk) >= MOST_CELLS:
        raise ValueError(
            f"a batch of {geometry.rows} output pixels and {cells * filled.in_channels} elements: "
            f"this kernel counts up to {MOST_CELLS} of either; split the batch"
        )
    launches: list[Launch] = []
    source, size = IMAGES, 0
    if filled is not geometry:
        source, groups = WORKSPACE, cells * geometry.groups
        size = groups * filled.group_inputs * products.element_bytes
        launches.append(
            filling(
                groups, geometry.group_inputs, filled.group_inputs, products.stored, IMAGES, source
            )
        )
    tile = tile_of(filled, products) if tile is None else tile
    kernel = tensor_gemm(
        tile, products, filled, kernel_size, dilation, bias is not None, residual is not None,
        activation,
    )  # fmt: skip
    blocks = -(-filled.rows // tile.rows) * -(-filled.group_outputs // tile.columns)
    packed = constant(packed_weights(weight, filled, tile, products))
    table = constant(table_of(filled, kernel_size, dilation, products))
    offsets = None if bias is None else constant(bias)
    launches.append(
        Launch(
            kernel, (blocks, filled.groups, 1), [source, packed, table, offsets, residual, OUTPUT]
        )
    )
    return CudaPlan(launches, workspace_bytes=size)


def _filled(geometry: Geometry, products: Products) -> Geometry:
    """Give a geometry whose groups' channels come in whole chunks: its own, if they do."""
    whole = -(-geometry.group_inputs // products.chunk) * products.chunk
    if whole == geometry.group_inputs:
        return geometry
    return dataclasses.replace(geometry, in_channels=whole * geometry.groups)
