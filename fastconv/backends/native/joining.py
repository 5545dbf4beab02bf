"""Views made whole, and arrays put side by side."""

from __future__ import annotations

from math import prod
from typing import Any

from fastconv.backends.base import Array
from fastconv.backends.native.channelwise import Rows
from fastconv.backends.native.move import Moving
from fastconv.backends.native.plan import INPUT, OUTPUT, NativePlan, Stage
from fastconv.problem import ConcatenateProblem, StridedProblem

# `move.rows`: input and output, `channelwise.Rows`; cells from a row to the next in either.
(SOURCE, TARGET, ROWS, ROW_LENGTH, ROW_CHUNK, ROW_CHUNKS, ROWS_PER_ITEM, SOURCE_PITCH,
 TARGET_PITCH) = range(9)  # fmt: skip

# Axes of `move.permute`.
_AXES = 6


class Concatenate(Moving):
    """Each array's rows into their places."""

    name = "rows"

    def plan(self, problem: ConcatenateProblem, *parameters: Array | None) -> NativePlan:
        rows, lengths = problem.runs
        stages = []
        done = 0
        for number, length in enumerate(lengths):
            if length:
                slots = (INPUT(number), OUTPUT + done * problem.dtype.itemsize)
                stages.append(self.copied(problem, slots, rows, length, (length, sum(lengths))))
            done += length
        return self.native_plan(problem, stages)

    def copied(self, problem: Any, slots: Any, rows: int, length: int, pitches: Any) -> Stage:
        """Give the stage that copies rows from one slot to another."""
        cut = Rows(rows, length)
        kernel = self.mover("move.rows", problem)
        return Stage(kernel, cut.items, [*slots, *cut.words, *pitches])


class Strided(Moving):
    """Rows where a view has them; else cell by cell."""

    name = "permute"

    def why_not(self, problem: StridedProblem) -> str | None:
        if len(problem.merged()) > _AXES:
            return f"views of more than {_AXES} axes"
        return super().why_not(problem)

    def plan(self, problem: StridedProblem, *parameters: Array | None) -> NativePlan:
        axes = problem.merged()
        source = INPUT(0) + problem.start * problem.dtype.itemsize
        padded = [(1, 0)] * (_AXES - len(axes)) + list(axes)
        lengths, steps = zip(*padded, strict=True)
        stage = Stage(
            self.mover("move.permute", problem),
            prod(lengths[:3]),
            [source, OUTPUT, *lengths[1:], *steps],
        )
        return self.native_plan(problem, [stage])
