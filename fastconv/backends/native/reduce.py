"""Sums, smallest and largest elements: rows in vectors, or elements after the axis side by side."""

from __future__ import annotations

from math import prod

from fastconv.backends.base import Array, Cost, roofline
from fastconv.backends.manifest.elements import Reduce as ReduceArgs
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.plan import INPUT, OUTPUT, NativePlan, Stage
from fastconv.machine import Machine
from fastconv.problem.reduce import ReduceProblem

# Elements of an item of rows.
_ITEM = 1 << 14


class Reduce(NativeAlgorithm):
    """Elements in vectors, in one order."""

    name = "blocks"

    def cost(self, problem: ReduceProblem, machine: Machine) -> Cost:
        flops = prod(problem.shape)
        return Cost(1e-6 + roofline(problem, machine, flops=flops, bytes=problem.bytes))

    def plan(self, problem: ReduceProblem, *parameters: Array | None) -> NativePlan:
        outer, length, inner = problem.extents
        each, parts = max(1, _ITEM // length), -(-inner // ReduceArgs.LANES)
        items = -(-outer // each) if inner == 1 else outer * parts
        kernel = self.library.kernel("reduce", problem.function, problem.dtype.name)
        arguments = ReduceArgs(
            source=INPUT(0), target=OUTPUT, outer=outer, length=length, inner=inner, each=each,
            parts=parts,
        )  # fmt: skip
        return self.native_plan(problem, [Stage(kernel, items, arguments)])
