"""How pools of channels-first images are cut into blocks of rows and columns."""

from __future__ import annotations

from math import sqrt

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.manifest.pools import ColumnBlock
from fastconv.forks import cached_property
from fastconv.problem import AdaptivePoolProblem, PoolProblem
from fastconv.problem.pool import Windows
from fastconv.problem.record import record

AnyPoolProblem = PoolProblem | AdaptivePoolProblem

# Windows of up to this many columns, this far apart, are shuffled out of whole vectors.
MOST_TAPS, MOST_STRIDE = 8, 4
# The same where they overlap at every column.
FEW_TAPS = 5
# Columns of input that a line holds.
LINE_COLUMNS = 2048
# Bytes of lines of a work item: in the first cache, or in the second where windows are large.
NEAR_BYTES, FAR_BYTES = 24 << 10, 400 << 10
# Blocks that an image's planes are kept in at least, for threads to share.
LEAST_BLOCKS = 8


@record(frozen=True)
class Cuts:
    """How a pool is cut into blocks of rows and columns, as a volume."""

    problem: AnyPoolProblem
    lanes: int

    @cached_property
    def windows(self) -> tuple[Windows, ...]:
        """Windows of depth, rows and columns."""
        zero, one = np.zeros(1, np.int64), np.ones(1, np.int64)
        single = Windows(zero, one, 1, zero, zero, one)
        return (*(single,) * (3 - self.problem.n), *self.problem.windows())

    @cached_property
    def size(self) -> tuple[int, ...]:
        """Depth, rows and columns of the input."""
        return self._lead(self.problem.input_size)

    @cached_property
    def output(self) -> tuple[int, ...]:
        """Depth, rows and columns of the output."""
        return self._lead(self.problem.output_size)

    @cached_property
    def taps(self) -> tuple[int, ...]:
        """The window's size; of adaptive pools, ones."""
        return self._lead(getattr(self.problem, "kernel_size", (1,)))

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """From window to window."""
        return self._lead(getattr(self.problem, "stride", (1,)))

    @cached_property
    def before(self) -> tuple[int, ...]:
        """Padding before the first row and column."""
        pairs = getattr(self.problem, "padding", ())
        return (0, 0, 0, *(p[0] for p in pairs))[-3:]

    @property
    def deep(self) -> bool:
        """Whether windows reach over several planes."""
        return self.problem.n == 3

    @property
    def regular(self) -> bool:
        """Whether windows have one shape and are one stride apart."""
        return isinstance(self.problem, PoolProblem)

    @cached_property
    def shuffled(self) -> tuple[int, int]:
        """Cells that are shuffled together and their stride; (0, 0): windows one by one."""
        taps, stride, step = self.taps[2], self.strides[2], self.windows[2].step
        if not self.regular or stride > MOST_STRIDE:
            return 0, 0
        fits = step == 1 and taps <= (FEW_TAPS if stride == 1 else MOST_TAPS)
        return taps if fits else 1, stride

    @property
    def folds_across(self) -> bool:
        """Whether columns are folded at every place before some are picked."""
        taps, stride = self.shuffled
        return stride >= 1 and taps == 1 < self.taps[2]

    @cached_property
    def run_down(self) -> int:
        """Rows that are folded before windows are; 0: none."""
        return _best_run(self.taps[1], self.strides[1]) if self.regular else 0

    @cached_property
    def run_across(self) -> int:
        """Columns that are folded before windows are; 0: none."""
        return _best_run(self.taps[2], 1) if self.folds_across else 0

    @cached_property
    def column_table(self) -> Array:
        """Return the blocks of columns, as the kernel reads them."""
        count, window = self.output[2], self.windows[2]
        block = count
        if not self.deep:
            stride = max(1, self.size[2] // count)
            block = max(1, LINE_COLUMNS // stride // (4 * self.lanes)) * 4 * self.lanes
            blocks = -(-count // block)
            block = -(-count // blocks // self.lanes) * self.lanes if blocks > 1 else count
        rows = []
        for first in range(0, count, block):
            here = slice(first, min(first + block, count))
            seen = window.stop[here] > window.start[here]
            starts, stops = window.start[here][seen], window.stop[here][seen]
            low, high = (int(starts.min()), int(stops.max())) if seen.any() else (0, 0)
            base = first * self.strides[2] - self.before[2] if self.shuffled[1] else low
            row = ColumnBlock(
                first_output=first, outputs=here.stop - first, base=base, low=max(low, base),
                high=high,
            )  # fmt: skip
            rows.append([*row])
        return np.array(rows, np.int64)

    @cached_property
    def reach(self) -> int:
        """Columns past a line's last output."""
        return (self.taps[2] - 1) * self.windows[2].step

    @cached_property
    def pitch(self) -> int:
        """Elements from line to line."""
        table = self.column_table
        needed = int((table[:, 4] - table[:, 2]).max())
        if self.shuffled[1]:
            outputs = int(table[:, 1].max())
            needed = max(needed, (outputs - 1) * self.strides[2] + self.reach + 1)
        return max(1, -(-needed // self.lanes)) * self.lanes

    @property
    def padded(self) -> bool:
        """Whether lines have places outside the image."""
        needed = (self.column_table[:, 1] - 1) * self.strides[2] + self.reach + 1
        first, last = self.column_table[:, 2], self.column_table[:, 2] + needed
        outside = (self.column_table[:, 3] > first) | (self.column_table[:, 4] < last)
        return self.shuffled[1] > 0 and bool(outside.any())

    @cached_property
    def room(self) -> tuple[int, int]:
        """Elements that a block may keep, and those that each of its output rows needs."""
        room = (FAR_BYTES if self.run_down else NEAR_BYTES) // self.problem.dtype.itemsize
        lines = 1 + (1 if self.run_across else 0) + (1 if self.folds_across else 0)
        step = min(self.strides[1], self.taps[1])
        if self.run_down:
            room -= self.taps[1] * self.pitch
            lines += self.strides[1]
        return room, lines * self.pitch + step * self.size[2] // len(self.column_table)

    @cached_property
    def rows(self) -> int:
        """Output rows of a block, of each of its planes."""
        room, each = self.room
        blocks = -(-self.output[1] // max(1, room // each))
        return -(-self.output[1] // blocks)

    @cached_property
    def planes(self) -> int:
        """Planes of a block: several where they are small, so that its steps are long."""
        if self.deep or self.rows < self.output[1] or len(self.column_table) > 1:
            return 1
        most = min(
            self.room[0] // (self.room[1] * self.rows), self.problem.channels // LEAST_BLOCKS
        )
        return max(d for d in range(1, max(1, most) + 1) if self.problem.channels % d == 0)

    @cached_property
    def row_table(self) -> Array:
        """Return the first and the last input row of each block."""
        window = self.windows[1]
        rows = []
        for first in range(0, self.output[1], self.rows):
            here = slice(first, first + self.rows)
            seen = window.stop[here] > window.start[here]
            if seen.any():
                rows.append((window.start[here][seen].min(), window.stop[here][seen].max()))
            else:
                rows.append((0, 0))
        return np.array(rows, np.int64)

    def _lead(self, values: tuple[int, ...]) -> tuple[int, ...]:
        return (*(1,) * (3 - len(values)), *values)


def _best_run(taps: int, stride: int) -> int:
    """Return the cells of a run of the fewest steps: ``stride`` runs per output; their windows."""
    best = min(range(1, max(2, 2 * int(sqrt(taps)) + 1)), key=lambda r: _steps(taps, stride, r))
    return best if best > 1 and _steps(taps, stride, best) + 2 < taps else 0


def _steps(taps: int, stride: int, run: int) -> int:
    return taps if run == 1 else stride * run + taps // run + taps % run


def cells(windows: Windows) -> Array:
    """Count the cells that each window sees."""
    return -((windows.start - windows.stop) // windows.step)
