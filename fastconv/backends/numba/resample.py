"""Padding, interpolation and pixel shuffling: rows of output, each gathered or summed by tables."""

from __future__ import annotations

import dataclasses
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Algorithm, Array, Cost, roofline
from fastconv.backends.native.plan import scratch_stride
from fastconv.backends.numba.engine import (
    INPUT,
    OUTPUT,
    SCRATCH,
    NativePlan,
    Stage,
    array,
    constant,
    kernel,
    part,
)
from fastconv.backends.numba.move import MOVERS, gather, permute
from fastconv.machine import Machine, get_machine
from fastconv.problem import InterpolateProblem, PadProblem, PixelShuffleProblem
from fastconv.problem.taps import Integers, Taps

# Cells side by side from which on a row of work is one cell of the last table.
WIDE = 64
# Neighbouring cells from which on a row's copy is worth a loop of its own.
LONG_RUN = 16
# Weighted cells from which on a sum is taken in two steps, rows first.
MANY_TAPS = 16


@kernel
def weigh(name: str, taps: int):  # type: ignore[no-untyped-def]
    """Sum weighted cells by tables: a work item is one row of the last table.

    First the rows that the tables of A and B name are summed into a line, then the line's cells
    that the table of C names; ``taps`` is how many, or 0 where that varies, or -1: C has one cell.
    """
    dtype, size = np.dtype(name).type, np.dtype(name).itemsize

    @part
    def add_rows(target, sources, weights, count, fresh, n):  # type: ignore[no-untyped-def]
        to = array(target, (n,), dtype)
        p, q = array(sources[0], (n,), dtype), array(sources[1], (n,), dtype)
        u, v = weights
        if count == 2:
            if fresh:
                for i in range(n):
                    to[i] = u * p[i] + v * q[i]
            else:
                for i in range(n):
                    to[i] = (to[i] + u * p[i]) + v * q[i]
        elif fresh:
            for i in range(n):
                to[i] = u * p[i]
        else:
            for i in range(n):
                to[i] += u * p[i]

    @part
    def add_columns(target, line, first, index, weight, length, inner):  # type: ignore[no-untyped-def]
        starts = array(first, (length + 1,), np.int64)
        cells = array(index, (1 << 40,), np.int64)
        weights = array(weight, (1 << 40,), dtype)
        for c in range(length):
            t, end = starts[c], starts[c + 1]
            fresh = True
            while t < end:
                count = min(2, end - t)
                other = t + count - 1
                add_rows(
                    target + c * inner * size,
                    (line + cells[t] * inner * size, line + cells[other] * inner * size),
                    (weights[t], weights[other]),
                    count,
                    fresh,
                    inner,
                )
                fresh = False
                t += count

    @part
    def add_cells(target, line, first, index, weight, length):  # type: ignore[no-untyped-def]
        to, of = array(target, (length,), dtype), array(line, (1 << 40,), dtype)
        starts = array(first, (length + 1,), np.int64)
        cells = array(index, (1 << 40,), np.int64)
        weights = array(weight, (1 << 40,), dtype)
        for c in range(length):
            total = dtype(0)
            if taps > 0:
                for k in range(taps):
                    t = np.uintp(c * taps + k)
                    total += weights[t] * of[np.uintp(cells[t])]
            else:
                for place in range(starts[c], starts[c + 1]):
                    total += weights[place] * of[np.uintp(cells[place])]
            to[c] = total

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        source, target = args[0], args[1]
        a_out, b_out, c_out = args[2], args[3], args[4]
        a_in, b_in, c_in, inner = args[5], args[6], args[7], args[8]
        a_first = array(args[9], (a_out + 1,), np.int64)
        b_first = array(args[12], (b_out + 1,), np.int64)
        a_index = array(args[10], (1 << 40,), np.int64)
        b_index = array(args[13], (1 << 40,), np.int64)
        a_weight = array(args[11], (1 << 40,), np.float64)
        b_weight = array(args[14], (1 << 40,), np.float64)
        n = c_in * inner
        scratch = args[18] + worker * args[19]
        for item in range(first, last):
            b, rest = item % b_out, item // b_out
            a, outer = rest % a_out, rest // a_out
            row = target + item * c_out * inner * size
            plane = source + outer * a_in * b_in * n * size
            line = row if taps == -1 else scratch
            width = b_first[b + 1] - b_first[b]
            total = (a_first[a + 1] - a_first[a]) * width
            if taps != -1 and total == 1 and args[20] == 1:
                line = plane + (a_index[a_first[a]] * b_in + b_index[b_first[b]]) * n * size
            else:
                done = 0
                while done < total:
                    count = min(2, total - done)
                    i, j = a_first[a] + done // width, b_first[b] + done % width
                    other = done + count - 1
                    k, m = a_first[a] + other // width, b_first[b] + other % width
                    add_rows(
                        line,
                        (
                            plane + (a_index[i] * b_in + b_index[j]) * n * size,
                            plane + (a_index[k] * b_in + b_index[m]) * n * size,
                        ),
                        (dtype(a_weight[i] * b_weight[j]), dtype(a_weight[k] * b_weight[m])),
                        count,
                        done == 0,
                        n,
                    )
                    done += count
            if taps != -1:
                if inner == 1:
                    add_cells(row, line, args[15], args[16], args[17], c_out)
                else:
                    add_columns(row, line, args[15], args[16], args[17], c_out, inner)

    return body


