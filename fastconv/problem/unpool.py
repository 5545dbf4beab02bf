"""The partial inverse of max pooling: values put back where their indices say."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.pool import read_input, read_padding
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.values import integer, integers, is_sequence, items_of, join_shape, shown
from fastconv.problem.windows import pool_stride


@record(frozen=True, kw_only=True)
class MaxUnpoolProblem(Problem):
    """Values of a max pool set at flat places of a larger plane; zero elsewhere."""

    batch: int
    channels: int
    input_size: Shape
    output_size: Shape
    channels_last: bool = False

    @classmethod
    @remembered
    def of(
        cls,
        n: int,
        input: ArraySpec,
        indices: ArraySpec,
        kernel_size: Any,
        *,
        stride: Any = None,
        padding: Any = 0,
        output_size: Any = None,
        layout: str = "NCHW",
    ) -> MaxUnpoolProblem:
        """Validate the arguments of ``max_unpool{n}d``; ``input`` and ``indices`` are batched."""
        dtype, batch, channels, size, last = read_input(f"max_unpool{n}d", "max", n, input, layout)
        if tuple(indices.shape) != tuple(input.shape):
            raise ValueError(
                f"Expected shape of indices to be same as that of the input tensor "
                f"({list(input.shape)}) but got indices tensor with shape: {list(indices.shape)}"
            )
        if np.dtype(indices.dtype) != np.int64:
            raise TypeError(
                f"elements in indices should be type int64 but got: {np.dtype(indices.dtype).name}"
            )
        kernel = integers(kernel_size, n, "kernel_size", least=1)
        strides = pool_stride(stride, kernel)
        if isinstance(padding, str):
            raise ValueError(
                f"padding of max_unpool{n}d must be an int, a tuple or (before, after) pairs, "
                f"those of the max pool, but got {shown(padding)}"
            )
        pairs = read_padding(padding, size, kernel, strides, (1,) * n)
        usual = tuple(
            (length - 1) * s + k - sum(p)
            for length, s, k, p in zip(size, strides, kernel, pairs, strict=True)
        )
        return cls(
            dtype=dtype,
            batch=batch,
            channels=channels,
            input_size=size,
            output_size=_read_output_size(output_size, usual, strides, last),
            channels_last=last,
        )

    @property
    def n(self) -> int:
        """Number of spatial dimensions."""
        return len(self.input_size)

    @property
    def name(self) -> str:
        return f"max_unpool{self.n}d"

    @property
    def input_shape(self) -> Shape:
        return join_shape(self.batch, self.channels, self.input_size, self.channels_last)

    @property
    def output_shape(self) -> Shape:
        return join_shape(self.batch, self.channels, self.output_size, self.channels_last)

    @property
    def bytes(self) -> int:
        return super().bytes + prod(self.input_shape) * 8

    def check_range(self, least: int, most: int) -> None:
        """Refuse indices, of which the extremes are given, that leave the output's plane."""
        bound = prod(self.output_size)
        for index in (least, most):
            if not 0 <= index < bound:
                raise ValueError(
                    f"Found an invalid max index: {index} (output volumes are of size "
                    f"{'x'.join(map(str, self.output_size))}); pass the output_size that was pooled"
                )


def _read_output_size(output_size: Any, usual: Shape, stride: Shape, last: bool) -> Shape:
    n = len(usual)
    if output_size is None:
        if any(length < 1 for length in usual):
            raise ValueError(f"Calculated output size {list(usual)} is too small; give output_size")
        return usual
    sequence = is_sequence(output_size)
    given = items_of(output_size, "output_size") if sequence else [output_size] * n
    if len(given) == n + 2:
        given = given[1:-1] if last else given[2:]
    if len(given) != n:
        raise ValueError(
            f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a "
            f"length of '{len(given)}'"
        )
    sizes = tuple(integer(item, "output_size", least=1) for item in given)
    for size, middle, s in zip(sizes, usual, stride, strict=True):
        if not middle - s < size < middle + s:
            raise ValueError(
                f"invalid output_size {list(sizes)} (each must be less than one stride from "
                f"{list(usual)})"
            )
    return sizes
