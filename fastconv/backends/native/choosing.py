"""The largest entries along an axis, and boxes that do not overlap."""

from __future__ import annotations

from typing import Any

from fastconv.backends.base import Array, Cost
from fastconv.backends.manifest.moves import Suppress
from fastconv.backends.manifest.moves import TopK as TopKArgs
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    NativePlan,
    Slot,
    Stage,
    scratch_stride,
)
from fastconv.machine import Machine
from fastconv.problem.choosing import NonMaxSuppressionProblem, TopKProblem

# Entries above the least of the best that wait until the best are chosen again.
WAITING = 1024


class TopK(NativeAlgorithm):
    """Entries above the least of the best so far are kept; of these the best are chosen."""

    name = "selection"

    def why_not(self, problem: TopKProblem) -> str | None:
        if problem.extents[1] >= 1 << 31:
            return "an axis of 2^31 entries or more"
        return super().why_not(problem)

    def cost(self, problem: TopKProblem, machine: Machine) -> Cost:
        outer, length, inner = problem.extents
        return Cost(1e-6 + outer * inner * (2e-10 * length + 2e-8 * problem.count))

    def plan(self, problem: TopKProblem, *parameters: Array | None) -> NativePlan:
        outer, length, inner = problem.extents
        size = problem.dtype.itemsize
        room = min(length, max(2 * problem.count, problem.count + WAITING))
        # Keys and places twice, since sorting goes from one to the other; then the lines.
        scratch = 2 * room * (size + 4) + (TopKArgs.LINES * length * size if inner > 1 else 0)
        blocks = -(-inner // TopKArgs.LINES)
        stage = Stage(
            self.library.kernel("topk", problem.dtype.name),
            outer * blocks,
            TopKArgs(
                source=INPUT(0), values=OUTPUT, places=Slot(1), outer=outer, length=length,
                inner=inner, count=problem.count, largest=int(problem.largest),
                ordered=int(problem.ordered), scratch_base=SCRATCH,
                scratch_stride=scratch_stride(scratch), room=room,
            ),
        )  # fmt: skip
        extra = problem.output_shapes[1:]
        return self.native_plan(problem, [stage], scratch_bytes=scratch, extra_outputs=extra)


class NonMaxSuppression(NativeAlgorithm):
    """Candidates sorted by score; each is held against all that are chosen, in vectors."""

    name = "greedy"

    def why_not(self, problem: NonMaxSuppressionProblem) -> str | None:
        return "2^31 boxes or more" if problem.boxes >= 1 << 31 else None

    def cost(self, problem: NonMaxSuppressionProblem, machine: Machine) -> Cost:
        each = 2e-8 * problem.boxes + 1e-9 * problem.boxes * min(problem.most, 100)
        return Cost(1e-6 + problem.images * problem.classes * each)

    def plan(self, problem: NonMaxSuppressionProblem, *parameters: Array | None) -> NativePlan:
        # Scores and numbers of candidates, twice; corners and area of what is chosen.
        scratch = problem.boxes * 16 + problem.most * 20 + 64 * 5
        floor = problem.least
        stage = Stage(
            self.library.kernel("suppress", problem.dtype.name),
            problem.images * problem.classes,
            Suppress(
                boxes=INPUT(0), scores=INPUT(1), chosen=OUTPUT, counts=Slot(2),
                classes=problem.classes, box_count=problem.boxes, most=problem.most,
                overlap=problem.overlap, least=0.0 if floor is None else floor,
                has_least=int(floor is not None), centers=int(problem.centers),
                scratch_base=SCRATCH, scratch_stride=scratch_stride(scratch),
            ),
        )  # fmt: skip
        extra: Any = problem.output_shapes[1:]
        return self.native_plan(problem, [stage], scratch_bytes=scratch, extra_outputs=extra)
