"""Windowed operations whose rank, and sometimes padding, are known only when a graph runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.arrays import as_array
from fastconv.dispatch import solve
from fastconv.network.dilated import Windows, same_upper
from fastconv.network.resizing import Way, factor_for, lengths_of, nearest, places, resample
from fastconv.network.wide import in_float32
from fastconv.problem import PadProblem, Shape
from fastconv.problem.values import FLOATS
from fastconv.problem.windows import Pairs, span

# Integers of which float32 holds all, or as many digits as ONNX asks for.
_SUMMED = ("int8", "uint8", "int16", "uint16", "int32")
_LAST = {1: "NWC", 2: "NHWC", 3: "NDHWC"}
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def _rank(value: Any, name: str) -> int:
    n = len(value.shape) - 2
    if n not in (1, 2, 3):
        raise ValueError(f"{name} takes 1 to 3 spatial dimensions, but got {list(value.shape)}")
    return n


def _repeat(values: Any, n: int) -> Shape:
    given = tuple(int(v) for v in values)
    return given * n if len(given) == 1 else given


def same_lower(size: Shape, kernel: Shape, stride: Shape, dilation: Shape) -> Pairs:
    """Return ONNX's SAME_LOWER: as SAME_UPPER, with the odd cell at the beginning."""
    return tuple((after, before) for before, after in same_upper(size, kernel, stride, dilation))


def _padding(padding: Any, value: Any, kernel: Any, stride: Any, dilation: Any) -> Any:
    if padding != "same_lower":
        return padding
    n = len(value.shape) - 2
    sizes = (_repeat(v, n) for v in (kernel, stride, dilation))
    return same_lower(tuple(value.shape[2:]), *sizes)


def conv(value: Any, weight: Any, bias: Any = None, *, padding: Any = 0, **options: Any) -> Any:
    """Correlate; the rank is the input's."""
    n = _rank(value, "conv")
    pairs = _padding(padding, value, weight.shape[2:], options["stride"], options["dilation"])
    return getattr(functional, f"conv{n}d")(value, weight, bias, padding=pairs, **options)


