"""Padding, interpolation and pixel shuffling with torch's names and argument orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from fastconv.arrays import Array, as_array
from fastconv.dispatch import solve
from fastconv.functional.again import remembered
from fastconv.problem import InterpolateProblem, PadProblem, PixelShuffleProblem


@remembered
def pad(
    input: ArrayLike,
    pad: Sequence[int],
    mode: str = "constant",
    value: complex | None = None,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Add cells at the ends of the last dimensions, as ``torch.nn.functional.pad`` does.

    Parameters
    ----------
    input : array of any shape and dtype
    pad : sequence of ints
        (before, after) of the last dimension, then of the one before it, and so on; negative
        numbers take cells away.
    mode : {"constant", "reflect", "replicate", "circular"}
        The last three pad the last dimension of a 2-D or 3-D input, the last two of a 3-D or 4-D
        one, or the last three of a 4-D or 5-D one.
    value : number, optional
        Of the cells that "constant" adds; 0 where not given.
    layout : {"NCHW", "NHWC"}
        With channels last, ``pad`` begins with the last spatial dimension.
    algorithm, backend : str, optional
        Ask for one; see `fastconv.explain`.
    out : array, optional
        Where to write the result: exactly its shape and dtype, not overlapping the input.

    Returns
    -------
    array of the input's dtype
        Never the input itself.

    Raises
    ------
    ValueError
        For padding that does not fit the input, or an algorithm that cannot serve.
    TypeError
        For padding that is not ints.
    """
    x = as_array(input, "input")
    problem = PadProblem.of(x, pad, mode=mode, value=value, layout=layout)
    result: Array = solve(problem, (x,), out=out, algorithm=algorithm, backend=backend)
    return result


@remembered
def interpolate(
    input: ArrayLike,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Resize signals, images or volumes, as ``torch.nn.functional.interpolate`` does.

    Parameters
    ----------
    input : array, shape (N, C, W), (N, C, H, W) or (N, C, D, H, W)
        Any dtype for "nearest" and "nearest-exact", else float16, bfloat16, float32 or float64.
    size : int or sequence of ints
        Of the output; either this or ``scale_factor``.
    scale_factor : float or sequence of floats
        Output cells for one input cell; sizes are rounded down.
    mode : str
        "nearest", "nearest-exact", "area" in 1 to 3 dimensions, "linear" in 1, "bilinear",
        "bicubic" and "lanczos" (which needs ``antialias``) in 2, "trilinear" in 3.
    align_corners : bool, optional
        The centres of the corner cells, not the corners of the image, stay in place.
    recompute_scale_factor : bool, optional
        Places follow the rounded sizes' ratio, not ``scale_factor``.
    antialias : bool
        Windows widen where the image shrinks ("bilinear", "bicubic" and "lanczos").
    layout : {"NCHW", "NHWC"}
        Of input and output.
    algorithm, backend : str, optional
        Ask for one; see `fastconv.explain`.
    out : array, optional
        Where to write the result: exactly its shape and dtype, not overlapping the input.

    Returns
    -------
    array of the input's dtype

    Raises
    ------
    ValueError
        For sizes or options that do not fit together, or an algorithm that cannot serve.
    TypeError
        For a dtype that is not accepted.

    Notes
    -----
    Bicubic weights are those of R. Keys, Cubic convolution interpolation, 1981, with a = -0.75,
    and with ``antialias`` a = -0.5.
    """
    x = as_array(input, "input")
    problem = InterpolateProblem.of(
        x, size, scale_factor, mode=mode, align_corners=align_corners,
        recompute_scale_factor=recompute_scale_factor, antialias=antialias, layout=layout,
    )  # fmt: skip
    result: Array = solve(problem, (x,), out=out, algorithm=algorithm, backend=backend)
    return result


@remembered
def pixel_shuffle(
    input: ArrayLike,
    upscale_factor: int,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Make finer pixels of channels, as ``torch.nn.functional.pixel_shuffle`` does.

    Parameters
    ----------
    input : array of any dtype, shape (..., C r r, H, W)
        (..., H, W, C r r) with ``layout="NHWC"``.
    upscale_factor : int
        r.
    layout, algorithm, backend, out
        As in `interpolate`.

    Returns
    -------
    array, shape (..., C, H r, W r)
        Shi et al., Real-time single image and video super-resolution, 2016.

    Raises
    ------
    ValueError
        For channels that do not divide, or an algorithm that cannot serve.
    """
    return _shuffle(input, upscale_factor, False, layout, algorithm, backend, out)


@remembered
def pixel_unshuffle(
    input: ArrayLike,
    downscale_factor: int,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Undo `pixel_shuffle`: shape (..., C, H r, W r) becomes (..., C r r, H, W)."""
    return _shuffle(input, downscale_factor, True, layout, algorithm, backend, out)


def _shuffle(
    input: Any, factor: Any, inverse: bool, layout: str, algorithm: Any, backend: Any, out: Any
) -> Array:
    x = as_array(input, "input")
    problem = PixelShuffleProblem.of(x, factor, inverse=inverse, layout=layout)
    result: Array = solve(problem, (x,), out=out, algorithm=algorithm, backend=backend)
    return result
