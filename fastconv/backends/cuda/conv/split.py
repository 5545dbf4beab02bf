"""Sums of few pixels cut into slices, so that there are blocks for the whole of a GPU.

How a sum is cut depends on one image's problem, never on the batch. Where there are few blocks each
slice has its own, and a kernel adds what they leave; where there are many, a block adds its slices
itself. Slices are added from the first to the last in both, so an image has the same bits.
"""

from __future__ import annotations

import dataclasses

from numba import cuda
from numba import int32 as i32
from numba import int64 as i64

from fastconv.backends.cuda.conv.epilogue import epilogue
from fastconv.backends.cuda.conv.implicit_gemm import Geometry
from fastconv.backends.cuda.engine.intrinsics import add4, load4
from fastconv.backends.cuda.engine.kernel import Body, Float32, kernel
from fastconv.backends.cuda.engine.plan import Argument, Launch
from fastconv.backends.cuda.tile import BLOCKS, DEPTH, TILES
from fastconv.problem.activation import Activation

# A slice's least steps.
LEAST_STEPS = 16
_THREADS = 256


def sliced(geometry: Geometry) -> Geometry:
    """Return a geometry, its sum cut as one image asks for; whole where channels are not quads."""
    image, tile = dataclasses.replace(geometry, batch=1), TILES[-1]
    columns = -(-image.group_outputs // tile.columns)
    blocks = -(-image.rows // tile.rows) * columns * image.groups
    steps = geometry.depth // DEPTH
    count = min(BLOCKS // blocks, steps // LEAST_STEPS)
    if count < 2 or image.group_outputs % 4:
        return geometry
    each = -(-steps // count)
    count = -(-steps // each)
    all_blocks = -(-geometry.rows // tile.rows) * columns * geometry.groups
    return dataclasses.replace(geometry, slices=count, apart=all_blocks < BLOCKS)


@kernel
def added(
    pixels: int,
    channels: int,
    slices: int,
    bias: bool,
    residual: bool,
    activation: Activation | None,
) -> tuple[Body, int]:
    """Add slices, (slices, pixels, channels), in order: four channels of a pixel a thread."""
    THREADS, QUADS, SLICES = _THREADS, channels // 4, slices
    ITEMS, SLICE = pixels * (channels // 4), pixels * channels
    finish = epilogue(bias, residual, activation, True)

    def body(x: Float32, offsets: Float32, other: Float32, y: Float32) -> None:
        item = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
        if item < i64(ITEMS):
            place = item * i64(4)
            total = load4(x, place)
            for i in range(1, SLICES):
                total = add4(total, load4(x, i64(i) * i64(SLICE) + place))
            channel = i32(item % i64(QUADS)) * i32(4)
            finish(total, offsets, other, y, channel, place, i32(4))

    return body, _THREADS


def adding(
    geometry: Geometry,
    source: Argument,
    bias: Argument,
    residual: Argument,
    activation: Activation | None,
    target: Argument,
) -> Launch:
    """Return the launch that adds a geometry's slices."""
    kern = added(
        geometry.rows, geometry.out_channels, geometry.slices, bias is not None,
        residual is not None, activation,
    )  # fmt: skip
    items = geometry.rows * (geometry.out_channels // 4)
    return Launch(kern, (-(-items // _THREADS), 1, 1), [source, bias, residual, target])
