"""Local response normalisation: squares summed over neighbouring channels, in float64."""

from __future__ import annotations

import math
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.native.plan import scratch_stride
from fastconv.backends.numba.elementary import Function, inlined
from fastconv.backends.numba.engine import (
    INPUT,
    OUTPUT,
    SCRATCH,
    NativePlan,
    Stage,
    array,
    as_float,
    float_bits,
    kernel,
)
from fastconv.backends.numba.pointwise import Pointwise
from fastconv.problem import LocalResponseNormProblem

# Pixels of a work item.
PIXELS = 512


def _make_power(root: bool) -> Function:
    """Make x to the power of beta; three quarters, which all known networks take, from roots."""
    if root:
        return inlined(lambda x, beta: math.sqrt(x) * math.sqrt(math.sqrt(x)))
    return inlined(lambda x, beta: math.pow(x, beta))


@kernel
def response_planes(name: str, root: bool):  # type: ignore[no-untyped-def]
    """Channels before pixels: a work item is a block of an image's pixels, in all channels."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize
    power = _make_power(root)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        channels, pixels, before, after = args[2], args[3], args[4], args[5]
        factor, beta, k = as_float(args[6]), as_float(args[7]), as_float(args[8])
        scratch, blocks = args[9] + worker * args[10], (pixels + PIXELS - 1) // PIXELS
        for item in range(first, last):
            image, block = divmod(item, blocks)
            count = min(PIXELS, pixels - block * PIXELS)
            start = (image * channels * pixels + block * PIXELS) * size
            sums = array(scratch, (count,), np.float64)
            for c in range(channels):
                for i in range(count):
                    sums[i] = 0.0
                for j in range(max(0, c - before), min(channels, c + after + 1)):
                    x = array(args[0] + start + j * pixels * size, (count,), real)
                    for i in range(count):
                        sums[i] += np.float64(x[i]) * np.float64(x[i])
                source = array(args[0] + start + c * pixels * size, (count,), real)
                target = array(args[1] + start + c * pixels * size, (count,), real)
                for i in range(count):
                    target[i] = real(np.float64(source[i]) / power(k + factor * sums[i], beta))

    return body


@kernel
def response_pixels(name: str, root: bool):  # type: ignore[no-untyped-def]
    """Channels last: a work item is some pixels."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize
    power = _make_power(root)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        channels, pixels, before, after = args[2], args[3], args[4], args[5]
        factor, beta, k = as_float(args[6]), as_float(args[7]), as_float(args[8])
        per_item = max(1, PIXELS // channels)
        sums = array(args[9] + worker * args[10], (channels,), np.float64)
        for pixel in range(first * per_item, min(last * per_item, pixels)):
            source = array(args[0] + pixel * channels * size, (channels,), real)
            target = array(args[1] + pixel * channels * size, (channels,), real)
            for c in range(channels):
                sums[c] = 0.0
            for shift in range(max(-before, 1 - channels), min(after, channels - 1) + 1):
                place, count = max(0, shift), channels - abs(shift)
                x = array(args[0] + (pixel * channels + place) * size, (count,), real)
                own = sums[max(0, -shift) :]
                for i in range(count):
                    own[i] += np.float64(x[i]) * np.float64(x[i])
            for c in range(channels):
                target[c] = real(np.float64(source[c]) / power(k + factor * sums[c], beta))

    return body


class LocalResponseNorm(Pointwise):
    """A window of channels summed anew for each of them."""

    name = "direct"

    def operations(self, problem: LocalResponseNormProblem) -> float:
        return 2 * min(problem.neighbours, problem.channels) + 40

    def plan(self, problem: LocalResponseNormProblem, *parameters: Array | None) -> NativePlan:
        channels, pixels = problem.channels, prod(problem.size)
        last = problem.channels_last or pixels == 1
        scratch = 8 * (channels if last else PIXELS)
        constants = (problem.dtype.name, problem.beta == 0.75)
        arguments: tuple[Any, ...] = (
            INPUT(0), OUTPUT, channels, pixels * (problem.batch if last else 1), problem.before,
            problem.after, float_bits(problem.alpha / problem.neighbours), float_bits(problem.beta),
            float_bits(problem.k), SCRATCH, scratch_stride(scratch),
        )  # fmt: skip
        if last:
            per_item = max(1, PIXELS // channels)
            items = -(-problem.batch * pixels // per_item)
            stage = Stage(response_pixels(*constants), items, arguments)
        else:
            items = problem.batch * -(-pixels // PIXELS)
            stage = Stage(response_planes(*constants), items, arguments)
        return self.native_plan(problem, [stage], scratch_bytes=scratch)
