"""Windows as columns, and columns back to images, with torch's names and argument orders."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from fastconv.arrays import Array, as_array
from fastconv.dispatch import solve
from fastconv.functional.again import remembered
from fastconv.functional.common import batched, with_batch, without_batch
from fastconv.problem import FoldProblem, UnfoldProblem
from fastconv.problem.unfold import columns_batched

Size = int | Sequence[int]
Padding = int | str | Sequence[int] | Sequence[Sequence[int]]


@remembered
def unfold(
    input: ArrayLike,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Padding = 0,
    stride: Size = 1,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return each window of an image as one column, as ``torch.nn.functional.unfold`` does.

    Parameters
    ----------
    input : array of any dtype, shape (N, C, H, W) or (C, H, W)
        Channels last with ``layout="NHWC"``; the columns are the same in both.
    kernel_size, dilation, stride : int or tuple of ints
    padding : int, tuple of ints, "same", "valid" or (before, after) pairs
        Of zeros.
    algorithm, backend : str, optional
        Ask for one; see `fastconv.explain`.
    out : array, optional
        Where to write the result: exactly its shape and dtype, not overlapping the input.

    Returns
    -------
    array, shape (N, C kH kW, oH oW) or (C kH kW, oH oW)

    Raises
    ------
    ValueError
        For shapes that do not fit, or an algorithm that cannot serve.
    """
    x, single = batched(as_array(input, "input"), 2, "unfold")
    problem = UnfoldProblem.of(
        x, kernel_size, dilation=dilation, padding=padding, stride=stride, layout=layout
    )
    result = solve(problem, (x,), out=with_batch(out, single), algorithm=algorithm, backend=backend)
    return out if out is not None else without_batch(result, single)


@remembered
def fold(
    input: ArrayLike,
    output_size: Size,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Padding = 0,
    stride: Size = 1,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Sum columns into an image where their windows are, as ``torch.nn.functional.fold`` does.

    Parameters
    ----------
    input : array, shape (N, C kH kW, L) or (C kH kW, L)
        float16, bfloat16 (both summed wider), float32, float64, an integer up to 32 bits or int64,
        or complex.
    output_size : int or tuple of ints
        Of the image.
    kernel_size, dilation, padding, stride
        Of the windows, as in `unfold`; what is in the padding is dropped.
    layout : {"NCHW", "NHWC"}
        Of the image.
    algorithm, backend, out
        As in `unfold`.

    Returns
    -------
    array, shape (N, C, H, W) or (C, H, W)
        Integers are exact: int8 and int16 sum in int32, others in int64.

    Raises
    ------
    ValueError
        For columns that are not as many as the windows, or an algorithm that cannot serve.
    TypeError
        For a dtype that is not accepted.
    """
    columns = as_array(input, "input")
    shape = columns_batched(tuple(columns.shape))
    single = len(shape) != len(columns.shape)
    x = columns.reshape(shape) if single else columns
    problem = FoldProblem.of(
        x, output_size, kernel_size,
        dilation=dilation, padding=padding, stride=stride, layout=layout,
    )  # fmt: skip
    result = solve(problem, (x,), out=with_batch(out, single), algorithm=algorithm, backend=backend)
    return out if out is not None else without_batch(result, single)
