"""Windows as columns, and columns summed back into images."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.values import (
    COMPLEX,
    FLOATS,
    INTEGERS,
    accumulator,
    channels_last,
    check_dtype,
    integers,
    join_shape,
    split_shape,
)
from fastconv.problem.windows import Pairs, output_size, resolve_padding, span

FOLD_DTYPES = FLOATS + INTEGERS + COMPLEX


@record(frozen=True)
class _Windows(Problem):
    """What both directions share: an image, windows over it, and one column a window."""

    batch: int
    channels: int
    image_size: Shape
    kernel_size: Shape
    stride: Shape
    padding: Pairs
    dilation: Shape
    channels_last: bool = False

    @property
    def blocks(self) -> Shape:
        """Windows along each dimension."""
        return output_size(
            self.image_size, self.kernel_size, self.stride, self.padding, self.dilation
        )

    @property
    def image_shape(self) -> Shape:
        """Shape of the image side, in the problem's layout."""
        return join_shape(self.batch, self.channels, self.image_size, self.channels_last)

    @property
    def columns_shape(self) -> Shape:
        """Shape of the other side: (batch, channels x kernel, windows), in every layout."""
        return self.batch, self.channels * prod(self.kernel_size), prod(self.blocks)


@record(frozen=True)
class UnfoldProblem(_Windows):
    """Each window of an image of any dtype as one column."""

    @classmethod
    @remembered
    def of(
        cls,
        input: ArraySpec,
        kernel_size: Any,
        *,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
        layout: str = "NCHW",
    ) -> UnfoldProblem:
        """Validate the arguments of ``unfold``; ``input`` is batched."""
        shape = tuple(input.shape)
        last = channels_last(layout, 2)
        batch, channels, size = split_shape(shape, last)
        if 0 in shape[1:]:
            raise ValueError(
                f"Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other "
                f"non-zero dimensions for input, but got: {list(shape)}"
            )
        problem = cls(
            np.dtype(input.dtype), batch, channels, size,
            *_read_windows(size, kernel_size, dilation, padding, stride), last,
        )  # fmt: skip
        _check_blocks(problem)
        return problem

    @property
    def name(self) -> str:
        """The public function's name."""
        return "unfold"

    @property
    def input_shape(self) -> Shape:
        """Shape of the image."""
        return self.image_shape

    @property
    def output_shape(self) -> Shape:
        """Shape of the columns."""
        return self.columns_shape


@record(frozen=True)
class FoldProblem(_Windows):
    """Columns summed into an image where their windows are."""

    @classmethod
    @remembered
    def of(
        cls,
        input: ArraySpec,
        output_size: Any,
        kernel_size: Any,
        *,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
        layout: str = "NCHW",
    ) -> FoldProblem:
        """Validate the arguments of ``fold``; ``input`` is batched."""
        dtype = check_dtype(input, FOLD_DTYPES, "input of fold")
        shape = tuple(input.shape)
        size = integers(output_size, 2, "output_size", least=1)
        windows = _read_windows(size, kernel_size, dilation, padding, stride)
        rows = prod(windows[0])
        if 0 in shape[1:] or shape[1] % rows:
            raise ValueError(
                f"Expected size of input's dimension 1 to be divisible by the product of "
                f"kernel_size, but got input.size(1)={shape[1]} and kernel_size={windows[0]}"
            )
        last = channels_last(layout, 2)
        problem = cls(dtype, shape[0], shape[1] // rows, size, *windows, last)
        _check_blocks(problem)
        if prod(problem.blocks) != shape[2]:
            raise ValueError(
                f"Given output_size={size}, kernel_size={windows[0]}, dilation={windows[3]}, "
                f"padding={windows[2]}, stride={windows[1]}, expected size of input's dimension 2 "
                f"to match the calculated number of sliding blocks {problem.blocks[0]} * "
                f"{problem.blocks[1]} = {prod(problem.blocks)}, but got input.size(2)={shape[2]}."
            )
        return problem

    @property
    def name(self) -> str:
        """The public function's name."""
        return "fold"

    @property
    def input_shape(self) -> Shape:
        """Shape of the columns."""
        return self.columns_shape

    @property
    def output_shape(self) -> Shape:
        """Shape of the image."""
        return self.image_shape

    @property
    def output_dtype(self) -> np.dtype[Any]:
        """Dtype of the sums."""
        return accumulator(self.dtype)

    @property
    def flops(self) -> int:
        """One addition a column's element."""
        return prod(self.columns_shape)


def columns_batched(shape: Shape) -> Shape:
    """Return the shape of ``fold``'s input with its batch dimension."""
    if len(shape) == 2:
        return (1, *shape)
    if len(shape) == 3:
        return shape
    raise ValueError(
        f"Expected 2D (unbatched) or 3D (batched) input to fold, but got input of size: "
        f"{list(shape)}"
    )


def _read_windows(
    size: Shape, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[Shape, Shape, Pairs, Shape]:
    kernel = integers(kernel_size, 2, "kernel_size", least=1)
    strides = integers(stride, 2, "stride", least=1)
    dilations = integers(dilation, 2, "dilation", least=1)
    return kernel, strides, resolve_padding(padding, size, kernel, strides, dilations), dilations


def _check_blocks(problem: _Windows) -> None:
    if any(blocks < 1 for blocks in problem.blocks):
        spans = tuple(
            span(k, d) for k, d in zip(problem.kernel_size, problem.dilation, strict=True)
        )
        raise ValueError(
            f"Given an image with spatial size {problem.image_size}, kernel_size="
            f"{problem.kernel_size}, dilation={problem.dilation}, padding={problem.padding}, "
            f"calculated shape of the array of sliding blocks as {problem.blocks}, but its "
            f"components must be at least one; windows span {spans}: pad the image"
        )
