"""Softmax along any axis: subtract the largest, exponentiate, divide by the sum."""

from __future__ import annotations

from fastconv.backends.base import Array
from fastconv.backends.manifest.elements import SoftmaxColumns, SoftmaxRows
from fastconv.backends.native.channelwise import Rows
from fastconv.backends.native.plan import INPUT, OUTPUT, SCRATCH, NativePlan, Stage, scratch_stride
from fastconv.backends.native.pointwise import BLOCK, Pointwise
from fastconv.problem import SoftmaxProblem


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
            arguments = SoftmaxRows(source=INPUT(0), target=OUTPUT, **rows.fields)
            stage = Stage(address, items, arguments)
            return self.native_plan(problem, [stage])
        scratch = 16 * SoftmaxColumns.AT_ONCE
        per_item = max(1, BLOCK // (length * inner))
        blocks = -(-inner // SoftmaxColumns.AT_ONCE)
        columns = SoftmaxColumns(
            source=INPUT(0), target=OUTPUT, outer=outer, length=length, inner=inner,
            per_item=per_item, blocks=blocks, scratch_base=SCRATCH,
            scratch_stride=scratch_stride(scratch),
        )  # fmt: skip
        address = self.library.kernel("softmax.columns", name, log)
        stage = Stage(address, -(-outer // per_item) * blocks, columns)
        return self.native_plan(problem, [stage], scratch_bytes=scratch)
