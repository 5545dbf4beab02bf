"""Operations of traced modules on whole arrays: Fourier transforms, windows, writing at places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod, sqrt
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.network.indexing import scatter_elements, told_beforehand
from fastconv.network.limits import allow
from fastconv.problem import Shape

# What a Fourier transform is divided by: nothing, the root of its length, or its length.
SCALES: tuple[Callable[[int], float], ...] = (lambda n: 1.0, lambda n: 1 / sqrt(n), lambda n: 1 / n)
_COMPLEX = {"float16": "complex64", "float32": "complex64", "float64": "complex128"}
_REAL = {"complex64": np.float32, "complex128": np.float64}


def fft_of_real(value: Any, *, axes: Sequence[int], scale: int, onesided: bool) -> Any:
    """Return the Fourier transform of real values; ``onesided`` leaves out the mirrored half."""
    shape = list(value.shape)
    if onesided:
        shape[axes[-1]] = shape[axes[-1]] // 2 + 1
    dtype = np.dtype(_COMPLEX[value.dtype.name])

    def fft_of_real(source: Any) -> Any:
        function = np.fft.rfftn if onesided else np.fft.fftn
        return _scaled(function(source, axes=tuple(axes)), source.shape, axes, scale, dtype)

    _check_lengths(value.shape, axes)
    return told_beforehand(fft_of_real, [(shape, dtype)], value)


def fft(value: Any, *, axes: Sequence[int], scale: int, forward: bool) -> Any:
    """Return the Fourier transform of complex values, or the inverse one, not divided."""

    def fft(source: Any) -> Any:
        if forward:
            found = np.fft.fftn(source, axes=tuple(axes))
        else:
            found = np.fft.ifftn(source, axes=tuple(axes), norm="forward")
        return _scaled(found, source.shape, axes, scale, source.dtype)

    _check_lengths(value.shape, axes)
    return told_beforehand(fft, [(value.shape, value.dtype)], value)


def fft_to_real(value: Any, length: Any, *, axes: Sequence[int], scale: int) -> Any:
    """Return the inverse transform of a one-sided one, whose last axis becomes ``length``."""
    count = int(np.asarray(length).reshape(-1)[0])
    shape = list(value.shape)
    shape[axes[-1]] = count
    dtype = np.dtype(_REAL[value.dtype.name])

    def fft_to_real(source: Any) -> Any:
        lengths = [shape[axis] for axis in axes]
        found = np.fft.irfftn(source, s=lengths, axes=tuple(axes), norm="forward")
        return _scaled(found, shape, axes, scale, dtype)

    _check_lengths(shape, axes)
    allow(shape, dtype)
    return told_beforehand(fft_to_real, [(shape, dtype)], value)


def _check_lengths(shape: Sequence[int], axes: Sequence[int]) -> None:
    if any(shape[axis] < 1 for axis in axes):
        raise ValueError(f"invalid number of data points of a Fourier transform: {list(shape)}")


def _scaled(found: Any, shape: Sequence[int], axes: Sequence[int], scale: int, dtype: Any) -> Any:
    factor = SCALES[scale](prod(shape[axis] for axis in axes))
    scaled = found if factor == 1 else found * np.asarray(factor, found.real.dtype)
    return scaled.astype(dtype, copy=False)


def windows(value: Any, *, axis: int, size: int, step: int) -> Any:
    """Return all windows of a size along an axis; their cells are a last axis."""
    length = value.shape[axis]
    if not 0 <= size <= length:
        raise ValueError(f"maximum size for a window is {length}, but got {size}")
    shape = list(value.shape)
    shape[axis] = (length - size) // step + 1
    allow((*shape, size), value.dtype)

    def windows(source: Any) -> Any:
        if size == 0:
            return np.zeros((*shape, 0), source.dtype)
        every = np.lib.stride_tricks.sliding_window_view(source, size, axis)
        key = [slice(None)] * source.ndim
        key[axis] = slice(None, None, step)
        return np.ascontiguousarray(every[tuple(key)])

    return told_beforehand(windows, [((*shape, size), value.dtype)], value)


def diagonal(value: Any, *, offset: int, axes: Sequence[int]) -> Any:
    """Return the diagonals of matrices, as a last axis."""
    shape = np.broadcast_to(np.zeros((), np.bool_), value.shape).diagonal(offset, *axes).shape

    def diagonal(source: Any) -> Any:
        return np.ascontiguousarray(source.diagonal(offset, *axes))

    return told_beforehand(diagonal, [(shape, value.dtype)], value)


def real_pairs(value: Any) -> Any:
    """Return complex numbers as pairs of reals, in a last axis."""
    dtype = np.dtype(_REAL[value.dtype.name])

    def real_pairs(source: Any) -> Any:
        return np.stack([source.real, source.imag], axis=-1)

    return told_beforehand(real_pairs, [((*value.shape, 2), dtype)], value)


def complex_of_pairs(value: Any) -> Any:
    """Return pairs of reals in the last axis as complex numbers."""
    if value.shape[-1:] != (2,):
        raise ValueError(f"the last dimension must have a size of 2, but got {list(value.shape)}")
    return complex_of(value[..., 0], value[..., 1])


def complex_of(real: Any, imaginary: Any) -> Any:
    """Return complex numbers of their parts."""
    shape = np.broadcast_shapes(real.shape, imaginary.shape)
    dtype = np.dtype(_COMPLEX[real.dtype.name])

    def complex_of(one: Any, other: Any) -> Any:
        found = np.empty(shape, dtype)
        found.real, found.imag = one, other
        return found

    return told_beforehand(complex_of, [(shape, dtype)], real, imaginary)


def angle(value: Any) -> Any:
    """Return the angle of complex numbers; of reals, 0 or pi."""
    dtype = np.dtype(_REAL.get(value.dtype.name, value.dtype))

    def angle(source: Any) -> Any:
        found = np.angle(source)
        return np.where(np.isnan(source), source.real, found).astype(dtype)

    return told_beforehand(angle, [(value.shape, dtype)], value)


# Reading and writing at places.


def _key(places: Sequence[int], indices: Sequence[Any]) -> tuple[Any, ...]:
    key: list[Any] = [slice(None)] * (max(places) + 1)
    for place, index in zip(places, indices, strict=True):
        key[place] = index
    return tuple(key)


def take_at(value: Any, *indices: Any, places: Sequence[int]) -> Any:
    """Take the entries at arrays of indices, one array for each axis in ``places``."""
    zeros = [np.broadcast_to(np.zeros((), np.int64), index.shape) for index in indices]
    shape = np.broadcast_to(np.zeros((), np.bool_), value.shape)[_key(places, zeros)].shape
    allow(shape, value.dtype)

    def take_at(source: Any, *given: Any) -> Any:
        return source[_key(places, given)]

    return told_beforehand(take_at, [(shape, value.dtype)], value, *indices)


def put_at(
    value: Any, updates: Any, *indices: Any, places: Sequence[int], accumulate: bool
) -> Any:  # fmt: skip
    """Write at arrays of indices, into a copy; ``accumulate`` adds, in the order of the indices."""

    def put_at(source: Any, given: Any, *chosen: Any) -> Any:
        target = np.array(source)
        if accumulate:
            np.add.at(target, _key(places, chosen), given)
        else:
            target[_key(places, chosen)] = given
        return target

    return told_beforehand(put_at, [(value.shape, value.dtype)], value, updates, *indices)


def put_slice(value: Any, updates: Any, ends: Any, *, axis: int, step: int) -> Any:
    """Write into a range along an axis of a copy, from ``ends[0]`` to before ``ends[1]``."""
    first, last = (int(n) for n in np.asarray(ends))

    def put_slice(source: Any, given: Any) -> Any:
        target = np.array(source)
        key: list[Any] = [slice(None)] * source.ndim
        key[axis] = slice(first, last, step)
        target[tuple(key)] = given
        return target

    return told_beforehand(put_slice, [(value.shape, value.dtype)], value, updates)


def put_elements(value: Any, indices: Any, updates: Any, *, axis: int, reduction: str) -> Any:
    """Write one update along an axis for each index, into a copy."""

    def put_elements(source: Any, places: Any, given: Any) -> Any:
        key = tuple(slice(n) for n in places.shape)
        return scatter_elements(source, places, given[key], axis=axis, reduction=reduction)

    if len(indices.shape) != len(value.shape):
        raise ValueError(f"indices of {len(indices.shape)} dimensions for {list(value.shape)}")
    return told_beforehand(put_elements, [(value.shape, value.dtype)], value, indices, updates)


# Running values.


def running_extreme(value: Any, *, axis: int, largest: bool) -> tuple[Any, Any]:
    """Return running maxima or minima and their places, the last of equal ones; NaN wins."""
    specs = [(value.shape, value.dtype), (value.shape, np.dtype(np.int64))]

    def running_extreme(source: Any) -> tuple[Any, Any]:
        function = np.maximum if largest else np.minimum
        found = function.accumulate(source, axis=axis)
        lengths = [1] * source.ndim
        lengths[axis] = source.shape[axis]
        here = np.arange(source.shape[axis]).reshape(lengths)
        is_new = (source == found) | (source != source)
        return found, np.maximum.accumulate(np.where(is_new, here, 0), axis=axis)

    results: tuple[Any, Any] = told_beforehand(running_extreme, specs, value)
    return results


def running_log_sum(value: Any, *, axis: int) -> Any:
    """Return running logarithms of sums of exponentials."""

    def running_log_sum(source: Any) -> Any:
        return np.logaddexp.accumulate(source, axis=axis)

    return told_beforehand(running_log_sum, [(value.shape, value.dtype)], value)


def bucket(value: Any, edges: Any, *, right: bool, dtype: Any) -> Any:
    """Return how many sorted edges are below each value; ``right``: or equal to it."""

    def bucket(source: Any, sorted_edges: Any) -> Any:
        return np.searchsorted(sorted_edges, source, "right" if right else "left").astype(dtype)

    return told_beforehand(bucket, [(value.shape, np.dtype(dtype))], value, edges)


# Operations with sizes that are known only at run time.


def fold_to(value: Any, size: Any, **options: Any) -> Any:
    """Fold columns into images of a size that is known only at run time."""
    return functional.fold(value, tuple(int(n) for n in size), **options)


def unpool_to(value: Any, indices: Any, size: Any) -> Any:
    """Put pooled values back where they came from, in images of a given size."""
    lengths: Shape = tuple(int(n) for n in np.asarray(size))
    shape = (*value.shape[: len(value.shape) - len(lengths)], *lengths)
    allow(shape, value.dtype)

    def unpool_to(source: Any, places: Any) -> Any:
        lead = shape[: -len(lengths)]
        rows = np.zeros((prod(lead), prod(lengths)), source.dtype)
        flat = np.reshape(places, (rows.shape[0], -1))
        if flat.size and not (flat.min() >= 0 and flat.max() < rows.shape[1]):
            raise ValueError(f"found an invalid max index for images of {list(lengths)}")
        np.put_along_axis(rows, flat, np.reshape(source, flat.shape), 1)
        return rows.reshape(shape)

    return told_beforehand(unpool_to, [(shape, value.dtype)], value, indices)


TRANSFORMS: dict[str, Callable[..., Any]] = {
    "angle": angle,
    "arctan2": lambda a, b: np.arctan2(a, b),
    "bucket": bucket,
    "complex_of": complex_of,
    "complex_of_pairs": complex_of_pairs,
    "conjugate": lambda value: np.conjugate(value),
    "copysign": lambda a, b: np.copysign(a, b),
    "diagonal": diagonal,
    "exp2": lambda value: np.exp2(value),
    "fft": fft,
    "fft_of_real": fft_of_real,
    "fft_to_real": fft_to_real,
    "fold_to": fold_to,
    "hypot": lambda a, b: np.hypot(a, b),
    "left_shift": lambda a, b: np.left_shift(a, b),
    "log10": lambda value: np.log10(value),
    "log2": lambda value: np.log2(value),
    "put_at": put_at,
    "put_elements": put_elements,
    "put_slice": put_slice,
    "real_pairs": real_pairs,
    "right_shift": lambda a, b: np.right_shift(a, b),
    "running_extreme": running_extreme,
    "running_log_sum": running_log_sum,
    "signbit": lambda value: np.signbit(value),
    "take_at": take_at,
    "trunc": lambda value: np.trunc(value),
    "unpool_to": unpool_to,
    "windows": windows,
}
