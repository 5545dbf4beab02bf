"""Operations that read images at computed places, between cells: grids, regions, offsets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.network.limits import allow

Array = np.ndarray[Any, Any]


def _reflected(x: Array, length: int, corners: bool) -> Array:
    """Fold places back into the image, at its corner cells' centres or its edges."""
    low, high = (0.0, length - 1.0) if corners else (-0.5, length - 0.5)
    if high <= low:
        return np.zeros_like(x)
    turned = np.mod(x - low, 2 * (high - low))
    return low + np.minimum(turned, 2 * (high - low) - turned)


def _inside(x: Array, length: int, padding: str, corners: bool) -> Array:
    """Bring places beyond the image back as the padding says; zeros leave them where they are."""
    if padding == "reflection":
        x = _reflected(x, length, corners)
    return x if padding == "zeros" else np.clip(x, 0, length - 1)


def _taps(x: Array, mode: str) -> list[tuple[Array, Array]]:
    """Give the cells that each place sees along one dimension, and their weights."""
    if mode == "nearest":
        return [(np.rint(x), np.ones_like(x))]
    base = np.floor(x)
    part = x - base
    if mode == "linear":
        return [(base, 1 - part), (base + 1, part)]
    a, taps = -0.75, []
    for offset in (-1, 0, 1, 2):
        near = np.abs(part - offset)
        inner = ((a + 2) * near - (a + 3)) * near**2 + 1
        outer = ((a * near - 5 * a) * near + 8 * a) * near - 4 * a
        taps.append((base + offset, np.where(near <= 1, inner, outer)))
    return taps


def sample(
    image: Array, places: Sequence[Array], *, mode: str, padding: str, corners: bool
) -> Array:
    """Read (N, C, *size) images at places, an array (N, P) a dimension; give (N, C, P)."""
    size = image.shape[2:]
    flat = image.reshape((*image.shape[:2], -1))
    pairs = list(zip(places, size, strict=True))
    if mode != "cubic":
        pairs = [(_inside(x, n, padding, corners), n) for x, n in pairs]
    columns = [_taps(np.where(np.isfinite(x), x, -2.0), mode) for x, _ in pairs]
    total: Any = 0
    for chosen in itertools.product(*columns):
        weight: Any = 1
        index: Any = 0
        for (cell, part), length in zip(chosen, size, strict=True):
            if padding == "zeros":
                part = np.where((cell >= 0) & (cell < length), part, 0)
            held = np.clip(_inside(cell, length, padding, corners), 0, length - 1)
            index = index * length + held.astype(np.int64)
            weight = weight * part
        taken = np.take_along_axis(flat, index[:, None], axis=2)
        total = total + taken * weight[:, None].astype(flat.dtype)
    return np.asarray(total)


def grid_sample(value: Any, grid: Any, *, mode: str, padding: str, align_corners: bool) -> Any:
    """Read images where a grid says, in parts of their lengths from -1 to 1.

    Jaderberg et al., Spatial transformer networks, 2015.
    """
    image, points = np.asarray(value), np.asarray(grid)
    batch, *out, rank = points.shape
    if rank != image.ndim - 2 or 0 in image.shape[2:]:
        raise ValueError(f"a grid of {rank} numbers a point for an image of {list(image.shape)}")
    allow((batch, image.shape[1], *out), image.dtype)
    if 0 in (batch, image.shape[1], *out):
        return np.zeros((batch, image.shape[1], *out), image.dtype)
    places = []
    for axis, length in enumerate(image.shape[2:]):
        g = points[..., rank - 1 - axis].reshape(batch, -1).astype(np.float64)
        places.append((g + 1) / 2 * (length - 1) if align_corners else ((g + 1) * length - 1) / 2)
    read = sample(image, places, mode=mode, padding=padding, corners=align_corners)
    return read.reshape((batch, image.shape[1], *out))


def affine_grid(theta: Any, size: Any, *, align_corners: bool) -> Any:
    """Give the grid that samples an image after an affine map."""
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


def deform_conv(
    value: Any, weight: Any, offset: Any, bias: Any = None, mask: Any = None, *, stride: Any,
    padding: Any, dilation: Any, groups: int, offset_groups: int,
) -> Any:  # fmt: skip
    """Correlate with taps moved by offsets. Dai et al., Deformable convolutional networks, 2017."""
    image, kernel = np.asarray(value), np.asarray(weight)
    batch, channels = image.shape[:2]
    n = image.ndim - 2
    moved = np.asarray(offset)
    out, taps = moved.shape[2:], kernel.shape[2:]
    count, points = prod(taps), prod(out)
    allow((batch, channels, count, points), image.dtype)
    if 0 in (batch, points):
        return np.zeros((batch, kernel.shape[0], *out), image.dtype)
    moved = moved.reshape(batch * offset_groups, count, n, points).astype(np.float64)
    tap_places = np.meshgrid(*(np.arange(k) for k in taps), indexing="ij")
    starts = np.meshgrid(*(np.arange(o) for o in out), indexing="ij")
    pairs = padding or ((0, 0),) * n
    strides, gaps = (tuple(v) * (n if len(v) == 1 else 1) for v in (stride, dilation))
    places = []
    for axis in range(n):
        first = starts[axis].reshape(-1) * strides[axis] - pairs[axis][0]
        regular = first + (tap_places[axis].reshape(-1) * gaps[axis])[:, None]
        places.append((regular + moved[:, :, axis]).reshape(batch * offset_groups, -1))
    grouped = image.reshape(batch * offset_groups, channels // offset_groups, *image.shape[2:])
    columns = sample(grouped, places, mode="linear", padding="zeros", corners=True)
    columns = columns.reshape(batch, offset_groups, -1, count, points)
    if mask is not None:
        columns = columns * np.asarray(mask).reshape(batch, offset_groups, 1, count, points)
    columns = columns.reshape(batch, groups, -1, points)
    product = functional.matmul(
        kernel.reshape(groups, kernel.shape[0] // groups, -1), columns.astype(kernel.dtype)
    )
    result = product.reshape(batch, kernel.shape[0], *out)
    if bias is not None:
        result = result + np.asarray(bias).reshape(-1, *(1,) * n)
    return result.astype(image.dtype)


SAMPLING: dict[str, Callable[..., Any]] = {
    "affine_grid": affine_grid,
    "deform_conv": deform_conv,
    "grid_sample": grid_sample,
}
