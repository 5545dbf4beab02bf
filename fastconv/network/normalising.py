"""Normalisations that the functional API has not: over other axes, or with their statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.network.wide import in_float32, widened


def _per_channel(values: Any, rank: int) -> Any:
    return values.reshape((-1, *(1,) * (rank - 2)))


@in_float32
def batch_norm_each(
    value: Any, scale: Any, bias: Any, mean: Any, variance: Any, *, eps: float
) -> Any:
    """Normalise each cell by its own statistics (spatial=0, up to opset 8)."""
    return (value - mean) / np.sqrt(variance + value.dtype.type(eps)) * scale + bias


def batch_norm_training(
    value: Any, scale: Any, bias: Any, mean: Any, variance: Any, *, eps: float, momentum: float
) -> Any:
    """Normalise by the batch's own statistics; give the running ones moved towards them."""
    rank, wide = len(value.shape), widened(value)
    axes = (0, *range(2, rank))
    own_mean = np.mean(wide, axis=axes)
    shifted = wide - _per_channel(own_mean, rank)
    own_variance = np.mean(shifted * shifted, axis=axes)
    unit = shifted / np.sqrt(_per_channel(own_variance, rank) + wide.dtype.type(eps))
    factors = (_per_channel(widened(v).astype(wide.dtype), rank) for v in (scale, bias))
    weight, offset = factors
    kept = mean.dtype.type(momentum)
    rest = mean.dtype.type(1 - momentum)
    return (
        (unit * weight + offset).astype(value.dtype),
        mean * kept + own_mean.astype(mean.dtype) * rest,
        variance * kept + own_variance.astype(variance.dtype) * rest,
    )


def layer_norm_from(
    value: Any, weight: Any = None, bias: Any = None, *, axis: int, eps: float
) -> Any:
    """Normalise over the dimensions from ``axis`` on."""
    shape = tuple(value.shape[axis % len(value.shape) :])
    if any(p is not None and tuple(p.shape) != shape for p in (weight, bias)):
        plain = functional.layer_norm(value, shape, None, None, eps)
        scaled = plain if weight is None else plain * weight
        return scaled if bias is None else scaled + bias
    return functional.layer_norm(value, shape, weight, bias, eps)


def layer_norm_with_moments(
    value: Any, weight: Any = None, bias: Any = None, *, axis: int, eps: float
) -> Any:
    """Normalise as `layer_norm_from`; give the mean and 1 / standard deviation besides."""
    axes = tuple(range(axis % len(value.shape), len(value.shape)))
    wide = widened(value)
    mean = np.mean(wide, axis=axes, keepdims=True)
    variance = np.mean((wide - mean) ** 2, axis=axes, keepdims=True)
    inverse = 1 / np.sqrt(variance + wide.dtype.type(eps))
    return layer_norm_from(value, weight, bias, axis=axis, eps=eps), mean, inverse


def rms_norm(value: Any, weight: Any, *, axis: int, eps: float) -> Any:
    """Divide by the root of the mean square over the dimensions from ``axis`` on.

    Zhang and Sennrich, Root mean square layer normalization, 2019.
    """
    axes = tuple(range(axis % len(value.shape), len(value.shape)))
    wide = widened(value)
    square = np.mean(wide * wide, axis=axes, keepdims=True)
    unit = wide / np.sqrt(square + wide.dtype.type(eps))
    return unit.astype(value.dtype) * weight


@in_float32
def lp_normalise(value: Any, *, axis: int, p: int) -> Any:
    """Divide by the p-norm along an axis; where that is 0 the result is 0."""
    if p == 1:
        norm = np.sum(np.abs(value), axis=axis, keepdims=True)
    else:
        norm = np.sqrt(np.sum(value * value, axis=axis, keepdims=True))
    safe = np.where(norm == 0, value.dtype.type(1), norm)
    return (value / safe).astype(value.dtype)


@in_float32
def mean_variance_normalise(value: Any, *, axes: Sequence[int]) -> Any:
    """Subtract the mean over axes, and divide by the standard deviation."""
    mean = np.mean(value, axis=tuple(axes), keepdims=True)
    shifted = value - mean
    variance = np.mean(shifted * shifted, axis=tuple(axes), keepdims=True)
    return shifted / (np.sqrt(variance) + value.dtype.type(1e-9))


@in_float32
def even_response_norm(value: Any, *, size: int, alpha: float, beta: float, k: float) -> Any:
    """Normalise by an even number of channels: one more behind than before."""
    rank, channels = len(value.shape), value.shape[1]
    # There is nothing farther away than all channels.
    before, after = (min(n, channels) for n in ((size - 1) // 2, size // 2))
    square = value * value
    padded = functional.pad(square, [0, 0] * (rank - 2) + [before, after])
    total = padded[:, :channels]
    for shift in range(1, before + after + 1):
        total = total + padded[:, shift : shift + channels]
    scale = total * value.dtype.type(alpha / size) + value.dtype.type(k)
    return value / scale ** value.dtype.type(beta)


def group_norm_by_group(value: Any, weight: Any, bias: Any, *, num_groups: int, eps: float) -> Any:
    """Normalise groups of channels, with one scale and one bias a group."""
    times = value.shape[1] // max(num_groups, 1)
    scale, offset = (np.repeat(np.asarray(v), times) for v in (weight, bias))
    return functional.group_norm(value, num_groups, scale, offset, eps)


NORMALISING: dict[str, Callable[..., Any]] = {
    "batch_norm_each": batch_norm_each,
    "batch_norm_training": batch_norm_training,
    "even_response_norm": even_response_norm,
    "group_norm_of": lambda x, w, b, *, num_groups, eps: functional.group_norm(
        x, num_groups, w, b, eps
    ),
    "group_norm_by_group": group_norm_by_group,
    "layer_norm_from": layer_norm_from,
    "layer_norm_with_moments": layer_norm_with_moments,
    "lp_normalise": lp_normalise,
    "mean_variance_normalise": mean_variance_normalise,
    "rms_norm": rms_norm,
}