@dataclasses.dataclass(frozen=True)
class _Axis:
    """An axis to be gathered: its length before, and the table, or None where it stays."""

    length: int
    table: Integers | None

    def whole(self) -> Integers:
        """Give the table, written out."""
        return np.arange(self.length) if self.table is None else self.table

    def joined(self, other: _Axis) -> _Axis:
        """Give one axis for this one and the next."""
        if self.table is None and other.table is None:
            return _Axis(self.length * other.length, None)
        mine, its = self.whole()[:, None], other.whole()
        table = np.where((mine < 0) | (its < 0), -1, mine * other.length + its)
        return _Axis(self.length * other.length, table.ravel())


def _in_five(axes: list[_Axis]) -> tuple[int, list[_Axis], int]:
    """Give any axes as (outer, three with tables, inner)."""
    merged: list[_Axis] = []
    for axis in axes:
        if merged and merged[-1].table is None and axis.table is None:
            merged[-1] = merged[-1].joined(axis)
        else:
            merged.append(axis)
    outer = merged.pop(0).length if merged and merged[0].table is None else 1
    inner = merged.pop().length if merged and merged[-1].table is None else 1
    while len(merged) > 3:
        merged[:2] = [merged[0].joined(merged[1])]
    one = _Axis(1, None)
    if inner >= WIDE and len(merged) < 3:
        merged.append(one)
    return outer, [one] * (3 - len(merged)) + merged, inner


class _Moving(Algorithm):
    """What the algorithms that move cells of any dtype share."""

    name = "gather"
    backend = "numba"

    def why_not(self, problem: Any) -> str | None:
        """Refuse cells of a size that no machine word has."""
        size = problem.dtype.itemsize
        return None if size in MOVERS else f"cells of {size} bytes are for the reference"

    def cost(self, problem: Any, machine: Machine) -> Cost:
        """Predict from the bytes moved."""
        cells = prod(problem.output_shape)
        return Cost(1e-6 + roofline(problem, machine, flops=2 * cells, bytes=problem.bytes))

    def _gather(self, problem: Any, axes: list[_Axis], value: bytes) -> NativePlan:
        outer, (a, b, c), inner = _in_five(axes)
        size = problem.dtype.itemsize
        tables = [axis.whole() for axis in (a, b, c)]
        lengths = [len(table) for table in tables]
        fill = np.frombuffer(value * (lengths[2] * inner), np.uint8)
        stage = Stage(
            gather(size),
            outer * lengths[0] * lengths[1],
            [
                INPUT(0), OUTPUT, constant(fill),
                *(constant(table, np.int64) for table in tables), *lengths,
                a.length, b.length, c.length, inner, *_longest_run(tables[2]),
            ],
        )  # fmt: skip
        return NativePlan(problem, [stage], seconds=self.cost(problem, get_machine()).seconds)


class Pad(_Moving):
    """Padding: every row copied, its ends filled from a table."""

    def plan(self, problem: PadProblem, *parameters: Array | None) -> NativePlan:
        """Make the tables."""
        axes = [
            _Axis(length, problem.sources(axis) if any(problem.pads[axis]) else None)
            for axis, length in enumerate(problem.shape)
        ]
        return self._gather(problem, axes, problem.value)


class Nearest(_Moving):
    """Interpolation whose cells are copies of the input's."""

    def why_not(self, problem: InterpolateProblem) -> str | None:
        """Refuse modes that sum."""
        if not problem.copies:
            return f"mode {problem.mode!r} sums cells"
        return super().why_not(problem)

    def plan(self, problem: InterpolateProblem, *parameters: Array | None) -> NativePlan:
        """Make the tables."""
        axes = [_Axis(length, problem.sources(i)) for i, length in enumerate(problem.input_size)]
        first, last = _around(problem)
        value = bytes(problem.dtype.itemsize)
        return self._gather(problem, [_Axis(first, None), *axes, _Axis(last, None)], value)


