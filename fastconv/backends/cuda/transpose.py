"""Matrices turned by tiles in shared memory: between channels first and channels last."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from numba import cuda
from numba import float32 as f32
from numba import int32 as i32
from numba import int64 as i64

from fastconv.backends.cuda.engine.kernel import Body, Float32, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, WORKSPACE, Argument, CudaPlan, Launch
from fastconv.backends.cuda.engine.source import unroll
from fastconv.backends.native.plan import INPUT, Slot

# A tile's side; threads go over it in rows of as many, so many rows at a time.
_SIDE, _TALL = 32, 8


@kernel
def transpose(rows: int, columns: int) -> tuple[Body, int]:
    """Turn matrices of ``rows`` x ``columns``: a block turns a tile of one."""
    ROWS, COLUMNS = rows, columns
    SIDE, TALL, STEPS = _SIDE, _TALL, _SIDE // _TALL
    # One more column, so that a column of a tile lies in different banks.
    CELLS = _SIDE * (_SIDE + 1)

    def body(x: Float32, y: Float32) -> None:
        tile = cuda.shared.array(CELLS, f32)
        across = i32(cuda.threadIdx.x) % i32(SIDE)
        down = i32(cuda.threadIdx.x) // i32(SIDE)
        left = i32(cuda.blockIdx.x) * i32(SIDE)
        top = i32(cuda.blockIdx.y) * i32(SIDE)
        matrix = i64(cuda.blockIdx.z) * i64(ROWS * COLUMNS)
        for step in unroll(STEPS):
            row = top + down + i32(step * TALL)
            column = left + across
            if (row < i32(ROWS)) & (column < i32(COLUMNS)):
                cell = matrix + i64(row) * i64(COLUMNS) + i64(column)
                tile[(down + i32(step * TALL)) * i32(SIDE + 1) + across] = x[cell]
        cuda.syncthreads()
        for step in unroll(STEPS):
            column = left + down + i32(step * TALL)
            row = top + across
            if (row < i32(ROWS)) & (column < i32(COLUMNS)):
                cell = matrix + i64(column) * i64(ROWS) + i64(row)
                y[cell] = tile[across * i32(SIDE + 1) + down + i32(step * TALL)]

    return body, _SIDE * _TALL


def transposing(batch: int, rows: int, columns: int, source: Argument, target: Argument) -> Launch:
    """Give the launch that turns ``batch`` matrices of ``rows`` x ``columns``."""
    grid = (-(-columns // _SIDE), -(-rows // _SIDE), batch)
    return Launch(transpose(rows, columns), grid, [source, target])


def channels_last(problem: Any, plan: Callable[[Any], CudaPlan]) -> CudaPlan:
    """Plan a problem by a plan of its channels-last kin, turning images at both ends.

    Its inputs and its output are batches of images; an image of one pixel, or of one channel, lies
    channels last already.
    """
    if problem.channels_last:
        return plan(problem)
    inner = plan(dataclasses.replace(problem, channels_last=True))
    ends = [(problem.input_size, problem.input_shape[1])]
    if getattr(problem, "residual", False):
        ends.append((problem.output_size, problem.output_shape[1]))
    output = (problem.output_size, problem.output_shape[1])
    bound: dict[int, Slot] = {}
    before: list[Launch] = []
    after: list[Launch] = []
    at = _aligned(inner.workspace_bytes)
    for number, (size, channels) in enumerate(ends):
        if channels > 1 and prod(size) > 1:
            bound[number] = WORKSPACE + at
            before.append(
                transposing(problem.batch, channels, prod(size), INPUT(number), WORKSPACE + at)
            )
            at += _aligned(4 * problem.batch * channels * prod(size))
    size, channels = output
    if channels > 1 and prod(size) > 1:
        bound[OUTPUT.buffer] = WORKSPACE + at
        after.append(transposing(problem.batch, prod(size), channels, WORKSPACE + at, OUTPUT))
        at += _aligned(4 * problem.batch * channels * prod(size))
    launches = [*before, *_moved(inner.launches, bound), *after]
    return CudaPlan(launches, workspace_bytes=at)


def _moved(launches: Sequence[Launch], bound: dict[int, Slot]) -> list[Launch]:
    def new(argument: Argument) -> Argument:
        if isinstance(argument, Slot) and argument.buffer in bound:
            return bound[argument.buffer] + argument.offset
        return argument

    return [dataclasses.replace(each, arguments=[*map(new, each.arguments)]) for each in launches]


def _aligned(size: int) -> int:
    return -(-size // 256) * 256
