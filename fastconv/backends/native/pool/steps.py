"""The folds that a block of a pool is made of: what `walk` reads from its tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.manifest.pools import Step as StepRow
from fastconv.backends.manifest.pools import StepFold, Walk
from fastconv.backends.manifest.schema import size_of
from fastconv.backends.native.pool.cuts import Cuts, cells
from fastconv.problem.record import record

INPUT_PLANE = -1
ALIGNMENT = 64
# Folds of a block: first line, cells, elements (0: the block's columns), a row each.
Folds = Array


@record(frozen=True)
class Step:
    """Lines folded into lines, in each block its own; places and distances in bytes.

    ``folds`` is for each depth and block of rows; see `StepFold` for what they mean.
    """

    target: int
    source: int
    folds: list[Folds]
    first: bool = False
    target_bytes: int = 0
    line_bytes: int = 0
    cell_bytes: int = 0
    inside: bool = False
    carry: bool = False


class Steps:
    """A pool's steps, and where a worker's scratch memory holds what.

    Parameters
    ----------
    cuts
        The blocks.
    columns
        Elements of a tile: so many may be touched past the last.
    largest
        Whether maxima are asked for: runs may then overlap.

    Attributes
    ----------
    rows
        The steps in their order.
    checked
        The step before which an image's rows are all there, and where they are.
    result
        Where the last step left its lines.
    bytes
        Scratch memory of a worker.
    """

    def __init__(self, cuts: Cuts, columns: int, *, largest: bool) -> None:
        self.cuts, self.largest = cuts, largest
        self.size = cuts.problem.dtype.itemsize
        self.line_bytes, self.row_bytes = cuts.pitch * self.size, cuts.size[2] * self.size
        self.over = cuts.reach + columns * cuts.strides[2] + cuts.lanes
        self.rows: list[Step] = []
        self.bytes = 8 * Walk.CALL_WORDS
        self.checked, self.tops = (0, INPUT_PLANE), np.zeros(len(cuts.row_table), np.int64)
        if cuts.deep:
            self._fold_depth()
        lines = self._room(cuts.planes * cuts.rows * cuts.pitch)
        if cuts.padded:
            self._add(lines, INPUT_PLANE, self._all_places(0))
        self._fold_down(lines)
        self.result = self._fold_across(lines)

    def table(self) -> Array:
        """Return the kernel's table: the steps' words, their blocks', their folds'."""
        words = np.zeros((len(self.rows), size_of(StepRow)), np.int64)
        parts, place = [], words.size
        for step, row in zip(self.rows, words, strict=True):
            sizes = [folds.size for folds in step.folds]
            ends = place + 2 * len(sizes) + np.cumsum(sizes)
            row[:] = [
                *StepRow(
                    first=step.first, target=step.target, target_bytes=step.target_bytes,
                    source=step.source, line_bytes=step.line_bytes, cell_bytes=step.cell_bytes,
                    inside=step.inside, carry=step.carry, blocks=place,
                )
            ]  # fmt: skip
            parts += [np.stack([ends - sizes, ends], 1), *step.folds]
            place = int(ends[-1])
        return np.concatenate([words.ravel(), *(part.ravel() for part in parts)])

    def _room(self, elements: int) -> int:
        """Return scratch memory, and as much after it as may be touched."""
        place = self.bytes
        self.bytes += -(-(elements + self.over) * self.size // ALIGNMENT) * ALIGNMENT
        return place

    def _blocks(self) -> list[tuple[int, int]]:
        """Return each block's first output row, and their number."""
        firsts = range(0, self.cuts.output[1], self.cuts.rows)
        return [(first, min(self.cuts.rows, self.cuts.output[1] - first)) for first in firsts]

    def _add(
        self, target: int, source: int, folds: list[Folds], plane_lines: int = 0, **options: Any
    ) -> None:
        """Add a step; ``folds`` is for each block of rows, or for each depth as well.

        Those of a block's first plane serve the others ``plane_lines`` further on.
        """
        if plane_lines:
            others = np.arange(self.cuts.planes)[:, None, None] * np.array([plane_lines, 0, 0])
            folds = [(f + others).reshape(-1, 3) for f in folds]
        arrays = [_joined(f) for f in folds]
        arrays *= self.cuts.output[0] * len(self.cuts.row_table) // len(arrays)
        self.rows.append(Step(target, source, arrays, **options))

    def _fold_depth(self) -> None:
        """Fold the planes that a depth's windows see into one."""
        cuts, window = self.cuts, self.cuts.windows[0]
        ((_, _, _, low, _),) = cuts.column_table
        tops, bottoms = cuts.row_table.T
        most = int((bottoms - tops).max()) * cuts.size[2]
        planes = self._room(most) + int(low) * self.size
        folds = [
            _folds(start * cuts.size[1] + top, count, (bottom - top) * cuts.size[2] - low)
            for start, count in zip(window.start, cells(window), strict=True)
            for top, bottom in cuts.row_table
        ]
        self._add(
            planes, INPUT_PLANE, folds, first=True, line_bytes=self.row_bytes,
            cell_bytes=window.step * cuts.size[1] * self.row_bytes,
        )  # fmt: skip
        self.checked, self.tops = (1, planes), tops

    def _fold_down(self, lines: int) -> None:
        """Fold the rows of windows into lines: at once, or runs of them first."""
        cuts, window = self.cuts, self.cuts.windows[1]
        seen: dict[str, Any] = {
            "first": not cuts.deep, "line_bytes": self.row_bytes, "plane_lines": cuts.size[1],
            "cell_bytes": window.step * self.row_bytes, "target_bytes": self.line_bytes,
        }  # fmt: skip
        plane, run, taps, stride = self.checked[1], cuts.run_down, cuts.taps[1], cuts.strides[1]
        if run == 0:
            folds = [
                _folds(window.start[at : at + n] - top, cells(window)[at : at + n])
                for (at, n), top in zip(self._blocks(), self.tops, strict=True)
            ]
            self._add(lines, plane, folds, **seen, inside=True)
            return
        whole, left = divmod(taps, run)
        starts = [(n - 1) * stride + (taps - run) * window.step + 1 for _, n in self._blocks()]
        runs = self._room(cuts.planes * max(starts) * cuts.pitch)
        folds = [
            self._inside(at * stride - cuts.before[1] + np.arange(count), run, top)
            for (at, _), count, top in zip(self._blocks(), starts, self.tops, strict=True)
        ]
        self._add(runs, plane, folds, **seen)
        of_runs: dict[str, Any] = {
            "line_bytes": self.line_bytes, "plane_lines": starts[0], "inside": True,
            "cell_bytes": run * window.step * self.line_bytes, "target_bytes": self.line_bytes,
        }  # fmt: skip
        folds = [_folds(np.arange(n) * stride, whole) for _, n in self._blocks()]
        self._add(lines, runs, folds, **of_runs)
        if left and self.largest:
            last = (taps - run) * window.step
            folds = [_folds(np.arange(n) * stride + last, 1) for _, n in self._blocks()]
            self._add(lines, runs, folds, **of_runs, carry=True)
        elif left:
            after = whole * run * window.step - cuts.before[1]
            folds = [
                self._inside((at + np.arange(n)) * stride + after, left, top)
                for (at, n), top in zip(self._blocks(), self.tops, strict=True)
            ]
            self._add(lines, plane, folds, **seen, inside=True, carry=True)

    def _inside(self, places: Array, count: int, top: Any) -> Folds:
        """Return folds of the rows ``places``, + step, ... that are in the image."""
        step = self.cuts.windows[1].step
        low = np.maximum(0, -(places // step))
        high = np.maximum(low, np.minimum(count, -((places - self.cuts.size[1]) // step)))
        return _folds(places + low * step - top, high - low)

    def _fold_across(self, lines: int) -> int:
        """Fold the columns of windows at every place of the lines; give where they are."""
        cuts, taps, run = self.cuts, self.cuts.taps[2], self.cuts.run_across
        if not cuts.folds_across:
            return lines
        cell = cuts.windows[2].step * self.size
        room = cuts.planes * cuts.rows * cuts.pitch
        folded = self._room(room)
        if run == 0:
            self._add(folded, lines, self._all_places(taps), cell_bytes=cell)
            return folded
        runs, (whole, left) = self._room(room), divmod(taps, run)
        self._add(runs, lines, self._all_places(run), cell_bytes=cell)
        self._add(folded, runs, self._all_places(whole), cell_bytes=run * cell)
        if left and self.largest:
            last = runs + (taps - run) * cell
            self._add(folded, last, self._all_places(1), carry=True)
        elif left:
            last = lines + whole * run * cell
            self._add(folded, last, self._all_places(left), cell_bytes=cell, carry=True)
        return folded

    def _all_places(self, count: int) -> list[Folds]:
        """Return folds of ``count`` cells at every place of a block's lines."""
        return [_folds(0, count, self.cuts.planes * n * self.cuts.pitch) for _, n in self._blocks()]


def _folds(lines: Array | int, count: Array | int, elements: int = 0) -> Folds:
    return np.stack(np.broadcast_arrays(lines, count, elements), -1).astype(np.int64).reshape(-1, 3)


def _joined(folds: Folds) -> Array:
    """Join folds that differ by a number of lines: add how many they are, and that number."""
    rows: list[list[int]] = []
    for line, count, elements in folds.tolist():
        if rows and rows[-1][1:3] == [count, elements]:
            first, _, _, lines, step = last = rows[-1]
            if lines == 1 or line == first + lines * step:
                last[3:] = lines + 1, line - first if lines == 1 else step
                continue
        fold = StepFold(line=line, cells=count, elements=elements, lines=1, apart=0)
        rows.append([*fold])
    return np.array(rows, np.int64)
