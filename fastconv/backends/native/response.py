"""Local response normalisation: squares summed over neighbouring channels, in float64."""

from __future__ import annotations

from math import prod

from fastconv.backends.base import Array
from fastconv.backends.manifest.elements import Response
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    NativePlan,
    Stage,
    scratch_stride,
)
from fastconv.backends.native.pointwise import Pointwise
from fastconv.problem import LocalResponseNormProblem

# Doubles that a vector may hold beyond what is asked for.
SLACK = 8


class LocalResponseNorm(Pointwise):
    """A window of channels summed again for each of them."""

    name = "direct"

    def operations(self, problem: LocalResponseNormProblem) -> float:
        return 2 * min(problem.neighbours, problem.channels) + 40

    def plan(self, problem: LocalResponseNormProblem, *parameters: Array | None) -> NativePlan:
        channels, pixels = problem.channels, prod(problem.size)
        last = problem.channels_last or pixels == 1
        reach = min(problem.before, channels - 1) + min(problem.after, channels - 1)
        scratch = 8 * (channels + reach + SLACK if last else Response.PIXELS)
        constants = (problem.dtype.name, problem.beta == 0.75)
        arguments = Response(
            source=INPUT(0), target=OUTPUT, channels=channels,
            pixels=pixels * (problem.batch if last else 1), before=problem.before,
            after=problem.after, factor=problem.alpha / problem.neighbours, beta=problem.beta,
            term=problem.k, scratch_base=SCRATCH, scratch_stride=scratch_stride(scratch),
        )  # fmt: skip
        if last:
            per_item = max(1, Response.PIXELS // channels)
            items = -(-problem.batch * pixels // per_item)
            stage = Stage(self.library.kernel("response.pixels", *constants), items, arguments)
        else:
            items = problem.batch * -(-pixels // Response.PIXELS)
            stage = Stage(self.library.kernel("response.planes", *constants), items, arguments)
        return self.native_plan(problem, [stage], scratch_bytes=scratch)
