"""Pools to a given output size, and over everything, with torch's names and meanings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from fastconv.arrays import Array, as_array
from fastconv.functional.again import remembered
from fastconv.functional.common import batched
from fastconv.functional.pool import WithIndices, run_pool
from fastconv.problem import AdaptivePoolProblem

OutputSize = int | None | Sequence[int | None]


@remembered
def adaptive_max_pool2d(
    input: ArrayLike,
    output_size: OutputSize,
    return_indices: bool = False,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array | WithIndices:
    """Take the largest cell of windows that share out the image, as torch's function does.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W)
        float16, bfloat16, float32, float64 or an integer up to 32 bits or int64.
    output_size : int, None, or tuple of these
        (oH, oW); None keeps the input's. Output row i sees the rows from floor(i H / oH) up to
        ceil((i + 1) H / oH).
    return_indices : bool
        Also return each result's index in the flattened H x W plane.

    Other arguments, results and errors as in `max_pool2d`.
    """
    return _adaptive(
        "max", 2, input, output_size, return_indices=return_indices, layout=layout,
        algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


@remembered
def adaptive_max_pool1d(
    input: ArrayLike,
    output_size: OutputSize,
    return_indices: bool = False,
    *,
    layout: str = "NCW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array | WithIndices:
    """Take the largest cell; as `adaptive_max_pool2d` over (N, C, W) or (C, W)."""
    return _adaptive(
        "max", 1, input, output_size, return_indices=return_indices, layout=layout,
        algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


@remembered
def adaptive_max_pool3d(
    input: ArrayLike,
    output_size: OutputSize,
    return_indices: bool = False,
    *,
    layout: str = "NCDHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array | WithIndices:
    """Take the largest cell; as `adaptive_max_pool2d` over (N, C, D, H, W) or (C, D, H, W)."""
    return _adaptive(
        "max", 3, input, output_size, return_indices=return_indices, layout=layout,
        algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


@remembered
def adaptive_avg_pool2d(
    input: ArrayLike,
    output_size: OutputSize,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Average windows that share out the image, as torch's function does.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W)
        float16, bfloat16 (both summed wider), float32 or float64.
    output_size : int, None, or tuple of these
        As in `adaptive_max_pool2d`.

    Other arguments, results and errors as in `max_pool2d`.
    """
    return _adaptive(
        "avg", 2, input, output_size, layout=layout, algorithm=algorithm, backend=backend, out=out
    )


@remembered
def adaptive_avg_pool1d(
    input: ArrayLike,
    output_size: OutputSize,
    *,
    layout: str = "NCW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Average windows; as `adaptive_avg_pool2d` over (N, C, W) or (C, W)."""
    return _adaptive(
        "avg", 1, input, output_size, layout=layout, algorithm=algorithm, backend=backend, out=out
    )


@remembered
def adaptive_avg_pool3d(
    input: ArrayLike,
    output_size: OutputSize,
    *,
    layout: str = "NCDHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Average windows; as `adaptive_avg_pool2d` over (N, C, D, H, W) or (C, D, H, W)."""
    return _adaptive(
        "avg", 3, input, output_size, layout=layout, algorithm=algorithm, backend=backend, out=out
    )


@remembered
def global_max_pool(
    input: ArrayLike,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Take the largest cell of each channel, as ONNX's GlobalMaxPool does.

    Parameters
    ----------
    input : array, shape (N, C, *spatial)
        Batched, with one spatial dimension or more; channels last with ``layout="NHWC"``.
        Dtypes as in `max_pool2d`.

    Returns
    -------
    array, shape (N, C, 1, ...)
        The spatial dimensions are kept, each of size 1.

    Other arguments and errors as in `max_pool2d`.
    """
    return _global("max", input, layout=layout, algorithm=algorithm, backend=backend, out=out)


@remembered
def global_avg_pool(
    input: ArrayLike,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Average each channel, as ONNX's GlobalAveragePool does; arguments as `global_max_pool`'s.

    Floats alone; float16 and bfloat16 are summed wider.
    """
    return _global("avg", input, layout=layout, algorithm=algorithm, backend=backend, out=out)


@remembered
def global_lp_pool(
    input: ArrayLike,
    p: float = 2,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Take each channel's p-norm, as ONNX's GlobalLpPool does; arguments as `global_max_pool`'s.

    Floats alone. ``p`` is above zero; infinity gives the largest abs(x).
    """
    return _global("lp", input, p=p, layout=layout, algorithm=algorithm, backend=backend, out=out)


def _adaptive(
    kind: str,
    n: int,
    input: Any,
    output_size: Any,
    *,
    algorithm: str | None,
    backend: str | None,
    out: Array | None,
    **options: Any,
) -> Any:
    x, single = batched(as_array(input, "input"), n, f"adaptive_{kind}_pool{n}d")
    problem = AdaptivePoolProblem.of(kind, n, x, output_size, **options)
    return run_pool(problem, x, (), single, algorithm=algorithm, backend=backend, out=out)


def _global(
    kind: str,
    input: Any,
    *,
    algorithm: str | None,
    backend: str | None,
    out: Array | None,
    **options: Any,
) -> Any:
    x = as_array(input, "input")
    problem = AdaptivePoolProblem.of_global(kind, x, **options)
    return run_pool(problem, x, (), False, algorithm=algorithm, backend=backend, out=out)
