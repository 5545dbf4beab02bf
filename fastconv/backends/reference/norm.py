"""Normalisations as their definitions read: subtract the mean, divide by the deviation."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.reference.activation import activate
from fastconv.backends.reference.common import Reference, narrow, wide
from fastconv.problem import (
    BatchNormProblem,
    GroupNormProblem,
    LayerNormProblem,
    LocalResponseNormProblem,
)


class BatchNorm(Reference):
    """With a mean and a variance given a channel."""

    def compute(self, problem: BatchNormProblem, parameters: Any, *inputs: Any) -> Array:
        mean, variance, weight, bias = (_along_channels(p, problem) for p in parameters)
        result = (wide(inputs[0]) - mean) / np.sqrt(variance + problem.eps)
        return narrow(activate(_affine(result, weight, bias), problem.activation), problem.dtype)


class GroupNorm(Reference):
    """Groups of channels of one image; instances are groups of one channel."""

    def compute(self, problem: GroupNormProblem, parameters: Any, *inputs: Any) -> Array:
        weight, bias = (None if p is None else wide(p).reshape(-1, 1) for p in parameters)
        x = wide(inputs[0])
        first = np.moveaxis(x, -1, 1) if problem.channels_last else x
        groups = _standard(first.reshape(problem.batch, problem.groups, -1), problem.eps)
        result = _affine(groups.reshape(problem.batch, problem.channels, -1), weight, bias)
        result = result.reshape(first.shape)
        if problem.channels_last:
            result = np.moveaxis(result, 1, -1)
        return narrow(activate(result, problem.activation), problem.dtype)


class LayerNorm(Reference):
    """The last axes, flattened, of each row."""

    def compute(self, problem: LayerNormProblem, parameters: Any, *inputs: Any) -> Array:
        weight, bias = (None if p is None else wide(p).reshape(-1) for p in parameters)
        rows = _standard(wide(inputs[0]).reshape(problem.rows, -1), problem.eps)
        return narrow(_affine(rows, weight, bias), problem.dtype).reshape(problem.shape)


class LocalResponseNorm(Reference):
    """Squares of neighbouring channels, zeros beyond the first and the last."""

    def compute(self, problem: LocalResponseNormProblem, parameters: Any, *inputs: Any) -> Array:
        x = wide(inputs[0])
        axis = x.ndim - 1 if problem.channels_last else 1
        width = [(0, 0)] * x.ndim
        # Of a window wider than all channels, those that there are.
        before, after = (min(n, x.shape[axis]) for n in (problem.before, problem.after))
        width[axis] = (before, after)
        squares = np.pad(x * x, width)
        windows = np.lib.stride_tricks.sliding_window_view(squares, before + after + 1, axis=axis)
        mean = windows.sum(axis=-1) / problem.neighbours
        return narrow(x / (problem.k + problem.alpha * mean) ** problem.beta, problem.dtype)


def _along_channels(parameter: Array | None, problem: BatchNormProblem) -> Any:
    if parameter is None:
        return None
    spatial = () if problem.channels_last else (1,) * len(problem.size)
    return wide(parameter).reshape(-1, *spatial)


def _standard(x: Array, eps: float) -> Array:
    """Bring the last axis to mean 0 and (biased) variance 1."""
    centred = x - x.mean(axis=-1, keepdims=True)
    result: Array = centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps)
    return result


def _affine(x: Array, weight: Array | None, bias: Array | None) -> Array:
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias
