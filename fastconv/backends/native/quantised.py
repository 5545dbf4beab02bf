"""Integers for numbers and back, in one pass over rows that share a scale."""

from __future__ import annotations

from math import prod
from typing import Any

from fastconv.backends.base import Array, Cost, roofline
from fastconv.backends.manifest.elements import Quantised
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.channelwise import Rows
from fastconv.backends.native.plan import INPUT, OUTPUT, NativePlan, Stage
from fastconv.machine import Machine
from fastconv.problem.quantise import TARGETS, DequantizeProblem, QuantizeProblem


class _Scaled(NativeAlgorithm):
    name = "rows"

    def cost(self, problem: Any, machine: Machine) -> Cost:
        # A division takes as long as some ten products.
        flops = 12 * prod(problem.shape)
        return Cost(roofline(problem, machine, flops=flops, bytes=problem.bytes))

    def _plan(self, problem: Any, integers: Any) -> NativePlan:
        given = problem.by_row
        rows = Rows(given.rows, given.length)
        arguments = Quantised(
            source=INPUT(0), target=OUTPUT, scales=INPUT(1), zeros=INPUT(2), period=given.period,
            step=given.step, scale_rows=given.scale_rows, each=int(given.each), **rows.fields,
        )  # fmt: skip
        kernel = self.library.kernel(f"quantised.{problem.name}", integers.name)
        return self.native_plan(problem, [Stage(kernel, rows.items, arguments)])


class Quantize(_Scaled):
    """Quantising to integers of 8 and 16 bits."""

    def why_not(self, problem: QuantizeProblem) -> str | None:
        known = problem.result.name in TARGETS
        return None if known else f"these kernels quantise to {', '.join(TARGETS)}"

    def plan(self, problem: QuantizeProblem, *parameters: Array | None) -> NativePlan:
        return self._plan(problem, problem.result)


class Dequantize(_Scaled):
    """Numbers for integers of 8 to 32 bits."""

    def why_not(self, problem: DequantizeProblem) -> str | None:
        return None

    def plan(self, problem: DequantizeProblem, *parameters: Array | None) -> NativePlan:
        return self._plan(problem, problem.dtype)
