"""Views made whole, and arrays put side by side."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.manifest.convolutions import Pack
from fastconv.backends.manifest.moves import CopyRows, Permute
from fastconv.backends.native.channelwise import Rows
from fastconv.backends.native.gemm import tile_for, vector_tile
from fastconv.backends.native.move import Moving
from fastconv.backends.native.plan import INPUT, OUTPUT, NativePlan, Stage, constant
from fastconv.problem import ConcatenateProblem, StridedProblem

# Axes of `move.permute`.
_AXES = 6

# Floats by which cells are moved that squares in registers are made of.
_FLOATS = {4: "float32", 8: "float64"}
# Columns of a matrix that a work item turns at most.
_PART = 256


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
        """Return the stage that copies rows from one slot to another."""
        cut = Rows(rows, length)
        kernel = self.mover("move.rows", problem)
        arguments = CopyRows(
            source=slots[0], target=slots[1], source_pitch=pitches[0], target_pitch=pitches[1],
            **cut.fields,
        )  # fmt: skip
        return Stage(kernel, cut.items, arguments)


class Strided(Moving):
    """Matrices turned by squares in registers; else rows, where a view has them, or cells."""

    name = "permute"

    def why_not(self, problem: StridedProblem) -> str | None:
        if len(problem.merged()) > _AXES:
            return f"views of more than {_AXES} axes"
        return super().why_not(problem)

    def plan(self, problem: StridedProblem, *parameters: Array | None) -> NativePlan:
        axes = problem.merged()
        turned = self._turned(problem, axes)
        if turned is not None:
            return self.native_plan(problem, [turned])
        source = INPUT(0) + problem.start * problem.dtype.itemsize
        padded = [(1, 0)] * (_AXES - len(axes)) + list(axes)
        lengths, steps = zip(*padded, strict=True)
        stage = Stage(
            self.mover("move.permute", problem),
            prod(lengths[:3]),
            Permute(source=source, target=OUTPUT, lengths=lengths[1:], steps=steps),
        )
        return self.native_plan(problem, [stage])

    def _turned(self, problem: StridedProblem, axes: Any) -> Stage | None:
        """Return the stage that turns each of some whole matrices; None: the view is another."""
        shape = _matrices(axes)
        if shape is None or problem.dtype.itemsize not in _FLOATS:
            return None
        count, rows, columns = shape
        dtype = np.dtype(_FLOATS[problem.dtype.itemsize])
        tile = vector_tile(tile_for(self.library, dtype))
        if rows < tile.lanes:
            return None
        # An item is some columns, which become as many rows.
        part = max((n for n in range(1, _PART + 1) if columns % n == 0), default=1)
        part = columns if part < tile.lanes else part
        counts = (1, columns // part, part)
        depths, heights, widths = (constant(np.arange(n), np.int64) for n in counts)
        source = INPUT(0) + problem.start * problem.dtype.itemsize
        return Stage(
            self.library.kernel("pack", tile),
            count * (columns // part),
            Pack(
                source=source, target=OUTPUT, source_image=rows * columns, source_depth=0,
                source_row=part, source_pixel=1, source_channel=columns, target_depth=1,
                target_height=columns // part, target_width=part, depths=depths, heights=heights,
                widths=widths, channels=rows, pitch=rows, run=0, count=part, part=part,
            ),
        )  # fmt: skip


def _matrices(axes: Any) -> tuple[int, int, int] | None:
    """Return (count, rows, columns) where axes are those of whole matrices, rows last."""
    lead, (columns, step), (rows, pitch) = ((1, 0), *axes)[-3:] if len(axes) in (2, 3) else _NONE
    if step != 1 or pitch != columns or rows * columns == 0:
        return None
    return (lead[0], rows, columns) if lead[0] == 1 or lead[1] == rows * columns else None


_NONE = ((1, 0), (0, 0), (0, 0))
