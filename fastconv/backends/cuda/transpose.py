"""Matrices turned by tiles in shared memory: between channels first and channels last."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from numba import cuda
from numba import int32 as i32
from numba import int64 as i64

from fastconv.backends.cuda.engine.kernel import Body, kernel
from fastconv.backends.cuda.engine.plan import (
    OUTPUT,
    WORKSPACE,
    Argument,
    CudaPlan,
    Launch,
    source_of,
    with_source,
)
from fastconv.backends.cuda.engine.source import unroll
from fastconv.backends.cuda.engine.words import Word, of_words, type_of
from fastconv.backends.native.plan import INPUT, Slot

# A tile's side; threads go over it in rows of as many, so many rows at a time.
_SIDE, _TALL = 32, 8


@dataclasses.dataclass(frozen=True)
class Step:
    """An axis: its length, and the cells from one to the next in the source and in the target."""

    length: int
    source: int
    target: int


@kernel
def transpose(
    rows: Step, columns: Step, others: tuple[Step, ...], size: int, start: int
) -> tuple[Body, int]:
    """Turn matrices of cells of ``size`` bytes: a block turns a tile of one.

    What is read side by side are columns, what is written so are rows; ``others`` lead from one
    matrix to the next.
    """
    ROWS, ROW_SOURCE, ROW_TARGET = rows.length, rows.source, rows.target
    COLUMNS, COLUMN_SOURCE, COLUMN_TARGET = columns.length, columns.source, columns.target
    SIDE, TALL, STEPS = _SIDE, _TALL, _SIDE // _TALL
    ACROSS, DOWN = -(-COLUMNS // _SIDE), -(-ROWS // _SIDE)
    # One more column, so that a column of a tile is in different banks.
    CELLS = _SIDE * (_SIDE + 1)
    START, OTHERS = start, len(others)
    LENGTHS = tuple(other.length for other in others)
    SOURCES = tuple(other.source for other in others)
    TARGETS = tuple(other.target for other in others)
    CELL = type_of(size)

    def body(x: Word, y: Word) -> None:
        tile = cuda.shared.array(CELLS, CELL)
        across = i32(cuda.threadIdx.x) % i32(SIDE)
        down = i32(cuda.threadIdx.x) // i32(SIDE)
        block = i32(cuda.blockIdx.x)
        left = block % i32(ACROSS) * i32(SIDE)
        rest = block // i32(ACROSS)
        top = rest % i32(DOWN) * i32(SIDE)
        rest = rest // i32(DOWN)
        source, target = i64(START), i64(0)
        for a in unroll(OTHERS):
            place = i64(rest % i32(LENGTHS[a]))
            rest = rest // i32(LENGTHS[a])
            source += place * i64(SOURCES[a])
            target += place * i64(TARGETS[a])
        for step in unroll(STEPS):
            row = top + down + i32(step * TALL)
            column = left + across
            if (row < i32(ROWS)) & (column < i32(COLUMNS)):
                cell = source + i64(row) * i64(ROW_SOURCE) + i64(column) * i64(COLUMN_SOURCE)
                tile[(down + i32(step * TALL)) * i32(SIDE + 1) + across] = x[cell]
        cuda.syncthreads()
        for step in unroll(STEPS):
            column = left + down + i32(step * TALL)
            row = top + across
            if (row < i32(ROWS)) & (column < i32(COLUMNS)):
                cell = target + i64(column) * i64(COLUMN_TARGET) + i64(row) * i64(ROW_TARGET)
                y[cell] = tile[across * i32(SIDE + 1) + down + i32(step * TALL)]

    return of_words(body, size), _SIDE * _TALL


def turning(
    rows: Step,
    columns: Step,
    source: Argument,
    target: Argument,
    *,
    others: tuple[Step, ...] = (),
    size: int = 4,
    start: int = 0,
) -> Launch:
    """Return the launch of `transpose`."""
    tiles = -(-columns.length // _SIDE) * -(-rows.length // _SIDE)
    blocks = tiles * prod(other.length for other in others)
    kern = transpose(rows, columns, others[::-1], size, start)
    return Launch(kern, (blocks, 1, 1), [source, target])


def transposing(
    batch: int, rows: int, columns: int, source: Argument, target: Argument, *, size: int = 4
) -> Launch:
    """Return the launch that turns ``batch`` matrices of ``rows`` x ``columns``."""
    return turning(
        Step(rows, columns, 1), Step(columns, 1, rows), source, target,
        others=(Step(batch, rows * columns, rows * columns),), size=size,
    )  # fmt: skip


def channels_last(problem: Any, plan: Callable[[Any], CudaPlan]) -> CudaPlan:
    """Plan a problem by a plan of its channels-last equivalent, turning images at both ends.

    Its inputs and its output are batches of images; an image of one pixel, or of one channel, is
    stored channels last already.
    """
    if problem.channels_last:
        return plan(problem)
    inner = plan(dataclasses.replace(problem, channels_last=True))
    ends = [(problem.input_size, problem.input_shape[1])]
    if getattr(problem, "residual", False):
        ends.append((problem.output_size, problem.output_shape[1]))
    output = (problem.output_size, problem.output_shape[1])
    each = problem.output_dtype.itemsize
    bound: dict[int, Slot] = {}
    before: list[Launch] = []
    after: list[Launch] = []
    at = aligned(inner.workspace_bytes)
    for number, (size, channels) in enumerate(ends):
        if channels > 1 and prod(size) > 1:
            bound[number] = WORKSPACE + at
            before.append(
                transposing(
                    problem.batch, channels, prod(size), INPUT(number), WORKSPACE + at, size=each
                )
            )
            at += aligned(each * problem.batch * channels * prod(size))
    size, channels = output
    if channels > 1 and prod(size) > 1:
        bound[OUTPUT.buffer] = WORKSPACE + at
        after.append(
            transposing(problem.batch, prod(size), channels, WORKSPACE + at, OUTPUT, size=each)
        )
        at += aligned(each * problem.batch * channels * prod(size))
    launches = [*before, *moved(inner.launches, bound), *after]
    return CudaPlan(launches, workspace_bytes=at)


def moved(launches: Sequence[Launch], bound: dict[int, Slot]) -> list[Launch]:
    """Return launches whose buffers, where ``bound`` names them, are elsewhere."""

    def new(argument: Argument) -> Argument:
        source = source_of(argument)
        if isinstance(source, Slot) and source.buffer in bound:
            return with_source(argument, bound[source.buffer] + source.offset)
        return argument

    return [dataclasses.replace(each, arguments=[*map(new, each.arguments)]) for each in launches]


def aligned(size: int) -> int:
    """Round up to what memory is aligned to."""
    return -(-size // 256) * 256
