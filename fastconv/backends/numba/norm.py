"""Normalisations: means and variances of chunks, put together in order, then one affine step.

A chunk's variance is taken about its own mean, in float64, and chunks are combined as Chan, Golub
and LeVeque do (Algorithms for computing the sample variance, 1983): no digits cancel, and chunks
depend on the image alone.
"""

from __future__ import annotations

import math
from math import prod
from typing import Any

import numba
import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.native.plan import constant
from fastconv.backends.native.pointwise import BLOCK
from fastconv.backends.numba.channelwise import Extent, Rows, image_stage, shared_stage
from fastconv.backends.numba.engine import (
    INPUT,
    OUTPUT,
    WORKSPACE,
    NativePlan,
    Slot,
    Stage,
    array,
    float_bits,
    kernel,
)
from fastconv.backends.numba.engine.memory import as_float
from fastconv.backends.numba.pointwise import Pointwise
from fastconv.backends.numba.softmax import total
from fastconv.problem import BatchNormProblem, GroupNormProblem, LayerNormProblem


@numba.njit(error_model="numpy", fastmath={"reassoc"})
def squares(x, mean):  # type: ignore[no-untyped-def]
    """Sum the squares of deviations in float64, as ``total`` sums."""
    result = 0.0
    for i in range(x.shape[0]):
        deviation = np.float64(x[i]) - mean
        result += deviation * deviation
    return result


@kernel
def row_moments(name: str):  # type: ignore[no-untyped-def]
    """Mean and sum of squares about it of contiguous chunks of rows."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        rows, length, chunk, chunks, per_item = args[1], args[2], args[3], args[4], args[5]
        means = array(args[6], (rows * chunks,), np.float64)
        sums = array(args[7], (rows * chunks,), np.float64)
        for item in range(first, last):
            block, part = divmod(item, chunks)
            count = min(chunk, length - part * chunk)
            for row in range(block * per_item, min((block + 1) * per_item, rows)):
                x = array(args[0] + (row * length + part * chunk) * size, (count,), real)
                mean = total(x) / count
                means[row * chunks + part] = mean
                sums[row * chunks + part] = squares(x, mean)

    return body


@kernel
def pixel_moments(name: str):  # type: ignore[no-untyped-def]
    """Mean and sum of squares about it of each channel, over chunks of pixels."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        pixels, channels, chunk, chunks = args[1], args[2], args[3], args[4]
        for item in range(first, last):
            image, part = divmod(item, chunks)
            count = min(chunk, pixels - part * chunk)
            start = args[0] + (image * pixels + part * chunk) * channels * size
            means = array(args[5] + item * channels * 8, (channels,), np.float64)
            sums = array(args[6] + item * channels * 8, (channels,), np.float64)
            for c in range(channels):
                means[c] = 0.0
                sums[c] = 0.0
            for p in range(count):
                x = array(start + p * channels * size, (channels,), real)
                for c in range(channels):
                    means[c] += np.float64(x[c])
            for c in range(channels):
                means[c] /= count
            for p in range(count):
                x = array(start + p * channels * size, (channels,), real)
                for c in range(channels):
                    deviation = np.float64(x[c]) - means[c]
                    sums[c] += deviation * deviation

    return body


@kernel
def combine():  # type: ignore[no-untyped-def]
    """Put a group's parts together and give each of its channels a scale and a shift.

    A group has ``chunks`` x ``width`` parts: a work item is one group of one image.
    """

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        groups, chunks, width, chunk, length = args[2], args[3], args[4], args[5], args[6]
        image_step, group_step, chunk_step = args[7], args[8], args[9]
        channels, eps = args[10], as_float(args[15])
        weight = array(args[11], (groups * channels,), np.float64)
        bias = array(args[12], (groups * channels,), np.float64)
        for item in range(first, last):
            image, group = divmod(item, groups)
            seen, mean, squares_sum = 0.0, 0.0, 0.0
            for part in range(chunks):
                place = image * image_step + group * group_step + part * chunk_step
                means = array(args[0] + place * 8, (width,), np.float64)
                sums = array(args[1] + place * 8, (width,), np.float64)
                count = np.float64(min(chunk, length - part * chunk))
                for j in range(width):
                    step = means[j] - mean
                    share = count / (seen + count)
                    mean += step * share
                    squares_sum += sums[j] + step * (step * (seen * share))
                    seen += count
            deviation = math.sqrt(squares_sum / seen + eps)
            scale = array(args[13] + item * channels * 8, (channels,), np.float64)
            shift = array(args[14] + item * channels * 8, (channels,), np.float64)
            for c in range(channels):
                scale[c] = weight[group * channels + c] / deviation
                shift[c] = bias[group * channels + c] - mean * scale[c]

    return body


