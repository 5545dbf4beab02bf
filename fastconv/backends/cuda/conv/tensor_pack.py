"""Weights and tables as the tensor cores' GEMM reads them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.cuda.conv.implicit_gemm import Geometry
from fastconv.backends.cuda.conv.tensor_gemm import (
    NARROW_BITS,
    PIXEL_BITS,
    TABLE_WORDS,
    tap_bits,
)
from fastconv.backends.cuda.conv.tensor_tile import (
    CHUNKS,
    Products,
    TensorTile,
    stages_of,
    swizzle,
)
from fastconv.backends.native.conv.geometry import offsets


def packed_weights(
    weight: Array, geometry: Geometry, tile: TensorTile, products: Products
) -> Array:
    """Return weights, (out, in / groups, taps), as stages of shared memory, one after the other.

    They are (groups, blocks of columns, stages, columns, chunks, elements): taps before channels,
    zeros to whole chunks, stages and tiles, chunks swizzled. They only move: any dtype may be.
    """
    groups, outputs, inputs = geometry.groups, geometry.group_outputs, geometry.group_inputs
    blocks = -(-outputs // tile.columns)
    stages = stages_of(geometry.taps, inputs, products)
    _, own_inputs, taps = weight.shape
    own = weight.reshape(groups, outputs, own_inputs, taps).transpose(0, 1, 3, 2)
    # Images' channels may have been filled up.
    filled = np.zeros((groups, outputs, taps, inputs), weight.dtype)
    filled[..., :own_inputs] = own
    lines = np.zeros((groups, blocks * tile.columns, stages * products.depth), weight.dtype)
    lines[:, :outputs, : taps * inputs] = filled.reshape(groups, outputs, taps * inputs)
    lines = _in_order(lines).reshape(groups, blocks, tile.columns, stages, CHUNKS, products.chunk)
    columns = np.arange(tile.columns)[:, None]
    # Chunks are swapped: where one goes is where it comes from.
    order = np.arange(CHUNKS) ^ swizzle(columns)
    return np.ascontiguousarray(lines.transpose(0, 1, 3, 2, 4, 5)[:, :, :, columns, order])


def _in_order(lines: Array) -> Array:
    """Put each 16 columns so that a thread's four sums of two tiles are neighbours.

    Of tile j lane l holds columns 2 (l % 4) + 0, 1: they are 4 (l % 4) + 2 j + 0, 1 of the 16.
    """
    groups, columns, depth = lines.shape
    own = lines.reshape(groups, columns // 16, 4, 2, 2, depth)
    return own.transpose(0, 1, 3, 2, 4, 5).reshape(lines.shape)


def table_of(
    geometry: Geometry,
    kernel_size: tuple[int, int, int],
    dilation: tuple[int, int, int],
    products: Products,
) -> Array:
    """Return for each chunk of the sum where it is from a window's first, and the bits it needs.

    Chunks behind the sum need a bit that no pixel has; the last stage has another behind it.
    """
    _, height, width = geometry.input_size
    pixel = geometry.in_channels // products.chunk
    each = geometry.group_inputs // products.chunk
    steps = (height * width * pixel, width * pixel, pixel)
    away = offsets(
        *(np.arange(k) * d * s for k, d, s in zip(kernel_size, dilation, steps, strict=True)),
        np.arange(each),
    )
    *starts, end = tap_bits(geometry, kernel_size)
    need = offsets(
        *(
            1 << (start + np.arange(k)) if checked else np.zeros(k)
            for k, start, checked in zip(kernel_size, starts, geometry.leaves, strict=True)
        ),
        np.full(each, (1 << PIXEL_BITS) - 1),
    )
    stages = stages_of(geometry.taps, geometry.group_inputs, products)
    table: Any = np.zeros(((stages + 1) * CHUNKS, TABLE_WORDS), np.int64)
    needed = np.full(len(table), 1 << end)
    needed[: len(need)] = need
    table[: len(away), 0] = away
    table[:, 1] = needed & ((1 << NARROW_BITS) - 1)
    table[:, 2] = needed >> NARROW_BITS
    return np.asarray(table, np.int32)
