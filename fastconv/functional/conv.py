"""Convolutions with torch's names, argument orders and meanings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv.arrays import Array, as_array, as_optional_array
from fastconv.dispatch import solve
from fastconv.functional.again import remembered
from fastconv.functional.common import batched, with_batch, without_batch
from fastconv.functional.separate import separated
from fastconv.problem import ConvProblem, ConvTransposeProblem
from fastconv.problem.conv import DEFAULT_RTOL

Size = int | Sequence[int]
Padding = int | str | Sequence[int] | Sequence[Sequence[int]]


@remembered
def conv2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    layout: str = "NCHW",
    activation: str | tuple[Any, ...] | None = None,
    residual: ArrayLike | None = None,
    rtol: float = DEFAULT_RTOL,
    precision: str | None = None,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Cross-correlate images with a weight, as ``torch.nn.functional.conv2d`` does.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W)
        float16, bfloat16, float32, float64, an integer up to 32 bits or int64, or complex.
        Channels last with ``layout="NHWC"``. Any strides, alignment and byte order.
    weight : array, shape (O, C / groups, kH, kW)
        In either layout; the same dtype as the input.
    bias : array, shape (O,), optional
    stride, dilation : int or tuple of ints
    padding : int, tuple of ints, "same", "valid" or (before, after) pairs
        "same" is ONNX's SAME_UPPER, with any stride: the odd cell goes to the end.
    groups : int
        C and O are split in so many groups that do not see each other.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
    layout : {"NCHW", "NHWC"}
        Of input, residual and output.
    activation : str or (str, parameter, ...), optional
        Applied last, such as "relu" or ("leaky_relu", 0.1).
    residual : array of the output's shape, optional
        Added before the activation.
    rtol : float
        Largest error allowed, relative to the output's standard deviation; algorithms whose
        bound is above it are not taken.
    precision : {"tf32", "3xtf32", "fp16", "bf16"}, optional
        What the factors of a float32 array's products may be rounded to, in ``backend="cuda"``'s
        tensor cores; sums stay float32, and ``rtol`` does not count these roundings. "3xtf32"
        makes three products of one, with nearly float32's error. None: no rounding. Backends that
        have no such products compute in float32 whatever is allowed.
    algorithm, backend : str, optional
        Ask for one; see `fastconv.explain`.
    out : array, optional
        Where to write the result: exactly its shape and dtype, not overlapping any input.

    Returns
    -------
    array, shape (N, O, oH, oW) or (O, oH, oW)
        oH = floor((H + before + after - dilation (kH - 1) - 1) / stride) + 1.
        Integers are exact: int8 and int16 sum in int32, others in int64, and that is the
        result's dtype. float16 and bfloat16 sum in float32.

    Raises
    ------
    ValueError
        For shapes that do not fit, or an algorithm that cannot serve.
    TypeError
        For a dtype that is not accepted, dtypes that differ, or a ``precision`` of arrays that are
        not float32.
    """
    return _conv(
        2, input, weight, bias, stride, padding, dilation, groups, padding_mode=padding_mode,
        layout=layout, activation=activation, residual=residual, rtol=rtol,
        precision=precision, algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


@remembered
def conv1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    layout: str = "NCW",
    activation: str | tuple[Any, ...] | None = None,
    residual: ArrayLike | None = None,
    rtol: float = DEFAULT_RTOL,
    precision: str | None = None,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Cross-correlate signals with a weight, as ``torch.nn.functional.conv1d`` does.

    As `conv2d`, with input (N, C, W) or (C, W), weight (O, C / groups, kW), and
    ``padding="causal"`` besides: an output sees no input after its own place.
    """
    return _conv(
        1, input, weight, bias, stride, padding, dilation, groups, padding_mode=padding_mode,
        layout=layout, activation=activation, residual=residual, rtol=rtol,
        precision=precision, algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


@remembered
def conv3d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    layout: str = "NCDHW",
    activation: str | tuple[Any, ...] | None = None,
    residual: ArrayLike | None = None,
    rtol: float = DEFAULT_RTOL,
    precision: str | None = None,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Cross-correlate volumes with a weight, as ``torch.nn.functional.conv3d`` does.

    As `conv2d`, with input (N, C, D, H, W) or (C, D, H, W), weight (O, C / groups, kD, kH, kW).
    """
    return _conv(
        3, input, weight, bias, stride, padding, dilation, groups, padding_mode=padding_mode,
        layout=layout, activation=activation, residual=residual, rtol=rtol,
        precision=precision, algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


def convolve(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    **options: Any,
) -> Array:
    """Convolve in the mathematician's sense: as ``conv1d`` to ``conv3d``, with the kernel flipped.

    The number of spatial dimensions is the weight's rank less two. ``options`` are the
    keyword-only arguments of `conv2d`.
    """
    kernel = as_array(weight, "weight")
    n = len(kernel.shape) - 2
    if n not in (1, 2, 3):
        raise ValueError(
            f"weight of convolve must have 3, 4 or 5 dimensions (out, in / groups, *kernel), but "
            f"got {list(kernel.shape)}"
        )
    options.setdefault("layout", "NCHW")
    flipped = np.flip(np.asarray(kernel), axis=tuple(range(2, n + 2)))
    return _conv(n, input, flipped, bias, stride, padding, dilation, groups, **options)


def _conv(
    n: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    *,
    residual: Any = None,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
    **options: Any,
) -> Any:
    x, single = batched(as_array(input, "input"), n, f"conv{n}d")
    w, b = as_array(weight, "weight"), as_optional_array(bias, "bias")
    r = with_batch(as_optional_array(residual, "residual"), single)
    problem = ConvProblem.of(
        n, x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups,
        residual=r, **options,
    )  # fmt: skip
    problem = separated(problem, weight, algorithm)
    result = solve(
        problem, (x, r), (w, b), out=with_batch(out, single), algorithm=algorithm, backend=backend
    )
    return out if out is not None else without_batch(result, single)


@remembered
def conv_transpose2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    layout: str = "NCHW",
    activation: str | tuple[Any, ...] | None = None,
    residual: ArrayLike | None = None,
    rtol: float = DEFAULT_RTOL,
    precision: str | None = None,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Transposed convolution of images, as ``torch.nn.functional.conv_transpose2d`` does.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W)
    weight : array, shape (C, O / groups, kH, kW)
    bias : array, shape (O,), optional
    stride, dilation : int or tuple of ints
    padding : int, tuple of ints, "valid" or (before, after) pairs
        Cells taken away from the full result at each side.
    output_padding : int or tuple of ints
        Cells added at each end; smaller than the stride or the dilation.
    groups : int

    Other arguments, results and errors as in `conv2d`;
    oH = (H - 1) stride - before - after + dilation (kH - 1) + 1 + output_padding.
    """
    return _conv_transpose(
        2, input, weight, bias, stride, padding, output_padding, groups, dilation,
        layout=layout, activation=activation, residual=residual, rtol=rtol,
        precision=precision, algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


@remembered
def conv_transpose1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    layout: str = "NCW",
    activation: str | tuple[Any, ...] | None = None,
    residual: ArrayLike | None = None,
    rtol: float = DEFAULT_RTOL,
    precision: str | None = None,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Transposed convolution of signals; as `conv_transpose2d` over (N, C, W) or (C, W)."""
    return _conv_transpose(
        1, input, weight, bias, stride, padding, output_padding, groups, dilation,
        layout=layout, activation=activation, residual=residual, rtol=rtol,
        precision=precision, algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


@remembered
def conv_transpose3d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    layout: str = "NCDHW",
    activation: str | tuple[Any, ...] | None = None,
    residual: ArrayLike | None = None,
    rtol: float = DEFAULT_RTOL,
    precision: str | None = None,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Transposed convolution of volumes; as `conv_transpose2d` over (N, C, D, H, W)."""
    return _conv_transpose(
        3, input, weight, bias, stride, padding, output_padding, groups, dilation,
        layout=layout, activation=activation, residual=residual, rtol=rtol,
        precision=precision, algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


def _conv_transpose(
    n: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
    *,
    residual: Any,
    algorithm: str | None,
    backend: str | None,
    out: Array | None,
    **options: Any,
) -> Any:
    x, single = batched(as_array(input, "input"), n, f"conv_transpose{n}d")
    w, b = as_array(weight, "weight"), as_optional_array(bias, "bias")
    r = with_batch(as_optional_array(residual, "residual"), single)
    problem = ConvTransposeProblem.of(
        n, x, w, b, stride=stride, padding=padding, output_padding=output_padding,
        groups=groups, dilation=dilation, residual=r, **options,
    )  # fmt: skip
    result = solve(
        problem, (x, r), (w, b), out=with_batch(out, single), algorithm=algorithm, backend=backend
    )
    return out if out is not None else without_batch(result, single)
