"""Pools whose one window is the whole plane: lanes go over its cells, a tree ends them.

Large planes are cut into chunks, whose results are brought together by the same kernel.
"""

from __future__ import annotations

import dataclasses
from math import prod

import numpy as np
from numba import cuda
from numba import float32 as f32
from numba import int32 as i32
from numba import int64 as i64

from fastconv.backends.base import Array
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.engine.blocks import (
    THREADS,
    lanes_for,
    map1,
    map2,
    max_tree,
    sum_tree,
)
from fastconv.backends.cuda.engine.cells import DTYPES, Cell, Other, access, of_cells
from fastconv.backends.cuda.engine.kernel import Body, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, WORKSPACE, Argument, CudaPlan, Launch
from fastconv.backends.cuda.pool import FOLDS, AnyPool, Fold, fold_of, functions_of
from fastconv.backends.native.plan import INPUT

# Cells that a lane goes over before planes are cut.
_CELLS = 32


@dataclasses.dataclass(frozen=True)
class Planes:
    """Columns of ``length`` cells, ``inner`` cells apart, in chunks; ``inner`` side by side."""

    outer: int
    length: int
    inner: int
    chunk: int

    @property
    def chunks(self) -> int:
        """Chunks of a column."""
        return -(-self.length // self.chunk)


@kernel
def whole(planes: Planes, fold: Fold, count: int, dtypes: tuple[str, str]) -> tuple[Body, int]:
    """Bring chunks' cells together; ``count`` is what a mean is over."""
    LENGTH, INNER, CHUNK, CHUNKS = planes.length, planes.inner, planes.chunk, planes.chunks
    lanes = lanes_for(min(planes.chunk, planes.length), planes.inner)
    LANES, STEP, COLUMNS, CELLS = lanes.count, lanes.step, lanes.columns, THREADS
    BESIDE, BLOCKS = planes.inner == 1, -(-planes.inner // lanes.columns)
    PARTS = planes.outer * planes.chunks
    START, MEAN, ROOTED, COUNT = fold.start, fold.mean, fold.rooted, count
    LARGEST = fold.name in ("max", "largest")
    adding, rooting = functions_of(fold)
    combine, root = map2(adding), map1(rooting)
    load, store = access(dtypes[0]).load, access(dtypes[1]).store

    def body(x: Cell, y: Other) -> None:
        cells = cuda.shared.array(CELLS, f32)
        thread = i32(cuda.threadIdx.x)
        lane = thread % i32(LANES) if BESIDE else thread // i32(COLUMNS)
        column = thread // i32(LANES) if BESIDE else thread % i32(COLUMNS)
        block = i32(cuda.blockIdx.x)
        # What is behind the last is computed as that one, and not stored.
        if BESIDE:
            part = block * i32(COLUMNS) + column
            stored = part < i32(PARTS)
            part = min(part, i32(PARTS - 1))
            column = i32(0)
        else:
            part = block // i32(BLOCKS)
            column += block % i32(BLOCKS) * i32(COLUMNS)
            stored = column < i32(INNER)
        start = part % i32(CHUNKS) * i32(CHUNK)
        stop = min(start + i32(CHUNK), i32(LENGTH))
        own = min(column, i32(INNER - 1))
        base = i64(part // i32(CHUNKS)) * i64(LENGTH * INNER) + i64(own)
        total = f32(START)
        for j in range(start + lane, stop, LANES):
            total = combine(total, load(x, base + i64(j) * i64(INNER)))
        cells[thread] = total
        if LARGEST:
            total = max_tree(cells, thread, lane, i32(STEP), i32(LANES))
        else:
            total = sum_tree(cells, thread, lane, i32(STEP), i32(LANES))
        if MEAN:
            total = total / f32(COUNT)
        if ROOTED:
            total = root(total)
        if (lane == i32(0)) & stored:
            store(y, i64(part) * i64(INNER) + i64(column), total)

    return of_cells(body, *dtypes), THREADS


class PoolWhole(CudaAlgorithm):
    """Global pools, and others whose window is the plane."""

    name = "whole"
    dtypes = DTYPES

    def why_not(self, problem: AnyPool) -> str | None:
        if fold_of(problem) is None:
            return f"{problem.kind} pools: this kernel is for max, avg and lp pools"
        if problem.return_indices:
            return "indices are asked for: this kernel gives values alone"
        if not _sees_all(problem):
            return "windows that are not the whole plane"
        return super().why_not(problem)

    def error_bound(self, problem: AnyPool) -> float:
        if problem.kind == "max":
            return 0.0
        planes = planes_of(problem)
        lanes = lanes_for(min(planes.chunk, planes.length), planes.inner)
        # A lane's sum, the trees, and the lanes of the second step.
        sums = _CELLS + 2 * lanes.levels + planes.chunks / lanes.count
        return float(sums + 2) * float(np.finfo(np.float32).eps)

    def launches(self, problem: AnyPool, *parameters: Array | None) -> CudaPlan:
        return plan_whole(problem)


def _sees_all(problem: AnyPool) -> bool:
    """Return whether one window sees every cell once, and a mean is over all of them."""
    if prod(problem.output_size) != 1 or getattr(problem, "divisor_override", None) is not None:
        return False
    return all(
        (int(w.start[0]), int(w.stop[0]), int(w.counted[0])) == (0, size, size)
        and (w.step == 1 or size == 1)
        for w, size in zip(problem.windows(), problem.input_size, strict=True)
    )


def planes_of(problem: AnyPool) -> Planes:
    """Return a problem's planes, cut by their size alone."""
    inner = problem.channels if problem.channels_last else 1
    outer = problem.batch * problem.channels // inner
    length = prod(problem.input_size)
    return Planes(outer, length, inner, _CELLS * lanes_for(length * THREADS, inner).count)


def plan_whole(problem: AnyPool) -> CudaPlan:
    """Plan a pool of whole planes."""
    fold, planes, dtype = fold_of(problem), planes_of(problem), problem.dtype.name
    assert fold is not None
    if planes.chunks == 1:
        return CudaPlan([_launch(planes, fold, planes.length, (dtype, dtype), INPUT(0), OUTPUT)])
    partly = dataclasses.replace(fold, mean=False, rooted=False)
    rest = Planes(planes.outer, planes.chunks, planes.inner, planes.chunks)
    # Magnitudes and their powers are taken once.
    ending = FOLDS["max"] if fold.name in ("max", "largest") else FOLDS["sum"]
    ending = dataclasses.replace(fold, name=ending.name, start=ending.start)
    launches = [
        _launch(planes, partly, 1, (dtype, "float32"), INPUT(0), WORKSPACE),
        _launch(rest, ending, planes.length, ("float32", dtype), WORKSPACE, OUTPUT),
    ]
    return CudaPlan(launches, workspace_bytes=4 * planes.outer * planes.chunks * planes.inner)


def _launch(
    planes: Planes,
    fold: Fold,
    count: int,
    dtypes: tuple[str, str],
    source: Argument,
    target: Argument,
) -> Launch:
    kern = whole(planes, fold, count, dtypes)
    lanes = lanes_for(min(planes.chunk, planes.length), planes.inner)
    parts = planes.outer * planes.chunks
    blocks = -(-planes.inner // lanes.columns) * parts
    if planes.inner == 1:
        blocks = -(-parts // lanes.columns)
    return Launch(kern, (blocks, 1, 1), [source, target])
