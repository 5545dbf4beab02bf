"""Sliding-window pools with torch's names, argument orders and meanings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv.arrays import Array, as_array, check_out
from fastconv.dispatch import solve
from fastconv.functional.again import remembered
from fastconv.functional.common import batched, with_batch, without_batch
from fastconv.problem import PoolProblem

Size = int | Sequence[int]
Padding = int | str | Sequence[int] | Sequence[Sequence[int]]
WithIndices = tuple[Array, Array]


@remembered
def max_pool2d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array | WithIndices:
    """Take the largest cell of each window, as ``torch.nn.functional.max_pool2d`` does.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W)
        float16, bfloat16, float32, float64 or an integer up to 32 bits or int64. Channels last
        with ``layout="NHWC"``. Any strides, alignment and byte order.
    kernel_size : int or tuple of ints
    stride : int or tuple of ints, optional
        The kernel's size where not given.
    padding : int, tuple of ints, "same", "valid" or (before, after) pairs
        Never chosen. An int or a tuple may be half of the kernel, the others must be smaller than
        it. "same" is ONNX's SAME_UPPER, with any stride: the odd cell goes to the end.
    dilation : int or tuple of ints
    ceil_mode : bool
        Round the output's size up; a window that would start in the right padding is dropped.
    return_indices : bool
        Also return each result's index in the flattened H x W plane.
    layout : {"NCHW", "NHWC"}
        Of input, result and indices.
    algorithm, backend : str, optional
        Ask for one; see `fastconv.explain`.
    out : array, optional
        Where to write the result: exactly its shape and dtype, not overlapping the input.

    Returns
    -------
    array, shape (N, C, oH, oW) or (C, oH, oW)
        oH = floor((H + before + after - dilation (kH - 1) - 1) / stride) + 1. NaN wins. A window
        that dilation lets see padding alone gives -inf (integers: the minimum).
    array of int64, the same shape
        With ``return_indices``. Of equal cells the first, also of NaNs (torch: the last NaN);
        -1 for a window that sees padding alone.

    Raises
    ------
    ValueError
        For sizes that do not fit, or an algorithm that cannot serve.
    TypeError
        For a dtype that is not accepted.
    """
    return _pool(
        "max", 2, input, kernel_size, stride=stride, padding=padding, dilation=dilation,
        ceil_mode=ceil_mode, return_indices=return_indices, layout=layout, algorithm=algorithm,
        backend=backend, out=out,
    )  # fmt: skip


@remembered
def max_pool1d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str = "NCW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array | WithIndices:
    """Take the largest cell of each window; as `max_pool2d` over (N, C, W) or (C, W)."""
    return _pool(
        "max", 1, input, kernel_size, stride=stride, padding=padding, dilation=dilation,
        ceil_mode=ceil_mode, return_indices=return_indices, layout=layout, algorithm=algorithm,
        backend=backend, out=out,
    )  # fmt: skip


@remembered
def max_pool3d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str = "NCDHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array | WithIndices:
    """Take the largest cell of each window; as `max_pool2d`, over volumes (N, C, D, H, W)."""
    return _pool(
        "max", 3, input, kernel_size, stride=stride, padding=padding, dilation=dilation,
        ceil_mode=ceil_mode, return_indices=return_indices, layout=layout, algorithm=algorithm,
        backend=backend, out=out,
    )  # fmt: skip


@remembered
def avg_pool2d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Average each window, as ``torch.nn.functional.avg_pool2d`` does.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W)
        float16, bfloat16 (both summed wider), float32 or float64.
    kernel_size, stride, padding
        As in `max_pool2d`; the padding is zeros.
    ceil_mode : bool
        Round the output's size up; a window that would start in the right padding is dropped,
        cells that this adds are not counted.
    count_include_pad : bool
        Count padding in the divisor.
    divisor_override : int, optional
        Divide by this instead.

    Other arguments, results and errors as in `max_pool2d`.
    """
    return _pool(
        "avg", 2, input, kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, divisor_override=divisor_override, layout=layout,
        algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


@remembered
def avg_pool1d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    layout: str = "NCW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Average each window; as `avg_pool2d` over (N, C, W) or (C, W)."""
    return _pool(
        "avg", 1, input, kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, layout=layout, algorithm=algorithm, backend=backend,
        out=out,
    )  # fmt: skip


@remembered
def avg_pool3d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    layout: str = "NCDHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Average each window; as `avg_pool2d` over (N, C, D, H, W) or (C, D, H, W)."""
    return _pool(
        "avg", 3, input, kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, divisor_override=divisor_override, layout=layout,
        algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


@remembered
def lp_pool2d(
    input: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
    *,
    padding: Padding = 0,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Take the p-norm of each window: (sum of abs(x)^p)^(1/p), p = ``norm_type``.

    Unlike ``torch.nn.functional.lp_pool2d``, which sums x^p, so that negative cells count against
    positive ones where p is odd, and which scales up the windows that ``ceil_mode`` cuts short.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W)
        float16, bfloat16, float32 or float64. Powers are summed in float64.
    norm_type : float
        Above zero; infinity gives the largest abs(x).
    kernel_size, stride, ceil_mode, padding
        As in `max_pool2d`; the padding adds nothing.

    Other arguments, results and errors as in `max_pool2d`.
    """
    return _pool(
        "lp", 2, input, kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        norm_type=norm_type, layout=layout, algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


@remembered
def lp_pool1d(
    input: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
    *,
    padding: Padding = 0,
    layout: str = "NCW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Take the p-norm of each window; as `lp_pool2d` over (N, C, W) or (C, W)."""
    return _pool(
        "lp", 1, input, kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        norm_type=norm_type, layout=layout, algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


@remembered
def lp_pool3d(
    input: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
    *,
    padding: Padding = 0,
    layout: str = "NCDHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Take the p-norm of each window; as `lp_pool2d` over (N, C, D, H, W) or (C, D, H, W)."""
    return _pool(
        "lp", 3, input, kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        norm_type=norm_type, layout=layout, algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


def weighted_pool2d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    weights: str | ArrayLike = "gaussian",
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Average each window with weights, which are scaled to sum to 1.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W)
        float16, bfloat16 (both summed wider), float32 or float64.
    kernel_size, stride, padding, ceil_mode
        As in `avg_pool2d`.
    weights : {"gaussian", "inverse_distance"} or array, shape (kH, kW)
        "gaussian": exp(-(u^2 + v^2) / 2), with u and v the distances from the window's centre in
        units of sigma = kernel / 6 of their dimension: a window spans six sigma.
        "inverse_distance": 1 / (1 + Euclidean distance from the window's centre, in cells).
        An array: finite, not negative, not all zero.
    count_include_pad : bool
        False: the weights sum to 1 over those cells of a window that are inside the image (NaN
        where these weigh nothing).

    Other arguments, results and errors as in `max_pool2d`.
    """
    return _pool(
        "weighted", 2, input, kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, weights=weights, layout=layout, algorithm=algorithm,
        backend=backend, out=out,
    )  # fmt: skip


def weighted_pool1d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    weights: str | ArrayLike = "gaussian",
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    layout: str = "NCW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Take weighted averages; as `weighted_pool2d` over (N, C, W) or (C, W)."""
    return _pool(
        "weighted", 1, input, kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, weights=weights, layout=layout, algorithm=algorithm,
        backend=backend, out=out,
    )  # fmt: skip


def weighted_pool3d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    weights: str | ArrayLike = "gaussian",
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    layout: str = "NCDHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Take weighted averages; as `weighted_pool2d` over (N, C, D, H, W) or (C, D, H, W)."""
    return _pool(
        "weighted", 3, input, kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, weights=weights, layout=layout, algorithm=algorithm,
        backend=backend, out=out,
    )  # fmt: skip


def _pool(
    kind: str,
    n: int,
    input: Any,
    kernel_size: Any,
    *,
    weights: Any = None,
    algorithm: str | None,
    backend: str | None,
    out: Array | None,
    **options: Any,
) -> Any:
    x, single = batched(as_array(input, "input"), n, f"{kind}_pool{n}d")
    given = None
    if kind == "weighted" and not isinstance(weights, str):
        weights = given = as_array(weights, "weights")
    problem = PoolProblem.of(kind, n, x, kernel_size, weights=weights, **options)
    if given is not None:
        _check_weights(given)
    return run_pool(problem, x, (given,), single, algorithm=algorithm, backend=backend, out=out)


def _check_weights(weights: Array) -> None:
    wide = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(wide).all() or (wide < 0).any() or not (wide > 0).any():
        raise ValueError(
            f"weights must be finite, not negative and not all zero, but got {wide.tolist()}"
        )


def run_pool(
    problem: Any,
    x: Any,
    parameters: tuple[Any, ...],
    single: bool,
    *,
    algorithm: str | None,
    backend: str | None,
    out: Array | None,
) -> Any:
    """Solve a pool; ``out`` takes the values where indices are returned too."""
    target = with_batch(out, single)
    if target is not None and problem.return_indices:
        check_out(target, problem.output_shape, problem.output_dtype, (x, *parameters))
        result = solve(problem, (x,), parameters, algorithm=algorithm, backend=backend)
        target[...] = result[0]
        return out, without_batch(result[1], single)
    result = solve(problem, (x,), parameters, out=target, algorithm=algorithm, backend=backend)
    return out if out is not None else without_batch(result, single)
