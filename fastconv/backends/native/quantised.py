"""Integers for numbers and back, in one pass over rows that share a scale."""

from __future__ import annotations

from math import prod
from typing import Any

from fastconv.backends.base import Array, Cost, roofline
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.channelwise import Rows
from fastconv.backends.native.plan import INPUT, OUTPUT, NativePlan, Stage
from fastconv.machine import Machine
from fastconv.problem.quantise import TARGETS, DequantizeProblem, QuantizeProblem

# The kernels' words: input and output; `channelwise.Rows`; scales and zero points (0: none); then
# how a row finds its scale, see `ScaleRows`.
(SOURCE, TARGET, ROWS, ROW_LENGTH, ROW_CHUNK, ROW_CHUNKS, ROWS_PER_ITEM, SCALES, ZEROS, PERIOD,
 STEP, SCALE_ROWS, EACH) = range(13)  # fmt: skip


class _Scaled(NativeAlgorithm):
    name = "rows"

    def cost(self, problem: Any, machine: Machine) -> Cost:
        # A division takes as long as some ten products.
        flops = 12 * prod(problem.shape)
        return Cost(roofline(problem, machine, flops=flops, bytes=problem.bytes))

    def _plan(self, problem: Any, integers: Any) -> NativePlan:
        given = problem.by_row
        rows = Rows(given.rows, given.length)
        words = (
            INPUT(0), OUTPUT, *rows.words, INPUT(1), INPUT(2), given.period, given.step,
            given.scale_rows, int(given.each),
        )  # fmt: skip
        kernel = self.library.kernel(f"quantised.{problem.name}", integers.name)
        return self.native_plan(problem, [Stage(kernel, rows.items, words)])


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
