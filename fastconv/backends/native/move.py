"""Cells of any dtype moved bit for bit: the words of their kernels, and tables of axes."""

from __future__ import annotations

from functools import reduce
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Cost, Work, roofline
from fastconv.backends.manifest.moves import Gather
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.plan import INPUT, OUTPUT, NativePlan, Stage, constant
from fastconv.machine import Machine
from fastconv.problem.record import record
from fastconv.problem.taps import Integers

# Types by which cells of any dtype are moved: kernels are made for one of them.
CELLS = {1: "uint8", 2: "uint16", 4: "uint32", 8: "uint64", 16: "complex128"}

# Cells side by side from which on a row of work is one cell of the last table.
WIDE = 64
# Neighbouring cells from which on a row's copy is worth a loop of its own.
LONG_RUN = 4


class Moving(NativeAlgorithm):
    """What the algorithms that move cells of any dtype share."""

    name = "gather"

    def why_not(self, problem: Any) -> str | None:
        size = problem.dtype.itemsize
        return None if size in CELLS else f"cells of {size} bytes are for the reference"

    def cost(self, problem: Any, machine: Machine) -> Cost:
        cells = prod(problem.output_shape)
        return Cost(1e-6 + roofline(problem, machine, flops=2 * cells, bytes=problem.bytes))

    def work(self, problem: Any, machine: Machine) -> Work:
        # Of the input those cells alone are read that the output shows.
        moved = 2 * prod(problem.output_shape) * problem.dtype.itemsize
        return Work(0, min(problem.bytes, moved), problem.dtype.name)

    def mover(self, name: str, problem: Any) -> int:
        """Return the kernel that moves cells of the problem's dtype."""
        return self.library.kernel(name, CELLS[problem.dtype.itemsize])

    def gathered(self, problem: Any, axes: list[Axis], value: bytes) -> NativePlan:
        """Plan to take from each axis the cells of its table, and ``value`` where it has -1."""
        outer, (a, b, c), inner = _in_five(axes)
        tables = [axis.whole() for axis in (a, b, c)]
        lengths = [len(table) for table in tables]
        fill = np.frombuffer(value * (lengths[2] * inner), np.uint8)
        run_from, run_to = _longest_run(tables[2])
        arguments = Gather(
            source=INPUT(0), target=OUTPUT, fill=constant(fill),
            a_table=constant(tables[0], np.int64), b_table=constant(tables[1], np.int64),
            c_table=constant(tables[2], np.int64), a_out=lengths[0], b_out=lengths[1],
            c_out=lengths[2], a_in=a.length, b_in=b.length, c_in=c.length, inner=inner,
            run_from=run_from, run_to=run_to,
            repeats=_repeats(tables[2], c.length) if inner == 1 else 0,
        )  # fmt: skip
        stage = Stage(
            self.mover("move.gather", problem),
            outer * lengths[0] * lengths[1],
            arguments,
        )
        return self.native_plan(problem, [stage])


@record(frozen=True)
class Axis:
    """An axis to be gathered: its length before, and the table, or None where it stays."""

    length: int
    table: Integers | None

    def whole(self) -> Integers:
        """Return the table, written out."""
        return np.arange(self.length) if self.table is None else self.table

    def joined(self, other: Axis) -> Axis:
        """Return one axis for this one and the next."""
        if self.table is None and other.table is None:
            return Axis(self.length * other.length, None)
        mine, its = self.whole()[:, None], other.whole()
        table = np.where((mine < 0) | (its < 0), -1, mine * other.length + its)
        return Axis(self.length * other.length, table.ravel())


def _in_five(axes: list[Axis]) -> tuple[int, list[Axis], int]:
    """Return any axes as (outer, three with tables, inner)."""
    merged: list[Axis] = []
    for axis in axes:
        if merged and merged[-1].table is None and axis.table is None:
            merged[-1] = merged[-1].joined(axis)
        else:
            merged.append(axis)
    outer = merged.pop(0).length if merged and merged[0].table is None else 1
    inner = merged.pop().length if merged and merged[-1].table is None else 1
    while len(merged) > 3:
        merged[:2] = [merged[0].joined(merged[1])]
    one = Axis(1, None)
    if inner >= WIDE and len(merged) < 3:
        merged.append(one)
    return outer, [one] * (3 - len(merged)) + merged, inner


def _longest_run(table: Integers) -> tuple[int, int]:
    """Return where the longest run of neighbouring cells in a table begins and ends."""
    steps = (np.diff(table) == 1) & (table[:-1] >= 0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], steps, [False]]).astype(np.int8)))
    pairs = edges.reshape(-1, 2)
    if len(pairs) == 0:
        return 0, 0
    best: Any = reduce(lambda p, q: q if q[1] - q[0] > p[1] - p[0] else p, pairs.tolist())
    return (best[0], best[1] + 1) if best[1] - best[0] >= LONG_RUN else (0, 0)


def _repeats(table: Integers, length: int) -> int:
    """Return how many times a table has each cell, one after the other; 0: it is another."""
    times = len(table) // max(length, 1)
    if times < 2 or len(table) != times * length:
        return 0
    return times if np.array_equal(table, np.repeat(np.arange(length), times)) else 0
