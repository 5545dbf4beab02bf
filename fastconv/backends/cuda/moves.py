"""Cells that change their places: a word a cell, or many cells a word where they stay together.

An output's place is split into its axes; each of them steps through the source by a number of
cells, or by a table, where -1 stands for cells that are missing. So views, concatenation,
padding and nearest neighbours are one kernel. A view that is written across the order in which it
is stored is turned by tiles, see `transpose`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numba import cuda
from numba import int64 as i64
from numba import uint32 as u32
from numba import uint64 as u64

from fastconv.backends.base import Array
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.engine.intrinsics import load4, store4
from fastconv.backends.cuda.engine.kernel import Body, Int64, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, Argument, CudaPlan, Launch
from fastconv.backends.cuda.engine.source import unroll
from fastconv.backends.cuda.engine.words import Word, of_words, type_of, why_not_words, widest
from fastconv.backends.cuda.transpose import Step, turning
from fastconv.backends.native.plan import INPUT, constant
from fastconv.problem import ConcatenateProblem, StridedProblem

_THREADS = 256
# Words of less than 16 bytes that a thread moves, all of them loaded before one is stored.
_EACH = 4
# Axes shorter than this are not turned by tiles, most of which would be empty.
_LEAST_TURNED = 8


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis of what is written, in cells.

    ``source`` and ``target`` are the steps; with a ``table`` the source's are looked up there,
    -1 standing for no cell.
    """

    length: int
    source: int
    target: int
    table: tuple[int, ...] | None = None


@kernel
def move(
    size: int,
    lengths: tuple[int, ...],
    sources: tuple[int, ...],
    targets: tuple[int, ...],
    tables: tuple[int, ...],
    starts: tuple[int, int],
) -> tuple[Body, int]:
    """Move words of ``size`` bytes; the last axis comes first, all steps are in words.

    ``tables`` are where each axis's table begins; -1: it has none.
    """
    THREADS, EACH, AXES = _THREADS, 1 if size == 16 else _EACH, len(lengths)
    ITEMS, SPAN = prod(lengths), THREADS * EACH
    LENGTHS, SOURCES, TARGETS, TABLES = lengths, sources, targets, tables
    LAST = AXES - 1
    START, FIRST = starts
    WIDE = size == 16
    NARROW, WORD = not WIDE, type_of(size)
    # Whether what is written is stored one after the other.
    FLAT = all(step == prod(lengths[:a]) for a, step in enumerate(targets))
    BENT = not FLAT
    count = u32 if ITEMS < 2**31 else u64

    def body(x: Word, table: Int64, value: Word, y: Word) -> None:
        held = cuda.local.array(EACH, WORD)
        first = u64(cuda.blockIdx.x) * u64(SPAN) + u64(cuda.threadIdx.x)
        for e in unroll(EACH):
            rest = count(min(first + u64(e * THREADS), u64(ITEMS - 1)))
            source = i64(START)
            inside = True
            for a in unroll(AXES):
                place = i64(rest)
                if a != LAST:
                    place = i64(rest % count(LENGTHS[a]))
                    rest = rest // count(LENGTHS[a])
                if TABLES[a] >= 0:
                    step = table[i64(TABLES[a]) + place]
                    inside = inside & (step >= i64(0))
                    source += step
                if TABLES[a] < 0:
                    source += place * i64(SOURCES[a])
            if WIDE:
                four = load4(x, source * i64(4)) if inside else load4(value, i64(0))
            if NARROW:
                held[e] = x[source] if inside else value[0]
        for e in unroll(EACH):
            item = first + u64(e * THREADS)
            if item < u64(ITEMS):
                rest = count(item)
                target = i64(FIRST)
                if FLAT:
                    target += i64(item)
                if BENT:
                    for a in unroll(AXES):
                        target += i64(rest % count(LENGTHS[a])) * i64(TARGETS[a])
                        rest = rest // count(LENGTHS[a])
                if WIDE:
                    store4(y, target * i64(4), four)
                if NARROW:
                    y[target] = held[e]

    return of_words(body, size), THREADS