@kernel
def standardise(name: str):  # type: ignore[no-untyped-def]
    """Scale and shift each row by its own numbers, then each place by the weight and bias."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        rows, length, chunk, chunks, per_item = args[2], args[3], args[4], args[5], args[6]
        scale = array(args[7], (rows,), np.float64)
        shift = array(args[8], (rows,), np.float64)
        for item in range(first, last):
            block, part = divmod(item, chunks)
            count = min(chunk, length - part * chunk)
            weight = array(args[9] + part * chunk * 8, (count,), np.float64)
            bias = array(args[10] + part * chunk * 8, (count,), np.float64)
            for row in range(block * per_item, min((block + 1) * per_item, rows)):
                a, b = scale[row], shift[row]
                place = (row * length + part * chunk) * size
                source = array(args[0] + place, (count,), real)
                target = array(args[1] + place, (count,), real)
                for i in range(count):
                    target[i] = real((np.float64(source[i]) * a + b) * weight[i] + bias[i])

    return body


def _wide(parameter: Array | None, count: int, value: float) -> Array:
    """Give a parameter in float64, or ``count`` times the value that stands for none."""
    if parameter is None:
        return np.full(count, float(value))
    return parameter.reshape(-1).astype(np.float64)


class _Workspace:
    """Hands out float64 arrays in the workspace."""

    def __init__(self) -> None:
        self.bytes = 0

    def take(self, count: int) -> Slot:
        """Give the slot of so many numbers."""
        slot = WORKSPACE + self.bytes
        self.bytes += -(-8 * count // 64) * 64
        return slot


class BatchNorm(Pointwise):
    """A scale and a shift a channel, made when the plan is."""

    name = "affine"

    def operations(self, problem: BatchNormProblem) -> float:
        return 4

    def plan(self, problem: BatchNormProblem, *parameters: Array | None) -> NativePlan:
        mean, variance, weight, bias = parameters
        channels = problem.channels
        with np.errstate(all="ignore"):
            deviation = np.sqrt(_wide(variance, channels, 1) + problem.eps)
            scale = _wide(weight, channels, 1) / deviation
            shift = _wide(bias, channels, 0) - _wide(mean, channels, 0) * scale
        stage = shared_stage("affine", problem.dtype.name, _extent(problem), scale, shift)
        return self.native_plan(problem, [stage])


class GroupNorm(Pointwise):
    """Moments of chunks, their combination a group, an affine step a channel."""

    name = "two_pass"

    def operations(self, problem: GroupNormProblem) -> float:
        return 12

    def plan(self, problem: GroupNormProblem, *parameters: Array | None) -> NativePlan:
        extent, space = _extent(problem), _Workspace()
        moments, words = (_pixel_parts if extent.last else _row_parts)(problem, extent, space)
        tables = [space.take(extent.images * extent.channels) for _ in range(2)]
        affine = [
            constant(_wide(p, extent.channels, v)) for p, v in zip(parameters, (1, 0), strict=True)
        ]
        arguments = (
            *words, extent.channels // problem.groups, *affine, *tables, float_bits(problem.eps)
        )  # fmt: skip
        stages = [
            moments,
            Stage(combine(), extent.images * problem.groups, arguments),
            image_stage("affine", problem.dtype.name, extent, tables[0], tables[1]),
        ]
        return self.native_plan(problem, stages, workspace_bytes=space.bytes)


class LayerNorm(Pointwise):
    """Moments of chunks, their combination a row, an affine step a place."""

    name = "two_pass"

    def operations(self, problem: LayerNormProblem) -> float:
        return 12

    def plan(self, problem: LayerNormProblem, *parameters: Array | None) -> NativePlan:
        name, space = problem.dtype.name, _Workspace()
        rows = Rows(problem.rows, problem.length)
        moments, means, sums = _row_moments(name, rows, space)
        scale, shift = (space.take(rows.rows) for _ in range(2))
        one, zero = constant(np.ones(1)), constant(np.zeros(1))
        whole = (
            means, sums, 1, rows.chunks, 1, BLOCK, rows.length, rows.chunks, 0, 1, 1, one, zero,
            scale, shift, float_bits(problem.eps),
        )  # fmt: skip
        affine = [
            constant(_wide(p, rows.length, v)) for p, v in zip(parameters, (1, 0), strict=True)
        ]
        stages = [
            moments,
            Stage(combine(), rows.rows, whole),
            Stage(
                standardise(name),
                rows.items,
                (INPUT(0), OUTPUT, *rows.words, scale, shift, *affine),
            ),
        ]
        return self.native_plan(problem, stages, workspace_bytes=space.bytes)


def _extent(problem: BatchNormProblem | GroupNormProblem) -> Extent:
    inner = prod(problem.size)
    return Extent(problem.batch, problem.channels, inner, problem.channels_last or inner == 1)


def _row_moments(name: str, rows: Rows, space: _Workspace) -> tuple[Stage, Slot, Slot]:
    means, sums = (space.take(rows.rows * rows.chunks) for _ in range(2))
    arguments = (INPUT(0), *rows.words, means, sums)
    return Stage(row_moments(name), rows.items, arguments), means, sums


def _row_parts(
    problem: GroupNormProblem, extent: Extent, space: _Workspace
) -> tuple[Stage, tuple[Any, ...]]:
    """Give the stage of a group's moments where it is contiguous, and ``combine``'s first words."""
    rows = Rows(extent.images * problem.groups, extent.image // problem.groups)
    stage, means, sums = _row_moments(problem.dtype.name, rows, space)
    return stage, (
        means, sums, problem.groups, rows.chunks, 1, BLOCK, rows.length,
        problem.groups * rows.chunks, rows.chunks, 1,
    )  # fmt: skip


def _pixel_parts(
    problem: GroupNormProblem, extent: Extent, space: _Workspace
) -> tuple[Stage, tuple[Any, ...]]:
    """Give the same where channels are last."""
    chunk = max(32, BLOCK // extent.channels)
    chunks = -(-extent.inner // chunk)
    items = extent.images * chunks
    means, sums = (space.take(items * extent.channels) for _ in range(2))
    arguments = (INPUT(0), extent.inner, extent.channels, chunk, chunks, means, sums)
    return Stage(pixel_moments(problem.dtype.name), items, arguments), (
        means, sums, problem.groups, chunks, extent.channels // problem.groups, chunk,
        extent.inner, chunks * extent.channels, extent.channels // problem.groups,
        extent.channels,
    )  # fmt: skip