class Weighted(Algorithm):
    """Interpolation that sums: rows first, then along the row, nothing between in memory."""

    name = "separable"
    backend = "numba"

    def why_not(self, problem: InterpolateProblem) -> str | None:
        """Refuse modes that copy, and dtypes without kernels."""
        if problem.copies:
            return f"mode {problem.mode!r} copies cells"
        if problem.dtype.name not in ("float32", "float64"):
            return f"dtype {problem.dtype.name}; this kernel takes float32 and float64"
        return None

    def cost(self, problem: InterpolateProblem, machine: Machine) -> Cost:
        """Predict from what the two steps do."""
        cells = prod(problem.output_shape)
        taps = [max(1, problem.taps(i).most) for i in range(problem.n)]
        rows = cells * problem.input_size[-1] / problem.output_size[-1] * prod(taps[:-1])
        # The second step loads single cells: about one a cycle.
        flops = 4 * rows + 16 * cells * taps[-1]
        return Cost(1e-6 + roofline(problem, machine, flops=flops, bytes=problem.bytes))

    def error_bound(self, problem: InterpolateProblem) -> float:
        """Bound the roundings of a sum of so many weighted cells."""
        taps = [problem.taps(i).most for i in range(problem.n)]
        return float(np.finfo(problem.dtype).eps) * (prod(taps[:-1]) + taps[-1] + 2)

    def plan(self, problem: InterpolateProblem, *parameters: Array | None) -> NativePlan:
        """Make the tables; channels that stand last, where wide, are the row."""
        taps = [problem.taps(i) for i in range(problem.n)]
        sizes = list(problem.input_size)
        outer, inner = _around(problem)
        few = prod(max(1, t.most) for t in taps) <= MANY_TAPS
        alone = inner >= WIDE and problem.n < 3 and few
        if alone:
            taps, sizes = [*taps, _ONE], [*sizes, 1]
        taps, sizes = [_ONE] * (3 - len(taps)) + taps, [1] * (3 - len(sizes)) + sizes
        a, b, c = taps
        lengths = [len(t.first) - 1 for t in taps]
        each = -1 if alone else c.most if c.uniform and c.most <= 6 else 0
        scratch = 0 if alone else sizes[2] * inner * problem.dtype.itemsize
        tables: list[Any] = []
        for number, t in enumerate(taps):
            kind = problem.dtype if number == 2 else np.float64
            tables += [constant(t.first), constant(t.index), constant(t.weight, kind)]
        plain = all((t.weight == 1).all() for t in (a, b))
        stage = Stage(
            weigh(problem.dtype.name, each),
            outer * lengths[0] * lengths[1],
            [
                INPUT(0), OUTPUT, *lengths, *sizes, inner, *tables,
                SCRATCH, scratch_stride(scratch), int(plain),
            ],
        )  # fmt: skip
        return NativePlan(
            problem,
            [stage],
            scratch_bytes=max(scratch, 1),
            seconds=self.cost(problem, get_machine()).seconds,
        )


class PixelShuffle(_Moving):
    """Pixel shuffling and its inverse: six axes permuted."""

    name = "permute"

    def plan(self, problem: PixelShuffleProblem, *parameters: Array | None) -> NativePlan:
        """Find lengths and steps of the axes."""
        split, order = problem.permutation()
        shape = (prod(problem.lead), *split)
        steps = [prod(shape[axis + 1 :]) for axis in range(6)]
        lengths = [shape[axis] for axis in order]
        stage = Stage(
            permute(problem.dtype.itemsize),
            prod(lengths[:3]),
            [INPUT(0), OUTPUT, *lengths[1:], *(steps[axis] for axis in order)],
        )
        return NativePlan(problem, [stage], seconds=self.cost(problem, get_machine()).seconds)


_ONE = Taps(np.array([0, 1]), np.array([0]), np.ones(1))


def _around(problem: InterpolateProblem) -> tuple[int, int]:
    """Give how many images stand before the spatial axes, and how many cells after them."""
    if problem.channels_last:
        return problem.batch, problem.channels
    return problem.batch * problem.channels, 1


def _longest_run(table: Integers) -> tuple[int, int]:
    """Give where the longest run of neighbouring cells in a table begins and ends."""
    steps = (np.diff(table) == 1) & (table[:-1] >= 0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], steps, [False]]).astype(np.int8)))
    pairs = edges.reshape(-1, 2)
    if len(pairs) == 0:
        return 0, 0
    best: Any = reduce(lambda p, q: q if q[1] - q[0] > p[1] - p[0] else p, pairs.tolist())
    return (best[0], best[1] + 1) if best[1] - best[0] >= LONG_RUN else (0, 0)
