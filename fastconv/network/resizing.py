"""Resizing in all of ONNX's modes: what `interpolate` cannot do, by taps and weights a dimension.

Along one dimension each output cell is a sum of a few input cells (one for "nearest"), whose
places and weights follow from the lengths alone. Keys, Cubic convolution interpolation, 1981.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
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


def places(way: Way, length: int, out: int, scale: float, roi: tuple[float, float]) -> Any:
    """Return where each output cell is along the input, in cells."""
    # By factors in float32, as onnxruntime and torch compute them: the same cells are nearest. By
    # sizes in exact ratios.
    by_size = scale == out / length
    real: Any = np.float64 if by_size else np.float32
    x, last, factor = np.arange(out, dtype=real), real(length - 1), real(scale)
    kind = way.coordinates

    def scaled(cells: Any) -> Any:
        return cells * length / out if by_size else cells / factor

    if kind == "asymmetric":
        return scaled(x)
    if kind == "tf_half_pixel_for_nn":
        return scaled(x + real(0.5))
    if kind == "align_corners":
        return x * last / real(out - 1) if out > 1 else np.zeros(out, real)
    if kind == "tf_crop_and_resize":
        start, end = map(real, roi)
        if out > 1:
            return start * last + x * (end - start) * last / real(out - 1)
        return np.full(out, real(0.5) * (start + end) * last)
    middle = scaled(x + real(0.5))
    half = middle - real(0.5)
    if kind == "half_pixel":
        return half
    if kind == "pytorch_half_pixel":
        return half if out > 1 else np.zeros(out, real)
    if kind == "half_pixel_symmetric":
        if by_size:
            return half
        shift = real(length / 2) * (1 - real(out) / (factor * real(length)))
        return shift + middle - real(0.5)
    raise ValueError(f"there are no coordinates {kind!r}")


def nearest(way: Way, x: Vector, length: int) -> Vector:
    """Return the cell nearest to each place."""
    roundings: dict[str, Callable[[Any], Any]] = {
        "round_prefer_floor": lambda v: np.ceil(v - 0.5),
        "round_prefer_ceil": lambda v: np.floor(v + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    rounded = roundings[way.rounding](x.astype(np.float64))
    kept: Vector = np.clip(rounded, 0, length - 1).astype(np.int64)
    return kept


def taps(way: Way, x: Vector, length: int, scale: float) -> tuple[Vector, Vector]:
    """Return for each place the cells that it sees, and their weights: (out, taps) each."""
    x = x.astype(np.float64)
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


def scaled_length(length: int, factor: float) -> int:
    """Return an axis's length after a factor, which ONNX has in float32, and so the product.

    As torch and onnxruntime have it: 100 times 0.7 is 70, though float32's 0.7 is a little less.
    """
    if factor == int(factor):
        return length * int(factor)
    return int(np.floor(np.float32(length) * np.float32(factor)))


def factor_for(length: int, out: int, factor: float) -> float | None:
    """Return a factor, the same in float32, for which `interpolate` makes so many cells.

    None where there is none: the length was not the product's.
    """
    found = factor
    if int(length * found) != out:
        found = out / length
        found = found if int(length * found) == out else math.nextafter(found, math.inf)
    return found if abs(found - factor) <= factor * 2.0**-23 else None


def rounded_to(value: Any, dtype: np.dtype[Any]) -> Any:
    """Round numbers to a dtype: integers to even, and where they overshoot to the dtype's ends."""
    if dtype.kind not in "iu":
        return value.astype(dtype)
    limits, whole = np.iinfo(dtype), np.rint(value)
    # Floats hold the ends of 8 and 16 bits alone; beyond the largest float below an end is the end.
    low, high = (value.dtype.type(v) for v in (limits.min, limits.max))
    inside = np.minimum(np.maximum(whole, low), high).astype(dtype)
    if int(high) == limits.max:
        return inside
    return np.where(whole >= high, dtype.type(limits.max), inside)


def lengths_of(
    shape: tuple[int, ...], axes: list[int], scales: Any, sizes: Any, policy: str
) -> tuple[list[int], list[float]]:
    """Return the output's lengths along ``axes`` and the factors that places follow from."""
    given = [shape[a] for a in axes]
    if sizes is None:
        factors = [float(s) for s in np.asarray(scales)]
        if len(factors) != len(axes):
            raise ValueError(f"resize takes a factor a dimension, but got {factors}")
        if any(not 0 < f < 2**31 for f in factors):
            raise ValueError(f"resize takes positive factors, but got {factors}")
        return [scaled_length(n, f) for n, f in zip(given, factors, strict=True)], factors
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
        # Integers of more than 16 bits are whole numbers that float32 does not hold.
        long = dtype.kind in "iu" and dtype.itemsize > 2
        value = value.astype(np.dtype(np.float64 if long else np.float32))
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
    if way.mode == "linear" and not way.antialias and dtype.kind in "iu":
        # Between the cells, and cut down to whole numbers as onnxruntime does.
        return np.trunc(value).astype(dtype)
    return value if value.dtype == dtype else rounded_to(value, dtype)
