"""Tables of offsets: any convolution's windows and outputs as rows and taps of the one GEMM."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.native.conv.pack import Source
from fastconv.backends.native.gemm import Gemm
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import INPUT, OUTPUT
from fastconv.backends.native.tile import Tile
from fastconv.backends.native.weights import packed_bias, packed_panels
from fastconv.problem import ConvProblem, Shape


def padded_size(problem: ConvProblem) -> Shape:
    """Spatial size of the padded input."""
    return tuple(n + sum(p) for n, p in zip(problem.input_size, problem.padding, strict=True))


def lead(values: tuple[int, ...], fill: int) -> tuple[int, int, int]:
    """Return a tuple a dimension as one for three dimensions."""
    a, b, c = (fill,) * (3 - len(values)) + tuple(values)
    return a, b, c


def offsets(*columns: Array) -> Array:
    """Sum every combination of one offset a dimension, the last running fastest."""
    total = np.zeros(1, np.int64)
    for column in columns:
        total = (total[:, None] + np.asarray(column, np.int64)[None, :]).ravel()
    return total


def output_words(problem: Any, rows: Array | None = None) -> dict[str, Any]:
    """Return the output's part of a `Gemm`: where rows and columns go in the problem's layout."""
    size = problem.dtype.itemsize
    plane = prod(problem.output_size)
    channels = problem.out_channels
    places = np.arange(plane) if rows is None else rows
    last = problem.channels_last or plane == 1
    return {
        "out": OUTPUT,
        "out_image": channels * plane * size,
        "out_group": channels // problem.groups * (size if last else plane * size),
        "out_rows": places * (channels * size if last else size),
        "out_column": size if last else plane * size,
        "residual": INPUT(1) if problem.residual else 0,
        "activation": problem.activation,
        "columns": channels // problem.groups,
        "groups": problem.groups,
    }


def window_tables(
    problem: ConvProblem, packed: Source, *, merge: bool = True
) -> tuple[Array, Array, int]:
    """Return the rows' and taps' offsets in bytes, and the elements contiguous at each tap.

    Taps that follow each other in memory are one longer tap: a first layer's 7 x 3 channels.
    """
    size = problem.dtype.itemsize
    strides = packed.strides
    kernel = lead(problem.kernel_size, 1)
    steps = lead(problem.stride, 1)
    dilations = lead(problem.dilation, 1)
    outputs = lead(problem.output_size, 1)
    rows = offsets(*(np.arange(o) * s * t for o, s, t in zip(outputs, steps, strides, strict=True)))
    depth = problem.in_channels // problem.groups
    separate = list(zip(kernel, dilations, strides, strict=True))
    while merge and separate:
        k, d, stride = separate[-1]
        if k > 1 and (d * stride != depth):
            break
        depth *= k
        separate.pop()
    taps = offsets(*(np.arange(k) * d * t for k, d, t in separate))
    return rows * size, taps * size, depth


def conv_gemm(library: Library, problem: ConvProblem, packed: Source, tile: Tile) -> Gemm:
    """Return a convolution as a GEMM over the packed input."""
    size = problem.dtype.itemsize
    rows, taps, depth = window_tables(problem, packed)
    groups, columns = problem.groups, problem.out_channels // problem.groups
    panels = {"groups": groups, "columns": columns, "width": tile.columns}
    return Gemm(
        a=packed.slot,
        a_image=packed.image * size,
        a_group=problem.in_channels // problem.groups * size,
        rows=rows,
        taps=taps,
        depth=depth,
        b=packed_panels(
            library, tile.dtype, taps=prod(problem.kernel_size),
            channels=problem.in_channels // groups, **panels,
        ),
        bias=packed_bias(library, tile.dtype, **panels),
        **output_words(problem),
    )  # fmt: skip
