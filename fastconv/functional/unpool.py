"""The partial inverse of max pooling, with torch's names, argument orders and meanings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from fastconv.arrays import Array, as_array
from fastconv.dispatch import solve
from fastconv.functional.common import batched, with_batch, without_batch
from fastconv.functional.pool import Size
from fastconv.problem import MaxUnpoolProblem

PairPadding = int | Sequence[int] | Sequence[Sequence[int]]


def max_unpool2d(
    input: ArrayLike,
    indices: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: PairPadding = 0,
    output_size: Sequence[int] | None = None,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Put the values of a max pool back where they came from; zero elsewhere.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W)
        What `max_pool2d` gave.
    indices : array of int64, the same shape
        The indices that it returned as well: flat places in the oH x oW plane. Where two values
        have one place, the last stays.
    kernel_size, stride, padding
        Those of the pool.
    output_size : sequence of ints, optional
        The size that was pooled, spatial or whole; less than one stride from the usual,
        oH = (H - 1) stride + kH - before - after.

    Returns
    -------
    array, shape (N, C, oH, oW) or (C, oH, oW)

    Raises
    ------
    ValueError
        For sizes that do not fit, or an index outside the output's plane.
    TypeError
        For indices that are not int64, or a dtype that is not accepted.

    Other arguments as in `max_pool2d`.
    """
    return _unpool(
        2, input, indices, kernel_size, stride, padding, output_size, layout,
        algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


def max_unpool1d(
    input: ArrayLike,
    indices: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: PairPadding = 0,
    output_size: Sequence[int] | None = None,
    *,
    layout: str = "NCW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Put the values of a max pool back; as `max_unpool2d` over (N, C, W) or (C, W)."""
    return _unpool(
        1, input, indices, kernel_size, stride, padding, output_size, layout,
        algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


def max_unpool3d(
    input: ArrayLike,
    indices: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: PairPadding = 0,
    output_size: Sequence[int] | None = None,
    *,
    layout: str = "NCDHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Put the values of a max pool back; as `max_unpool2d` over (N, C, D, H, W) or (C, D, H, W)."""
    return _unpool(
        3, input, indices, kernel_size, stride, padding, output_size, layout,
        algorithm=algorithm, backend=backend, out=out,
    )  # fmt: skip


def _unpool(
    n: int,
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
    layout: str,
    *,
    algorithm: str | None,
    backend: str | None,
    out: Array | None,
) -> Any:
    x, single = batched(as_array(input, "input"), n, f"max_unpool{n}d")
    places = as_array(indices, "indices")
    if single:
        places = places.reshape((1, *places.shape))
    problem = MaxUnpoolProblem.of(
        n, x, places, kernel_size, stride=stride, padding=padding, output_size=output_size,
        layout=layout,
    )  # fmt: skip
    result = solve(
        problem, (x, places), out=with_batch(out, single), algorithm=algorithm, backend=backend
    )
    return out if out is not None else without_batch(result, single)
