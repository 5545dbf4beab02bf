"""Resizing in all of ONNX's modes: what `interpolate` cannot do, by taps and weights a dimension.

Along one dimension each output cell is a sum of a few input cells (one for "nearest"), whose
places and weights follow from the lengths alone. Keys, Cubic convolution interpolation, 1981.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fastconv.network.limits import allow

Vector = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Way:
    """How an image is resized: the attributes of ONNX's Resize, by its names."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    extrapolation: float = 0.0
    antialias: bool = False
    policy: str = "stretch"


def places(way: Way, length: int, out: int, scale: float, roi: tuple[float, float]) -> Vector:
    """Give where each output cell lies along the input, in cells."""
    x = np.arange(out, dtype=np.float64)
    wanted = length * scale
    kind = way.coordinates
    if kind == "asymmetric":
        return x / scale
    if kind == "tf_half_pixel_for_nn":
        return (x + 0.5) / scale
    if kind == "align_corners":
        return x * (length - 1) / (wanted - 1) if wanted > 1 else np.zeros(out)
    if kind == "tf_crop_and_resize":
        start, end = roi
        if out > 1:
            return start * (length - 1) + x * (end - start) * (length - 1) / (wanted - 1)
        return np.full(out, (start + end) / 2 * (length - 1))
    half = (x + 0.5) / scale - 0.5
    if kind == "half_pixel":
        return half
    if kind == "pytorch_half_pixel":
        return half if wanted != 1 else np.full(out, -0.5)
    if kind == "half_pixel_symmetric":
        return half + length / 2 * (1 - out / wanted)
    raise ValueError(f"there are no coordinates {kind!r}")


def nearest(way: Way, x: Vector, length: int) -> Vector:
    """Give the cell nearest to each place."""
    rounded = {
        "round_prefer_floor": lambda: np.ceil(x - 0.5),
        "round_prefer_ceil": lambda: np.floor(x + 0.5),
        "floor": lambda: np.floor(x),
        "ceil": lambda: np.ceil(x),
    }[way.rounding]()
    kept: Vector = np.clip(rounded, 0, length - 1).astype(np.int64)
    return kept


def taps(way: Way, x: Vector, length: int, scale: float) -> tuple[Vector, Vector]:
    """Give for each place the cells that it sees, and their weights: (out, taps) each."""
    shrink = min(scale, 1.0) if way.antialias else 1.0
    reach = 1 if way.mode == "linear" else 2
    start = int(np.floor(-reach / shrink)) + 1
    offsets = np.arange(start, start + 2 * (reach - start))
    base = np.floor(x)
    distance = (offsets - (x - base)[:, None]) * shrink
    near = np.abs(distance)
    if way.mode == "linear":
        weights = np.clip(1 - near, 0, None)
    else:
        a = way.cubic_a
        inner = ((a + 2) * near - (a + 3)) * near**2 + 1
        outer = ((a * near - 5 * a) * near + 8 * a) * near - 4 * a
        weights = np.where(near <= 1, inner, np.where(near < 2, outer, 0))
    cells = base[:, None].astype(np.int64) + offsets
    if way.exclude_outside:
        weights = np.where((cells < 0) | (cells >= length), 0, weights)
    if way.antialias or way.exclude_outside:
        weights = weights / weights.sum(axis=1, keepdims=True)
    return np.clip(cells, 0, length - 1), weights


def _along(value: Any, axis: int, cells: Vector, weights: Vector | None) -> Any:
    """Take cells along an axis, and add them up by weights."""
    lead = (slice(None),) * axis
    if weights is None:
        return value[(*lead, cells)]
    used = [k for k in range(cells.shape[1]) if weights[:, k].any()]
    total = None
    for k in used:
        shape = (-1, *(1,) * (len(value.shape) - axis - 1))
        weight = weights[:, k].astype(value.dtype).reshape(shape)
        part = value[(*lead, cells[:, k])] * weight
        total = part if total is None else total + part
    return total


def lengths_of(
    shape: tuple[int, ...], axes: list[int], scales: Any, sizes: Any, policy: str
) -> tuple[list[int], list[float]]:
    """Give the output's lengths along ``axes`` and the factors that places follow from."""
    given = [shape[a] for a in axes]
    if sizes is None:
        factors = [float(s) for s in np.asarray(scales)]
        if len(factors) != len(axes):
            raise ValueError(f"resize takes a factor a dimension, but got {factors}")
        if any(not 0 < f < 2**31 for f in factors):
            raise ValueError(f"resize takes positive factors, but got {factors}")
        return [int(np.floor(n * f)) for n, f in zip(given, factors, strict=True)], factors
    wanted = [int(n) for n in np.asarray(sizes)]
    if len(wanted) != len(axes) or any(n < 0 for n in wanted) or 0 in given:
        raise ValueError(f"resize takes a length a dimension, but got {wanted} for {given}")
    factors = [w / n for w, n in zip(wanted, given, strict=True)]
    if policy != "stretch":
        one = min(factors) if policy == "not_larger" else max(factors)
        factors = [one] * len(axes)
        wanted = [int(np.floor(n * one + 0.5)) for n in given]
    return wanted, factors


def resample(value: Any, roi: Any, axes: list[int], wanted: list[int], factors: list[float],
             way: Way) -> Any:  # fmt: skip
    """Resize ``axes`` to the ``wanted`` lengths, one after the other."""
    target = list(value.shape)
    for axis, out in zip(axes, wanted, strict=True):
        target[axis] = out
    allow(target, value.dtype)
    if 0 in target:
        return np.zeros(target, value.dtype)
    regions = [(0.0, 1.0)] * len(axes)
    crops = way.coordinates == "tf_crop_and_resize"
    if crops:
        flat = [float(v) for v in np.asarray(roi)]
        regions = list(zip(flat[: len(axes)], flat[len(axes) :], strict=True))
    dtype = value.dtype
    if way.mode != "nearest" and dtype.name not in ("float32", "float64"):
        value = value.astype(np.dtype(np.float32))
    outside: Any = False
    for axis, out, factor, region in zip(axes, wanted, factors, regions, strict=True):
        length = value.shape[axis]
        if length == out and factor == 1 and not crops:
            continue
        x = places(way, length, out, factor, region)
        if crops:
            beyond = (x < 0) | (x > length - 1)
            outside = outside | beyond.reshape((-1, *(1,) * (len(target) - axis - 1)))
        if way.mode == "nearest":
            value = _along(value, axis, nearest(way, x, length), None)
        else:
            value = _along(value, axis, *taps(way, x, length, factor))
    if crops:
        value = np.where(outside, value.dtype.type(way.extrapolation), value)
    return value if value.dtype == dtype else value.astype(dtype)
