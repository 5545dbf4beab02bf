"""Casts between floats of 16 bits and wider ones, over blocks of elements."""

from __future__ import annotations

from math import prod

from fastconv.backends.base import Array, Cost, roofline
from fastconv.backends.manifest.elements import Cast
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.plan import INPUT, OUTPUT, NativePlan, Stage
from fastconv.machine import Machine
from fastconv.problem.cast import WIDE, CastProblem
from fastconv.problem.values import name_of

# Operations for each element: what integer arithmetic takes where there are no conversions.
_OPERATIONS = 16


class Casts(NativeAlgorithm):
    """A cast over blocks of elements."""

    name = "elementwise"

    def why_not(self, problem: CastProblem) -> str | None:
        return None

    def cost(self, problem: CastProblem, machine: Machine) -> Cost:
        flops = _OPERATIONS * prod(problem.shape)
        return Cost(roofline(problem, machine, flops=flops, bytes=problem.bytes))

    def plan(self, problem: CastProblem, *parameters: Array | None) -> NativePlan:
        given, made = name_of(problem.dtype), name_of(problem.result)
        way, narrow, wide = ("to", made, given) if made in WIDE else ("from", given, made)
        kernel = self.library.kernel(
            "cast.halves" if narrow == "float16" else "cast.brains", way, wide
        )
        count = prod(problem.shape)
        arguments = Cast(source=INPUT(0), target=OUTPUT, count=count)
        return self.native_plan(problem, [Stage(kernel, -(-count // Cast.BLOCK), arguments)])
