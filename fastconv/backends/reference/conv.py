"""Convolution by its definition: windows of the padded input times the weight, summed wide."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.reference.activation import activate
from fastconv.backends.reference.common import Reference, narrow, spatial, wide
from fastconv.backends.reference.padding import pad_spatial
from fastconv.problem import ConvProblem, ConvTransposeProblem


class Conv(Reference):
    """Cross-correlation, one tap at a time."""

    def compute(self, problem: ConvProblem, parameters: Any, *inputs: Any) -> Array:
        weight, bias = parameters
        x, residual = inputs
        padded = pad_spatial(channels_first(x, problem), problem.padding, problem.padding_mode)
        groups = problem.groups
        batch, channels, *_ = padded.shape
        padded = wide(padded).reshape(batch, groups, channels // groups, *padded.shape[2:])
        w = wide(weight).reshape(groups, problem.out_channels // groups, *weight.shape[1:])
        size = problem.output_size
        total = np.zeros((batch, groups, w.shape[1], int(np.prod(size))), padded.dtype)
        for tap in product(*map(range, problem.kernel_size)):
            window = padded[spatial(*_slices(tap, problem, size))]
            flat = window.reshape(*window.shape[:3], -1)
            total += np.matmul(w[spatial(*tap)], flat)
        total = total.reshape(batch, problem.out_channels, *size)
        return finish(total, problem, bias, residual)


class ConvTranspose(Reference):
    """The transpose: every input cell adds its multiple of the weight to the output."""

    def compute(self, problem: ConvTransposeProblem, parameters: Any, *inputs: Any) -> Array:
        weight, bias = parameters
        x, residual = inputs
        groups = problem.groups
        x = wide(channels_first(x, problem))
        batch, channels, *size = x.shape
        x = x.reshape(batch, groups, channels // groups, -1)
        w = wide(weight).reshape(groups, channels // groups, *weight.shape[1:])
        full = tuple(
            length + sum(p) for length, p in zip(problem.output_size, problem.padding, strict=True)
        )
        spread = tuple(
            max(f, (i - 1) * s + d * (k - 1) + 1)
            for f, i, s, d, k in zip(
                full,
                size,
                problem.stride,
                problem.dilation,
                problem.kernel_size,
                strict=True,
            )
        )
        total = np.zeros((batch, groups, w.shape[2], *spread), x.dtype)
        for tap in product(*map(range, problem.kernel_size)):
            part = np.matmul(np.swapaxes(w[spatial(*tap)], 1, 2), x)
            total[spatial(*_slices(tap, problem, tuple(size)))] += part.reshape(
                batch, groups, w.shape[2], *size
            )
        crop = tuple(
            slice(p[0], p[0] + length)
            for p, length in zip(problem.padding, problem.output_size, strict=True)
        )
        total = total[spatial(*crop)].reshape(batch, problem.out_channels, *problem.output_size)
        return finish(total, problem, bias, residual)


def channels_first(x: Array, problem: Any) -> Array:
    """Return the array with channels at axis 1."""
    return np.moveaxis(x, -1, 1) if problem.channels_last else x


def finish(total: Array, problem: Any, bias: Array | None, residual: Array | None) -> Array:
    """Do the epilogue on a wide NC... result: bias, residual, activation, layout, rounding."""
    if bias is not None:
        total = total + wide(bias).reshape(-1, *(1,) * problem.n)
    if residual is not None:
        total = total + wide(channels_first(residual, problem))
    total = activate(total, problem.activation)
    if problem.channels_last:
        total = np.moveaxis(total, 1, -1)
    return narrow(total, problem.output_dtype)


def _slices(tap: tuple[int, ...], problem: Any, size: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(t * d, t * d + (length - 1) * s + 1, s)
        for t, d, s, length in zip(tap, problem.dilation, problem.stride, size, strict=True)
    )
