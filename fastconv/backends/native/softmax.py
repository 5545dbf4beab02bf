"""Softmax along any axis: subtract the largest, exponentiate, divide by the sum."""

from __future__ import annotations

from typing import Any

from fastconv.backends.base import Array
from fastconv.backends.native.channelwise import Rows
from fastconv.backends.native.plan import INPUT, OUTPUT, SCRATCH, NativePlan, Stage, scratch_stride
from fastconv.backends.native.pointwise import BLOCK, Pointwise
from fastconv.problem import SoftmaxProblem

# Columns that one work item sums at once.
COLUMNS = 256

# The kernels' words: input, output; for rows `Rows.words`; for columns the extents before, along
# and after the axis, the first of them that an item takes, the blocks of columns, and scratch
# memory, where COLUMNS sums in float64 and COLUMNS largest elements stand.
(SOURCE, TARGET, OUTER, LENGTH, INNER, PER_ITEM, BLOCKS, SCRATCH_BASE,
 SCRATCH_STRIDE) = range(9)  # fmt: skip


class Softmax(Pointwise):
    """Three passes; sums in float64, each in one order."""

    name = "softmax"

    def why_not(self, problem: SoftmaxProblem) -> str | None:
        if problem.dtype != problem.result:
            return f"dtype {problem.result.name} is not the input's: convert it before the call"
        return super().why_not(problem)

    def operations(self, problem: SoftmaxProblem) -> float:
        return 30

    def plan(self, problem: SoftmaxProblem, *parameters: Array | None) -> NativePlan:
        outer, length, inner = problem.extents
        name, log = problem.dtype.name, problem.log
        if inner == 1:
            rows = Rows(outer, length)
            items = -(-outer // rows.per_item)
            address = self.library.kernel("softmax.rows", name, log)
            stage = Stage(address, items, (INPUT(0), OUTPUT, *rows.words))
            return self.native_plan(problem, [stage])
        scratch = 16 * COLUMNS
        per_item = max(1, BLOCK // (length * inner))
        blocks = -(-inner // COLUMNS)
        arguments: tuple[Any, ...] = (
            INPUT(0), OUTPUT, outer, length, inner, per_item, blocks, SCRATCH,
            scratch_stride(scratch),
        )  # fmt: skip
        address = self.library.kernel("softmax.columns", name, log)
        stage = Stage(address, -(-outer // per_item) * blocks, arguments)
        return self.native_plan(problem, [stage], scratch_bytes=scratch)