def moving(
    itemsize: int,
    axes: Sequence[Axis],
    source: Argument,
    target: Argument,
    *,
    starts: tuple[int, int] = (0, 0),
    value: bytes = b"",
) -> Launch:
    """Return the launch that moves cells of ``itemsize`` bytes from the source to the target.

    Parameters
    ----------
    axes
        Of what is written, outermost first.
    starts
        The cells that the first one is read from and written to.
    value
        The bytes to write in place of a cell that does not exist.
    """
    axes = merged(axes)
    size = _word(itemsize, axes, starts)
    ratio = size // itemsize
    inner = axes[-1]
    if ratio > 1:
        axes = [*axes[:-1], dataclasses.replace(inner, length=inner.length // ratio)]
    # Steps of the innermost axis are of one word now; all others are of as many cells as before.
    words = [
        axis if axis is axes[-1] and ratio > 1 else _in_words(axis, ratio) for axis in axes
    ][::-1]  # fmt: skip
    begins, table = [], [np.empty(0, np.int64)]
    for axis in words:
        begins.append(-1 if axis.table is None else sum(map(len, table)))
        table.append(np.array(axis.table or (), np.int64))
    kern = move(
        size, tuple(a.length for a in words), tuple(a.source for a in words),
        tuple(a.target for a in words), tuple(begins), (starts[0] // ratio, starts[1] // ratio),
    )  # fmt: skip
    gap = np.frombuffer((value or bytes(itemsize)) * ratio, np.uint8)
    each = 1 if size == 16 else _EACH
    blocks = -(-prod(a.length for a in words) // (_THREADS * each))
    tabled = any(begin >= 0 for begin in begins)
    arguments = [
        source, constant(np.concatenate(table)) if tabled else None,
        constant(gap) if tabled else None, target,
    ]  # fmt: skip
    return Launch(kern, (blocks, 1, 1), arguments)


def merged(axes: Sequence[Axis]) -> list[Axis]:
    """Return as few axes as move the same cells; at least one."""
    found: list[Axis] = []
    for axis in axes:
        if axis.length == 1 and axis.table is None:
            continue
        last = found[-1] if found else None
        if (
            last is not None and last.table is None and axis.table is None
            and last.source == axis.source * axis.length
            and last.target == axis.target * axis.length
        ):  # fmt: skip
            found[-1] = dataclasses.replace(axis, length=last.length * axis.length)
        else:
            found.append(axis)
    return found or [Axis(1, 1, 1)]


def _word(itemsize: int, axes: Sequence[Axis], starts: tuple[int, int]) -> int:
    """Return the bytes of the widest word that never is split."""
    *outer, inner = axes
    if inner.table is not None or (inner.source, inner.target) != (1, 1):
        return itemsize
    steps = [inner.length, *starts]
    for axis in outer:
        steps.append(axis.target)
        steps += [axis.source] if axis.table is None else [t for t in axis.table if t >= 0]
    return widest(itemsize, steps)


def _in_words(axis: Axis, ratio: int) -> Axis:
    table = axis.table
    if table is not None:
        table = tuple(t // ratio if t >= 0 else -1 for t in table)
    return Axis(axis.length, axis.source // ratio, axis.target // ratio, table)


def table_of(values: Any, step: int) -> tuple[int, ...]:
    """Return cells named by number as steps through a source; -1 stays."""
    cells = np.asarray(values, np.int64)
    return tuple(np.where(cells < 0, -1, cells * step).tolist())


class Moving(CudaAlgorithm):
    """What algorithms of cells that are moved share: every dtype is as good as another."""

    def why_not(self, problem: Any) -> str | None:
        if 0 in problem.output_shape:
            return "an empty output"
        return why_not_words(problem.dtype)


class Strided(Moving):
    """Views made whole."""

    name = "move"

    def launches(self, problem: StridedProblem, *parameters: Array | None) -> CudaPlan:
        return plan_strided(problem)


class Concatenate(Moving):
    """Arrays side by side: one launch an array."""

    name = "move"

    def launches(self, problem: ConcatenateProblem, *parameters: Array | None) -> CudaPlan:
        return plan_concatenate(problem)


def plan_strided(problem: StridedProblem) -> CudaPlan:
    """Plan a view's copy."""
    lengths, steps = zip(*(problem.merged() or ((1, 1),)), strict=True)
    own = [prod(lengths[i + 1 :]) for i in range(len(lengths))]
    axes = [Axis(*given) for given in zip(lengths, steps, own, strict=True)]
    return CudaPlan([view(problem.dtype.itemsize, axes, INPUT(0), OUTPUT, problem.start)])


def view(
    itemsize: int, axes: list[Axis], source: Argument, target: Argument, start: int = 0
) -> Launch:
    """Return the launch that copies a view: by tiles where its last axis is not the source's."""
    axes = merged(axes)
    inner = next((a for a in axes if a.source == 1 and a.length >= _LEAST_TURNED), None)
    last = axes[-1]
    if inner is None or last is inner or last.length < _LEAST_TURNED or itemsize > 8:
        return moving(itemsize, axes, source, target, starts=(start, 0))
    others = tuple(
        Step(a.length, a.source, a.target) for a in axes if a is not inner and a is not last
    )
    return turning(
        Step(last.length, last.source, last.target), Step(inner.length, 1, inner.target),
        source, target, others=others, size=itemsize, start=start,
    )  # fmt: skip


def plan_concatenate(problem: ConcatenateProblem) -> CudaPlan:
    """Plan arrays side by side."""
    rows, runs = problem.runs
    whole, at = sum(runs), 0
    launches = []
    for number, run in enumerate(runs):
        if run:
            axes = [Axis(rows, run, whole), Axis(run, 1, 1)]
            launches.append(
                moving(problem.dtype.itemsize, axes, INPUT(number), OUTPUT, starts=(0, at))
            )
        at += run
    return CudaPlan(launches)
