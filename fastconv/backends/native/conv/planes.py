"""Planes of an image, padded and split by column phase, copied into a worker's scratch memory.

Planar kernels read vectors of neighbouring pixels. Padding becomes zeros in the copy, and a
horizontal stride becomes that many phases, each contiguous: column c of a window's reach is in
phase c % stride at place c // stride.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fastconv.backends.manifest.tiles import tiles_of
from fastconv.backends.native.conv.geometry import lead
from fastconv.backends.native.conv.pack import index_table
from fastconv.backends.native.gemm import tile_for
from fastconv.backends.native.items import items_wanted, part_of
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import Constant, constant
from fastconv.backends.native.tile import Tile
from fastconv.forks import cached_property
from fastconv.machine import Machine
from fastconv.problem import ConvProblem
from fastconv.problem.record import record

# Horizontal strides whose phases vectors are shuffled into; others are copied by table.
SHUFFLED_STEPS = tuple(range(1, 9))
# Bytes of padded lines that a work item keeps: they should stay in the first cache.
LINES_BYTES = 24 << 10
# Lines a multiple of this apart share few sets of the first cache.
SET_CLASH_BYTES = 512


@record(frozen=True)
class Planes:
    """How the planes of one- and two-dimensional problems are stored in scratch memory."""

    problem: ConvProblem
    lanes: int

    @cached_property
    def height(self) -> int:
        """Output rows."""
        return lead(self.problem.output_size, 1)[1]

    @cached_property
    def width(self) -> int:
        """Output columns."""
        return self.problem.output_size[-1]

    @cached_property
    def down(self) -> tuple[int, int, int]:
        """Kernel size, stride and dilation from copied row to copied row."""
        p = self.problem
        taps, step, apart = (lead(v, 1)[1] for v in (p.kernel_size, p.stride, p.dilation))
        # One tap leaves rows out: they are not copied.
        return (1, 1, 1) if taps == 1 else (taps, step, apart)

    @cached_property
    def across(self) -> tuple[int, int, int]:
        """Kernel size, stride and dilation from column to column."""
        p = self.problem
        return p.kernel_size[-1], p.stride[-1], p.dilation[-1]

    @property
    def by_table(self) -> bool:
        """Whether columns are copied one by one."""
        return self.across[1] not in SHUFFLED_STEPS or self.problem.padding_mode != "zeros"

    @property
    def single(self) -> bool:
        """Whether windows are single cells: copied lines then have the outputs' layout."""
        return self.down[0] == self.across[0] == 1

    @property
    def inside(self) -> bool:
        """Whether windows are read from the planes: few lines, in different cache sets."""
        p = self.problem
        pitch = p.input_size[-1] * p.dtype.itemsize
        near = (self.down[0] - 1) * self.down[2] < 8 and pitch % SET_CLASH_BYTES != 0
        return near and not self.by_table and set(p.stride) == {1}

    @cached_property
    def phase(self) -> int:
        """Elements of one phase of a line."""
        taps, step, apart = self.across
        needed = self.width + (taps - 1) * apart // step
        if self.single:
            # Lines follow each other with nothing between: what runs over one is written again.
            return self.width
        # Whole vectors: none runs over the next phase, and stores stay aligned.
        whole = -(-needed // self.lanes) * self.lanes
        clash = self.phases * whole * self.problem.dtype.itemsize % SET_CLASH_BYTES == 0
        return whole + self.lanes if clash else whole

    @cached_property
    def phases(self) -> int:
        """Phases of a line that are kept: one tap reads the first alone."""
        taps, step, _ = self.across
        return 1 if taps == 1 else step

    @property
    def line(self) -> int:
        """Elements from one line to the next."""
        return self.phases * self.phase

    def lines(self, rows: int) -> int:
        """Count the padded input rows that so many output rows reach."""
        taps, step, apart = self.down
        return (rows - 1) * step + (taps - 1) * apart + 1

    def offsets(self) -> np.ndarray[Any, Any]:
        """Return for each horizontal tap its elements from an output's first column."""
        taps, step, apart = self.across
        reach = np.arange(taps) * apart
        return reach % step * self.phase + reach // step

    def row_table(self) -> Constant:
        """Return for each padded row the input row that it shows, -1 for zeros."""
        p = self.problem
        if p.n == 1:
            return constant([0], np.int64)
        before, _ = p.padding[0]
        skipped = p.stride[0] // self.down[1]
        reach = (self.lines(self.height) - 1) * skipped + 1
        table = index_table(p.input_size[0], before, reach, p.padding_mode)
        return constant(table[::skipped], np.int64)

    def column_table(self) -> Constant:
        """Return for each place of a line the input column that it shows, -1 for zeros."""
        p = self.problem
        before, after = p.padding[-1]
        reach = p.input_size[-1] + before + after
        step = self.across[1]
        length = step * self.phase
        table = np.full(length, -1, np.int64)
        shown = index_table(p.input_size[-1], before, reach, p.padding_mode)[:length]
        table[: len(shown)] = shown
        return constant(table.reshape(self.phase, step).T[: self.phases].ravel(), np.int64)

    def constants(self) -> tuple[int, int, int]:
        """Return how columns are copied: step, phases kept, whether by table."""
        return self.across[1], self.phases, int(self.by_table)

    def edge(self) -> dict[str, int]:
        """Return the input's rows, and those of padding before them, as fields."""
        p = self.problem
        rows, before = (1, 0) if p.n == 1 else (p.input_size[0], p.padding[0][0])
        return {"in_height": rows, "before_down": before}

    def fields(self, whole: ConvProblem | None = None) -> dict[str, Any]:
        """Return what copies lines: the fields of `Lines`.

        Where the planes are those of a part of a long line, ``whole`` is the problem that it
        belongs to.
        """
        p = whole or self.problem
        step, phases, by_table = self.constants()
        return {
            "line_rows": self.row_table(), "line_columns": self.column_table(),
            "line_width": p.input_size[-1], "line_before": p.padding[-1][0],
            "line_phase": self.phase, "line_step": step, "line_phases": phases,
            "line_by_table": by_table,
        }  # fmt: skip


def row_tile(library: Library, planes: Planes, machine: Machine) -> Tile:
    """Return a tile of output rows of which little is past the last row and column."""
    height, width = planes.height, -(-planes.width // planes.lanes)

    def waste(shape: tuple[int, int]) -> tuple[int, int, int]:
        rows, vectors = shape
        down, across = -(-height // rows), -(-width // vectors)
        return down * (rows + 1), across * (vectors + 1), -rows * vectors

    rows, vectors = min(tiles_of(machine.isa).planes, key=waste)
    tile = tile_for(library, planes.problem.dtype, machine)
    return dataclasses.replace(tile, rows=rows, vectors=vectors)


def row_block(planes: Planes, tile: Tile) -> int:
    """Count the output rows of a work item: as many as keep their lines close.

    Where planes are few they are fewer, for threads to share.
    """
    _, step, _ = planes.down
    most = LINES_BYTES // (planes.line * planes.problem.dtype.itemsize)
    reach = planes.lines(1)
    close = (most - reach) // step + 1
    rows = min(close, planes.height + tile.rows - 1) // tile.rows
    problem = planes.problem
    wanted = items_wanted(problem.flops / problem.batch)
    fair = part_of(-(-planes.height // tile.rows), problem.in_channels, wanted)
    return max(1, min(rows, fair)) * tile.rows