def conv_transpose(
    value: Any,
    weight: Any,
    bias: Any = None,
    *,
    padding: Any = 0,
    stride: Any,
    dilation: Any,
    output_padding: Any,
    output_shape: Any,
    groups: int,
) -> Any:
    """Transposed convolution; an output shape asked for settles the padding, as ONNX has it."""
    n = _rank(value, "conv_transpose")
    strides, dilations, extra = (_repeat(v, n) for v in (stride, dilation, output_padding))
    upper = padding == "same"
    wanted = tuple(output_shape)[-n:]
    if not wanted and isinstance(padding, str):
        wanted = tuple(size * s for size, s in zip(value.shape[2:], strides, strict=True))
    if wanted:
        columns = zip(
            value.shape[2:], weight.shape[2:], strides, dilations, extra, wanted, strict=True
        )
        totals = [(size - 1) * s + e + span(k, d) - target for size, k, s, d, e, target in columns]
        extra = tuple(e - min(0, total) for e, total in zip(extra, totals, strict=True))
        halves = [(max(0, total) // 2, -(-max(0, total) // 2)) for total in totals]
        padding = tuple(pair if upper else pair[::-1] for pair in halves)
    return getattr(functional, f"conv_transpose{n}d")(
        value, weight, bias, strides, padding, extra, groups, dilations
    )


def max_pool(
    value: Any, *, kernel_size: Any, padding: Any, stride: Any, dilation: Any, ceil_mode: bool
) -> Any:
    """Max pool; the rank is the input's."""
    n = _rank(value, "max_pool")
    pairs = _padding(padding, value, kernel_size, stride, dilation)
    return getattr(functional, f"max_pool{n}d")(
        value, kernel_size, stride, pairs, dilation, ceil_mode
    )


def max_pool_flat(
    value: Any, *, kernel_size: Any, padding: Any, stride: Any, dilation: Any, ceil_mode: bool,
    column_major: bool,
) -> Any:  # fmt: skip
    """Max pool with indices into the whole flattened input, in row or column order of a plane."""
    n = _rank(value, "max_pool")
    pairs = _padding(padding, value, kernel_size, stride, dilation)
    pooled, indices = getattr(functional, f"max_pool{n}d")(
        value, kernel_size, stride, pairs, dilation, ceil_mode, return_indices=True
    )
    size = value.shape[2:]
    if column_major:
        indices = _column_major(indices, size)
    batch, channels = value.shape[:2]
    start = np.arange(batch * channels).reshape(batch, channels, *(1,) * n) * prod(size)
    return pooled, indices + start


def _column_major(indices: Any, size: Shape) -> Any:
    """Turn indices that run through a plane's last dimension first into the first dimension's."""
    result = 0
    for axis, length in enumerate(size):
        place = indices // prod(size[axis + 1 :]) % length
        result = result + place * prod(size[:axis])
    return result


def average_pool(
    value: Any, *, kernel_size: Any, padding: Any, stride: Any, ceil_mode: bool,
    count_include_pad: bool, dilation: Any = (1,),
) -> Any:  # fmt: skip
    """Average pool; the rank is the input's."""
    n = _rank(value, "average_pool")
    pairs = _padding(padding, value, kernel_size, stride, dilation)
    if any(d != 1 for d in dilation):
        windows = Windows.of(value.shape[2:], kernel_size, stride, pairs, dilation, ceil_mode)
        return _dilated_mean(value, windows, bool(count_include_pad))
    return getattr(functional, f"avg_pool{n}d")(
        value, kernel_size, stride, pairs, ceil_mode, count_include_pad
    )


def lp_pool(
    value: Any, *, norm_type: float, kernel_size: Any, padding: Any, stride: Any, ceil_mode: bool,
    dilation: Any = (1,),
) -> Any:  # fmt: skip
    """Lp pool; the rank is the input's."""
    n = _rank(value, "lp_pool")
    pairs = _padding(padding, value, kernel_size, stride, dilation)
    if any(d != 1 for d in dilation):
        windows = Windows.of(value.shape[2:], kernel_size, stride, pairs, dilation, ceil_mode)
        return _dilated_norm(value, windows, norm_type)
    return getattr(functional, f"lp_pool{n}d")(
        value, norm_type, kernel_size, stride, ceil_mode, padding=pairs
    )


@in_float32
def _dilated_mean(value: Any, windows: Windows, with_padding: bool) -> Any:
    return windows.sums(value) / windows.counts(with_padding).astype(value.dtype)


@in_float32
def _dilated_norm(value: Any, windows: Windows, p: float) -> Any:
    return windows.sums(np.abs(value) ** p) ** (1 / p)


def max_unpool_flat(
    value: Any, indices: Any, output_shape: Any = None, *, kernel_size: Any, stride: Any,
    padding: Any,
) -> Any:  # fmt: skip
    """Max unpool by indices into the whole flattened output."""
    n = _rank(value, "max_unpool")
    strides, kernel = _repeat(stride, n), _repeat(kernel_size, n)
    pairs = padding if isinstance(padding, tuple) else ((0, 0),) * n
    columns = zip(value.shape[2:], strides, kernel, pairs, strict=True)
    size = tuple((length - 1) * s + k - sum(p) for length, s, k, p in columns)
    places = indices % prod(size)
    if output_shape is not None:
        wanted = tuple(int(v) for v in np.asarray(output_shape)[-n:])
        places, size = _in_plane(places, size, wanted), wanted
    return getattr(functional, f"max_unpool{n}d")(
        value, places, kernel, strides, pairs, output_size=size
    )


def _in_plane(indices: Any, size: Shape, wanted: Shape) -> Any:
    """Turn indices into a plane of ``size`` into those of the same cells in a ``wanted`` one."""
    result = 0
    for axis, length in enumerate(size):
        place = indices // prod(size[axis + 1 :]) % length
        result = result + place * prod(wanted[axis + 1 :])
    return result


def resize(
    value: Any, roi: Any = None, scales: Any = None, sizes: Any = None, *, way: Way,
    axes: Any = None,
) -> Any:  # fmt: skip
    """Resize ``axes`` (None: all) by factors or to sizes, by `interpolate` where it can."""
    rank = len(value.shape)
    places = list(range(rank)) if axes is None else [int(a) % rank for a in axes]
    by_size = sizes is not None and np.asarray(sizes).size > 0
    if not by_size and (scales is None or np.asarray(scales).size == 0):
        raise ValueError("resize needs factors or sizes")
    wanted, factors = lengths_of(
        tuple(value.shape), places, scales, sizes if by_size else None, way.policy
    )
    if [value.shape[a] for a in places] == wanted and all(f == 1 for f in factors):
        return value
    target = _interpolated(value, places, wanted, factors, by_size, way)
    if target is None:
        return resample(value, roi, places, wanted, factors, way)
    dtype = value.dtype
    if way.mode != "nearest" and dtype.name not in FLOATS:
        # Integers are summed in float32, and cut down to whole numbers.
        return functional.interpolate(value.astype(np.dtype(np.float32)), **target).astype(dtype)
    return functional.interpolate(value, **target)


# (mode, coordinates) -> interpolate's mode and align_corners, where they mean the same.
_SAME: dict[tuple[str, str], tuple[str, bool | None]] = {
    ("nearest", "asymmetric"): ("nearest", None),
    ("linear", "half_pixel"): ("linear", False),
    ("linear", "pytorch_half_pixel"): ("linear", False),
    ("linear", "align_corners"): ("linear", True),
    ("cubic", "half_pixel"): ("cubic", False),
    ("cubic", "align_corners"): ("cubic", True),
}


def _interpolated(
    value: Any, axes: list[int], wanted: list[int], factors: list[float], by_size: bool, way: Way
) -> dict[str, Any] | None:
    """Return `interpolate`'s options where it does the same; None where it does not."""
    n = len(value.shape) - 2
    found = _SAME.get((way.mode, way.coordinates))
    spatial = dict(zip(axes, zip(wanted, factors, strict=True), strict=True))
    still = [a for a in range(n + 2)
             if spatial.get(a, (value.shape[a], 1.0)) == (value.shape[a], 1.0)]  # fmt: skip
    last = 1 not in still and n + 1 in still
    begin = 1 if last else 2
    for axis in (0, n + 1 if last else 1):
        spatial.pop(axis, None)
    plain = found and n in (1, 2, 3) and {0, n + 1 if last else 1} <= set(still)
    plain = plain and sorted(spatial) == list(range(begin, begin + n))
    if not plain or found is None or way.antialias or way.exclude_outside or 0 in wanted:
        return None
    mode, corners = found
    if way.mode == "nearest":
        if way.rounding != "floor":
            return None
    elif value.dtype.name not in (*FLOATS, *(_SUMMED if way.mode == "linear" else ())):
        return None
    if way.mode == "cubic" and n != 2:
        return None
    if way.mode == "cubic" and way.cubic_a != -0.75:
        return None
    if way.coordinates == "pytorch_half_pixel" and 1 in wanted:
        return None
    names = {"nearest": "nearest", "linear": _LINEAR[n], "cubic": "bicubic"}
    options: dict[str, Any] = {"mode": names[mode], "align_corners": corners}
    if last:
        options["layout"] = _LAST[n]
    ordered = [(value.shape[a], *spatial[a]) for a in range(begin, begin + n)]
    if way.mode == "nearest" and not all(_same_cells(way, *axis) for axis in ordered):
        return None
    # A length that stays is copied by `interpolate`, and resampled by a factor that is not 1.
    if mode == "linear" and not corners and any(n == w and f != 1 for n, w, f in ordered):
        return None
    if corners or all(f == w / length for length, w, f in ordered):
        return {**options, "size": tuple(w for _, w, _ in ordered)}
    scales = tuple(factor_for(*axis) for axis in ordered)
    return None if None in scales else {**options, "scale_factor": scales}


@functools.lru_cache(maxsize=256)
def _same_cells(way: Way, length: int, out: int, factor: float) -> bool:
    """Return whether `interpolate`, which multiplies by 1 / factor, takes equal nearest cells."""
    cells = nearest(way, places(way, length, out, factor, (0.0, 1.0)), length)
    scale = np.float32(length / out if factor == out / length else 1.0 / factor)
    torch = np.floor(np.arange(out, dtype=np.float32) * scale).astype(np.int64)
    return np.array_equal(cells, np.minimum(torch, length - 1))


def depth_to_space(value: Any, *, block: int, column_first: bool) -> Any:
    """Spread channels over blocks of pixels; ``column_first`` is pixel shuffle's order."""
    if column_first:
        return functional.pixel_shuffle(value, block)
    batch, channels, height, width = value.shape
    split = value.reshape((batch, block, block, channels // block**2, height, width))
    moved = np.transpose(split, (0, 3, 4, 1, 5, 2))
    return moved.reshape((batch, channels // block**2, height * block, width * block))


def space_to_depth(value: Any, *, block: int, column_first: bool = False) -> Any:
    """Gather blocks of pixels into channels: the block's place first, or the channel."""
    if column_first:
        return functional.pixel_unshuffle(value, block)
    batch, channels, height, width = value.shape
    split = value.reshape((batch, channels, height // block, block, width // block, block))
    moved = np.transpose(split, (0, 3, 5, 1, 2, 4))
    return moved.reshape((batch, channels * block**2, height // block, width // block))


def pad_all(
    value: Any, pads: Any = (), constant: Any = None, axes: Any = None, *, mode: str,
    value_: float = 0.0,
) -> Any:  # fmt: skip
    """Pad any dimensions: all begins, then all ends, of ``axes``.

    Negative numbers take cells away, before what is left is repeated or reflected.
    """
    given = [int(p) for p in np.asarray(pads, np.int64)]
    rank = len(value.shape)
    places = list(range(rank)) if axes is None else [_place(int(a), rank) for a in np.asarray(axes)]
    if len(given) != 2 * len(places) or len(set(places)) < len(places):
        raise ValueError(
            f"pads must hold a begin and an end for each of the axes {places}, but got {given}"
        )
    pairs = [(0, 0)] * rank
    for place, before, after in zip(
        places, given[: len(places)], given[len(places) :], strict=True
    ):
        pairs[place] = (before, after)
    if not any(p for pair in pairs for p in pair):
        return value
    fill = value_ if constant is None else np.asarray(constant).reshape(-1)[0].item()
    if mode != "constant":
        fill, (value, pairs) = None, _cropped(value, pairs)
    x = as_array(value, "data")
    return solve(PadProblem.of_axes(x, tuple(pairs), mode=mode, value=fill), (x,))


def _cropped(value: Any, pairs: list[tuple[int, int]]) -> tuple[Any, list[tuple[int, int]]]:
    """Take cells away where pads are negative; return what is left, and the pads that are."""
    if all(p >= 0 for pair in pairs for p in pair):
        return value, pairs
    for axis, (length, pair) in enumerate(zip(value.shape, pairs, strict=True)):
        if length + sum(pair) < 0:
            raise ValueError(
                f"more cells are taken away than there are: padding {pair} at dimension {axis} of "
                f"data {list(value.shape)}"
            )
    kept = tuple(
        slice(max(0, -before), max(0, length + min(0, after)))
        for length, (before, after) in zip(value.shape, pairs, strict=True)
    )
    return value[kept], [(max(0, before), max(0, after)) for before, after in pairs]


def _place(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} is out of range for data of {rank} dimensions")
    return axis % rank


WINDOWED: dict[str, Callable[..., Any]] = {
    "conv": conv,
    "conv_transpose": conv_transpose,
    "max_pool": max_pool,
    "max_pool_flat": max_pool_flat,
    "average_pool": average_pool,
    "lp_pool": lp_pool,
    "max_unpool_flat": max_unpool_flat,
    "resize": resize,
    "depth_to_space": depth_to_space,
    "space_to_depth": space_to_depth,
    "pad_all": pad_all,
}
