"""Local response normalisation: squares summed over neighbouring channels, in float64."""

from __future__ import annotations

from math import prod
from typing import Any

from fastconv.backends.base import Array
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    NativePlan,
    Stage,
    float_bits,
    scratch_stride,
)
from fastconv.backends.native.pointwise import Pointwise
from fastconv.problem import LocalResponseNormProblem

# Pixels of a work item.
PIXELS = 512
# Doubles that a vector may hold beyond what is asked for.
SLACK = 8

# The kernels' words: input, output, sizes, the neighbours on either side; what the sum of squares
# is multiplied by, the power, what is added, as bits of float64; scratch memory for the numbers of
# a block's pixels, or of a pixel's channels with their neighbours.
(SOURCE, TARGET, CHANNELS, PIXEL_COUNT, BEFORE, AFTER, FACTOR, BETA, TERM, SCRATCH_BASE,
 SCRATCH_STRIDE) = range(11)  # fmt: skip


class LocalResponseNorm(Pointwise):
    """A window of channels summed anew for each of them."""

    name = "direct"

    def operations(self, problem: LocalResponseNormProblem) -> float:
        return 2 * min(problem.neighbours, problem.channels) + 40

    def plan(self, problem: LocalResponseNormProblem, *parameters: Array | None) -> NativePlan:
        channels, pixels = problem.channels, prod(problem.size)
        last = problem.channels_last or pixels == 1
        reach = min(problem.before, channels - 1) + min(problem.after, channels - 1)
        scratch = 8 * (channels + reach + SLACK if last else PIXELS)
        constants = (problem.dtype.name, problem.beta == 0.75)
        arguments: tuple[Any, ...] = (
            INPUT(0), OUTPUT, channels, pixels * (problem.batch if last else 1), problem.before,
            problem.after, float_bits(problem.alpha / problem.neighbours), float_bits(problem.beta),
            float_bits(problem.k), SCRATCH, scratch_stride(scratch),
        )  # fmt: skip
        if last:
            per_item = max(1, PIXELS // channels)
            items = -(-problem.batch * pixels // per_item)
            stage = Stage(self.library.kernel("response.pixels", *constants), items, arguments)
        else:
            items = problem.batch * -(-pixels // PIXELS)
            stage = Stage(self.library.kernel("response.planes", *constants), items, arguments)
        return self.native_plan(problem, [stage], scratch_bytes=scratch)
