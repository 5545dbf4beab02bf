"""Sums, smallest and largest elements: rows in vectors, or elements after the axis side by side."""

from __future__ import annotations

from math import prod

from fastconv.backends.base import Array, Cost, roofline
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.plan import INPUT, OUTPUT, Argument, NativePlan, Stage
from fastconv.machine import Machine
from fastconv.problem.reduce import ReduceProblem

# Input, output; elements before, along and after the axis; rows of an item where nothing is after
# it, else items of the elements after it.
SOURCE, TARGET, OUTER, LENGTH, INNER, EACH, PARTS = range(7)
# Elements that are summed in one block, and those after the axis that an item has.
BLOCK, LANES = 1024, 128
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
        each, parts = max(1, _ITEM // length), -(-inner // LANES)
        items = -(-outer // each) if inner == 1 else outer * parts
        kernel = self.library.kernel("reduce", problem.function, problem.dtype.name)
        words: list[Argument] = [INPUT(0), OUTPUT, outer, length, inner, each, parts]
        return self.native_plan(problem, [Stage(kernel, items, words)])
