"""Images read at computed places between cells, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.reference.common import Reference, narrow, wide
from fastconv.problem.sample import DeformProblem, GridSampleProblem


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
    """Return the cells that each place sees along one dimension, and their weights."""
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
    """Read (N, C, *size) images at places, an array (N, P) a dimension; return (N, C, P).

    Cells are of the image's dtype, weights of float64, rounded to that of floats.
    """
    size = image.shape[2:]
    flat = image.reshape((*image.shape[:2], -1))
    pairs = list(zip(places, size, strict=True))
    if mode != "cubic":
        pairs = [(_inside(x, n, padding, corners), n) for x, n in pairs]
    nowhere = -4.0 if padding == "zeros" else 0.0
    columns = [_taps(np.where(np.isfinite(x), x, nowhere), mode) for x, _ in pairs]
    total: Any = 0
    for chosen in itertools.product(*columns):
        weight: Any = 1
        index: Any = 0
        seen = np.ones(places[0].shape, np.bool_)
        for (cell, part), length in zip(chosen, size, strict=True):
            if padding == "zeros" or mode != "cubic":
                seen = seen & (cell >= 0) & (cell < length)
            held = np.clip(_inside(cell, length, padding, corners), 0, length - 1)
            index = index * length + held.astype(np.int64)
            weight = weight * part
        taken = np.take_along_axis(flat, np.broadcast_to(index[:, None], _wide(flat, index)), 2)
        # What is outside counts as zero whatever cells hold.
        taken = np.where(seen[:, None], taken, flat.dtype.type(0))
        total = total + taken * weight[:, None].astype(flat.dtype)
    return np.asarray(total)


def _wide(flat: Array, index: Array) -> tuple[int, ...]:
    return (*flat.shape[:2], index.shape[-1])


def grid_places(grid: Array, size: Sequence[int], corners: bool) -> list[Array]:
    """Return the places (N, P) of a grid's points in each dimension, in cells."""
    batch, rank = grid.shape[0], grid.shape[-1]
    places = []
    for axis, length in enumerate(size):
        g = grid[..., rank - 1 - axis].reshape(batch, -1).astype(np.float64)
        places.append((g + 1) / 2 * (length - 1) if corners else ((g + 1) * length - 1) / 2)
    return places


class GridSample(Reference):
    """Places by a grid."""

    def compute(self, problem: GridSampleProblem, parameters: Any, *inputs: Any) -> Array:
        image, grid = inputs
        places = grid_places(grid, problem.image[2:], problem.align_corners)
        found = sample(
            wide(image), places, mode=problem.mode, padding=problem.padding,
            corners=problem.align_corners,
        )  # fmt: skip
        return narrow(found.reshape(problem.output_shape), problem.dtype)


class Deform(Reference):
    """Places by offsets of a window's taps."""

    def compute(self, problem: DeformProblem, parameters: Any, *inputs: Any) -> Array:
        image, offset, *mask = inputs
        images, n = problem.image[0] * problem.groups, problem.n
        count, points = prod(problem.kernel_size), prod(problem.out)
        moved = offset.reshape(images, count, n, points).astype(np.float64)
        taps = np.meshgrid(*(np.arange(k) for k in problem.kernel_size), indexing="ij")
        starts = np.meshgrid(*(np.arange(o) for o in problem.out), indexing="ij")
        places = []
        for axis in range(n):
            first = starts[axis].reshape(-1) * problem.stride[axis] - problem.before[axis]
            regular = first + (taps[axis].reshape(-1) * problem.dilation[axis])[:, None]
            places.append((regular + moved[:, :, axis]).reshape(images, -1))
        grouped = wide(image).reshape(images, -1, *problem.image[2:])
        found = sample(grouped, places, mode="linear", padding="zeros", corners=True)
        if problem.masked:
            found = found * wide(mask[0]).reshape(images, 1, -1)
        return narrow(found.reshape(problem.output_shape), problem.dtype)
