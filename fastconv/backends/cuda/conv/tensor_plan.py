"""Plans of the tensor cores' GEMM: how products are made, of which tiles, how it is launched."""

from __future__ import annotations

import dataclasses
from math import prod, sqrt

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.cuda.conv.channels import filling
from fastconv.backends.cuda.conv.direct import IMAGES, MOST_CELLS
from fastconv.backends.cuda.conv.implicit_gemm import Geometry
from fastconv.backends.cuda.conv.tensor_gemm import tensor_gemm
from fastconv.backends.cuda.conv.tensor_pack import packed_weights, table_of
from fastconv.backends.cuda.conv.tensor_tile import Products, TensorTile
from fastconv.backends.cuda.engine.plan import OUTPUT, WORKSPACE, Argument, CudaPlan, Launch
from fastconv.backends.cuda.tile import BLOCKS
from fastconv.backends.native.bounds import FILTER_SIGMAS
from fastconv.backends.native.plan import constant
from fastconv.problem import Problem
from fastconv.problem.activation import Activation

# What arrays of a dtype, and float32 arrays that allow a precision, are multiplied as.
BY_DTYPE = {"float16": Products("f16", "float16"), "bfloat16": Products("bf16", "bfloat16")}
BY_PRECISION = {
    "tf32": Products("tf32", "float32"),
    "3xtf32": Products("tf32", "float32", thrice=True),
    "fp16": Products("f16", "float32"),
    "bf16": Products("bf16", "float32"),
}
# The largest relative error of a factor that is rounded.
UNITS = {"tf32": 2.0**-11, "f16": 2.0**-11, "bf16": 2.0**-8}
# A large GPU's multiply-adds, by which algorithms are ranked.
RATES = {"f16": 300e12, "bf16": 300e12, "tf32": 150e12}
THRICE_RATE = 70e12
# The smallest is for what leaves most of a GPU idle: more copies are on their way in each block.
TILES = (
    TensorTile(128, 128, 64, 64),
    TensorTile(128, 64, 64, 32),
    TensorTile(64, 64, 32, 32),
    TensorTile(32, 32, 16, 16, stages=6),
)
# Factors in two parts take twice the registers.
THRICE_TILES = (TensorTile(128, 128, 64, 32), *TILES[1:])


def products_of(problem: Problem) -> Products | None:
    """Return how tensor cores multiply a problem's factors; None: they may not."""
    if problem.dtype.name == "float32":
        precision = getattr(problem, "precision", None)
        return None if precision is None else BY_PRECISION[precision]
    return BY_DTYPE.get(problem.dtype.name)


def why_not_products(problem: Problem) -> str | None:
    """Return why tensor cores may not, or cannot, multiply a problem's factors; None: they can."""
    if products_of(problem) is not None:
        return None
    if problem.dtype.name == "float32":
        return "tensor cores round float32's factors: ask for it by precision="
    return f"{problem.dtype.name}: tensor cores have no such products here"


def manner_of(problem: Problem) -> str:
    """Return how products are made."""
    products = products_of(problem)
    if products is None or products.stored != "float32":
        return "sums in float32"
    parts = " in two parts" if products.thrice else ""
    return f"factors rounded to {products.factor}{parts}, as allowed, sums in float32"


def rate_of(problem: Problem) -> float:
    """Return the operations a second of a large GPU, by which algorithms are ranked."""
    products = products_of(problem)
    assert products is not None
    return THRICE_RATE if products.thrice else RATES[products.factor]


def bound(products: Products, length: int) -> float:
    """Return the largest error of a sum of ``length`` products, relative to its standard deviation.

    Factors' roundings are independent, of standard deviation unit / sqrt(3) at most, and add as
    random numbers do. Split factors leave what a rest is rounded by, and the product of two rests:
    a unit of each unit. Tensor cores cut what does not fit in a sum, which adds up.
    """
    unit = UNITS[products.factor] if products.stored == "float32" else 0.0
    if products.thrice:
        unit = 2 * unit**2
    terms = 3 * length if products.thrice else length
    return FILTER_SIGMAS * unit * sqrt(2 / 3) + terms * float(np.finfo(np.float32).eps)


def tile_of(geometry: Geometry, products: Products) -> TensorTile:
    """Return the largest tile of which there are enough for all of the GPU.

    A sum's order is the same in all of them.
    """
    for tile in THRICE_TILES if products.thrice else TILES:
        columns = -(-geometry.group_outputs // tile.columns)
        blocks = -(-geometry.rows // tile.rows) * columns * geometry.groups
        wasted = columns * tile.columns >= 2 * geometry.group_outputs
        if blocks >= BLOCKS and not wasted:
            return tile
    return TILES[-1]


@dataclasses.dataclass(frozen=True)
class Images:
    """Images whose groups' channels come in whole chunks, and the launch that makes them so.

    Parameters
    ----------
    channels
        Channels of a pixel.
    source
        Where they begin.
    launches
        None, or one that fills channels up, into the workspace.
    size
        Bytes of the workspace that they take.
    """

    channels: int
    source: Argument
    launches: tuple[Launch, ...]
    size: int


def images_of(products: Products, geometry: Geometry) -> Images:
    """Return the first input in whole chunks.

    Raises
    ------
    ValueError
        For a batch of more input than 32 bits count.
    """
    channels = geometry.groups * filled_inputs(geometry, products)
    cells = geometry.batch * prod(geometry.input_size)
    if cells * channels // products.chunk >= MOST_CELLS:
        raise ValueError(
            f"a batch of {cells * channels} elements: this kernel counts up to "
            f"{MOST_CELLS * products.chunk}; split the batch"
        )
    if channels == geometry.in_channels:
        return Images(channels, IMAGES, (), 0)
    groups, own = cells * geometry.groups, geometry.group_inputs
    whole = channels // geometry.groups
    launch = filling(groups, own, whole, products.stored, IMAGES, WORKSPACE)
    return Images(channels, WORKSPACE, (launch,), groups * whole * products.element_bytes)


def filled_inputs(geometry: Geometry, products: Products) -> int:
    """Return a group's input channels, rounded up to whole chunks."""
    return -(-geometry.group_inputs // products.chunk) * products.chunk


def tensor_launch(
    products: Products,
    geometry: Geometry,
    weight: Array,
    images: Images,
    *,
    kernel_size: tuple[int, int, int] = (1, 1, 1),
    dilation: tuple[int, int, int] = (1, 1, 1),
    bias: Argument = None,
    residual: Argument = None,
    activation: Activation | None = None,
    target: Argument = OUTPUT,
    tile: TensorTile | None = None,
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
    geometry = dataclasses.replace(geometry, in_channels=images.channels)
    tile = tile_of(geometry, products) if tile is None else tile
    kernel = tensor_gemm(
        tile, products, geometry, kernel_size, dilation, bias is not None, residual is not None,
        activation,
    )  # fmt: skip
    blocks = -(-geometry.rows // tile.rows) * -(-geometry.group_outputs // tile.columns)
    packed = constant(packed_weights(weight, geometry, tile, products))
    table = constant(table_of(geometry, kernel_size, dilation, products))
    arguments = [images.source, packed, table, bias, residual, target]
    return Launch(kernel, (blocks, geometry.groups, 1), arguments)


def plan_of(images: Images, *launches: Launch) -> CudaPlan:
    """Return the plan of launches over images."""
    return CudaPlan([*images.launches, *launches], workspace_bytes=images.size)
