"""Operations that read images at computed places, between cells: grids and offsets."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.backends.reference.sample import grid_places, sample
from fastconv.dispatch import solve
from fastconv.network.indexing import told_beforehand
from fastconv.network.limits import allow
from fastconv.network.wide import in_float32
from fastconv.problem import DeformProblem, GridSampleProblem
from fastconv.problem.values import SIXTEEN

Array = np.ndarray[Any, Any]
_KERNELS = ("float32", "float64")


def grid_sample(value: Any, grid: Any, *, mode: str, padding: str, align_corners: bool) -> Any:
    """Read images where a grid says, in parts of their lengths from -1 to 1.

    Jaderberg et al., Spatial transformer networks, 2015.
    """
    shape = (*value.shape[:2], *grid.shape[1:-1])
    allow(shape, value.dtype)
    common = _common(value, grid)
    if common is None:
        return told_beforehand(
            _of_numbers(mode, padding, align_corners), [(shape, value.dtype)], value, grid
        )
    image, points = (v if v.dtype == common else v.astype(common) for v in (value, grid))
    problem = GridSampleProblem.of(
        image, points, mode=mode, padding=padding, align_corners=align_corners
    )
    if 0 in shape:
        return np.zeros(shape, value.dtype)
    found = solve(problem, (image, points))
    return found if common == value.dtype else found.astype(value.dtype)


def _common(value: Any, grid: Any) -> np.dtype[Any] | None:
    """Return the dtype in which floats are read; None for cells that are not floats."""
    names = [value.dtype.name, grid.dtype.name]
    if not all(name in (*SIXTEEN, *_KERNELS) for name in names):
        return None
    return np.dtype(np.float64 if "float64" in names else np.float32)


def _of_numbers(mode: str, padding: str, corners: bool) -> Callable[..., Any]:
    """Return the function that reads cells of other dtypes: integers, or truth values."""

    def grid_sample(value: Any, grid: Any) -> Any:
        batch, *out, rank = grid.shape
        if rank != value.ndim - 2 or 0 in value.shape[2:] or batch != value.shape[0]:
            raise ValueError(
                f"a grid of shape {list(grid.shape)} for an image of {list(value.shape)}"
            )
        shape = (batch, value.shape[1], *out)
        if 0 in shape:
            return np.zeros(shape, value.dtype)
        places = grid_places(grid, value.shape[2:], corners)
        image = value if mode == "nearest" else value.astype(np.float64)
        found = sample(image, places, mode=mode, padding=padding, corners=corners)
        return found.reshape(shape).astype(value.dtype)

    return grid_sample


def affine_grid(theta: Any, size: Any, *, align_corners: bool) -> Any:
    """Return the grid that samples an image after an affine map."""
    matrix = np.asarray(theta)
    batch, _, *lengths = (int(n) for n in np.asarray(size))
    allow((batch, *lengths, len(lengths)), matrix.dtype)
    axes = []
    for length in lengths:
        step = 2.0 / max(length - 1 if align_corners else length, 1)
        first = -1.0 if align_corners and length > 1 else -1.0 + step / 2
        if align_corners and length == 1:
            first = 0.0
        axes.append(first + step * np.arange(length))
    mesh = np.meshgrid(*axes, indexing="ij")
    points = np.stack([*reversed(mesh), np.ones(tuple(lengths))], axis=-1)
    flat = points.reshape(-1, len(lengths) + 1)
    flat = functional.matmul(flat, matrix.astype(np.float64).transpose(0, 2, 1))
    return flat.reshape(batch, *lengths, len(lengths)).astype(matrix.dtype)


@in_float32
def deform_conv(
    value: Any, weight: Any, offset: Any, bias: Any = None, mask: Any = None, *, stride: Any,
    padding: Any, dilation: Any, groups: int, offset_groups: int,
) -> Any:  # fmt: skip
    """Correlate with taps moved by offsets. Dai et al., Deformable convolutional networks, 2017."""
    n, filters = len(value.shape) - 2, weight.shape[0]
    batch, channels = value.shape[:2]
    taps, out = tuple(weight.shape[2:]), tuple(offset.shape[2:])
    shape = (batch, filters, *out)
    allow((batch, channels, *taps, *out), value.dtype)
    problem = DeformProblem.of(
        value, offset, mask, kernel_size=taps, stride=stride, dilation=dilation,
        before=tuple(pair[0] for pair in padding or ((0, 0),) * n), groups=offset_groups,
    )  # fmt: skip
    if filters % groups or weight.shape[1] * groups != channels:
        raise ValueError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0 "
            f"and to have {channels // max(1, groups)} at dimension 1, but got weight of size "
            f"{list(weight.shape)} for {channels} channels"
        )
    if 0 in shape or 0 in value.shape:
        return np.zeros(shape, value.dtype)
    given = (value, offset) if mask is None else (value, offset, mask)
    columns = solve(problem, given)
    depth = weight.shape[1] * prod(taps)
    columns = columns.reshape((batch, groups, depth, prod(out)))
    filtered = np.reshape(weight, (groups, filters // groups, depth))
    result = functional.matmul(filtered, columns).reshape(shape)
    return result if bias is None else result + np.reshape(bias, (-1, *(1,) * n))


SAMPLING: dict[str, Callable[..., Any]] = {
    "affine_grid": affine_grid,
    "deform_conv": deform_conv,
    "grid_sample": grid_sample,
    "sample_by_grid": grid_sample,
}
