"""The fully connected layer on the GPU: sums cut into slices, which are added in order.

How a sum is cut depends on the layer alone, and each slice is summed from its first product to its
last, so a row has the same bits in every batch. Few rows wait for the weights alone: all slices are
read at once, and a second kernel adds them. More rows are a GEMM whose groups are the slices. Of
many rows the slices' sums would take much memory: they are a GEMM a slice, which adds to what the
one before left in the output.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import cuda
from numba import float32 as f32
from numba import int32 as i32
from numba import int64 as i64

from fastconv.backends.base import Array
from fastconv.backends.cuda.activation import scalar
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.carry import in_floats
from fastconv.backends.cuda.conv.direct import (
    MOST_CELLS,
    gemm_launch,
    table_of,
    tile_of,
)
from fastconv.backends.cuda.conv.implicit_gemm import Geometry
from fastconv.backends.cuda.engine.cells import DTYPES, as_floats
from fastconv.backends.cuda.engine.intrinsics import (
    add4,
    load4,
    load4_where,
    load_where,
    map4,
    multiply_add4,
    put4,
    store4,
    store_first,
    take4,
)
from fastconv.backends.cuda.engine.kernel import Body, Float32, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, WORKSPACE, Argument, CudaPlan, Launch
from fastconv.backends.cuda.engine.source import unroll
from fastconv.backends.cuda.tile import BLOCKS, Tile
from fastconv.backends.native.plan import INPUT, constant
from fastconv.problem import LinearProblem
from fastconv.problem.activation import Activation

# Threads of a block that reads weights: each has four columns, and so many quads on the way.
_THREADS, _AHEAD = 64, 16
# Threads of a block that adds slices.
_ADDING = 256
# Rows that a thread sums, and up to how many rows weights are read so.
ROWS, FEW = 8, 32
# A slice's least products, and the most slices: a GEMM reads and writes its output for each.
LEAST, MOST = 256, 16
# Bytes that the sums of slices may take.
ROOM = 64 << 20


class Linear(CudaAlgorithm):
    """Rows times a weight, with bias and activation."""

    name = "gemm"
    moves_parameters = True
    dtypes = DTYPES

    def why_not(self, problem: LinearProblem) -> str | None:
        if problem.in_features == 0:
            return "there are no products to sum"
        if max(problem.in_features, problem.out_features) >= MOST_CELLS:
            return f"{MOST_CELLS} features and more"
        return super().why_not(problem)

    def error_bound(self, problem: LinearProblem) -> float:
        cuts = slices_of(problem.in_features, problem.out_features)
        return (cuts[0][1] + len(cuts)) * float(np.finfo(np.float32).eps)

    def launches(self, problem: LinearProblem, *parameters: Array | None) -> CudaPlan:
        weight, bias = (None if p is None else as_floats(p, problem.dtype) for p in parameters)
        assert weight is not None
        plan = _plan_for(problem)
        return in_floats(problem, lambda wide: plan(wide, weight, bias))


def slices_of(inputs: int, outputs: int) -> list[tuple[int, int]]:
    """Return the first product of each slice of a sum, and how many it has."""
    blocks = -(-outputs // (4 * _THREADS))
    count = max(1, min(inputs // LEAST, MOST, -(-BLOCKS // blocks)))
    length = -(-inputs // (count * _AHEAD)) * _AHEAD
    return [(start, min(length, inputs - start)) for start in range(0, inputs, length)]


def _plan_for(problem: LinearProblem) -> Callable[..., CudaPlan]:
    """Return what plans so many rows: all of them give the same bits."""
    if problem.batch <= FEW:
        return plan_few_rows
    inputs, outputs = problem.in_features, problem.out_features
    cuts = slices_of(inputs, outputs)
    even = inputs == len(cuts) * cuts[0][1] and outputs % 4 == 0
    fits = 4 * problem.batch * outputs * len(cuts) <= ROOM
    return plan_more_rows if len(cuts) > 1 and even and fits else plan_many_rows


@kernel
def slices(rows: int, inputs: int, columns: int, length: int) -> tuple[Body, int]:
    """Sum one slice for some rows and four columns a thread.

    Partial sums are (slices, rows, columns); weights are (slices, length, columns), zeros behind
    the last.
    """
    THREADS, LENGTH = _THREADS, length
    ROW_COUNT, INPUTS, COLUMNS = rows, inputs, columns
    EACH = min(rows, ROWS)
    # More rows leave fewer registers, and have more to do for each weight.
    AHEAD = _AHEAD if EACH <= 2 else _AHEAD // 2
    LAST = length - AHEAD
    QUADS, SUMS, HELD = columns // 4, 4 * EACH, 4 * AHEAD
    WIDE = inputs % 4 == 0

    def body(x: Float32, weight: Float32, y: Float32) -> None:
        quad = i32(cuda.blockIdx.x) * i32(THREADS) + i32(cuda.threadIdx.x)
        first_row = i32(cuda.blockIdx.y) * i32(EACH)
        part = i32(cuda.blockIdx.z)
        if quad < i32(QUADS):
            sums = cuda.local.array(SUMS, f32)
            coming = cuda.local.array(HELD, f32)
            held = cuda.local.array(HELD, f32)
            values = cuda.local.array(AHEAD, f32)
            for r in unroll(EACH):
                put4(sums, 4 * r, (f32(0), f32(0), f32(0), f32(0)))

            def fetch(step):  # type: ignore[no-untyped-def]
                """Load the weights of a step: they arrive while another is multiplied."""
                for k in unroll(AHEAD):
                    line = i64(part * i32(LENGTH) + step + i32(k)) * i64(COLUMNS)
                    put4(coming, 4 * k, load4(weight, line + i64(quad) * i64(4)))

            fetch(i32(0))
            for step in range(0, LENGTH, AHEAD):
                first = part * i32(LENGTH) + i32(step)
                for k in unroll(AHEAD):
                    put4(held, 4 * k, take4(coming, 4 * k))
                fetch(min(i32(step) + i32(AHEAD), i32(LAST)))
                for r in unroll(EACH):
                    row = i64(min(first_row + i32(r), i32(ROW_COUNT - 1))) * i64(INPUTS)
                    for k in unroll(AHEAD):
                        inside = first + i32(k) < i32(INPUTS)
                        place = row + i64(first + i32(k))
                        if WIDE:
                            if k % 4 == 0:
                                put4(values, k, load4_where(x, place, inside))
                        else:
                            values[k] = load_where(x, place, inside)
                    for k in unroll(AHEAD):
                        one = values[k]
                        multiply_add4(sums, 4 * r, (one, one, one, one), take4(held, 4 * k))
            for r in unroll(EACH):
                row = first_row + i32(r)
                if row < i32(ROW_COUNT):
                    line = (i64(part) * i64(ROW_COUNT) + i64(row)) * i64(COLUMNS)
                    store4(y, line + i64(quad) * i64(4), take4(sums, 4 * r))

    return body, _THREADS


@kernel
def added(
    rows: int,
    outputs: int,
    columns: int,
    parts: int,
    steps: tuple[int, int],
    bias: bool,
    activation: Activation | None,
) -> tuple[Body, int]:
    """Add slices in order: the first with the bias, each other one to the sum so far.

    ``steps`` are from a slice's sums, and from a row's, to the next one's.
    """
    THREADS, OUTPUTS, QUADS = _ADDING, outputs, columns // 4
    ITEMS, PARTS = rows * (columns // 4), parts
    PART, ROW = steps
    WHOLE = outputs % 4 == 0
    BIAS, ACTIVATION = bias, activation is not None
    activate = map4(scalar(activation))

    def body(x: Float32, offsets: Float32, y: Float32) -> None:
        item = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
        if item < i64(ITEMS):
            row = item // i64(QUADS)
            column = i32(item % i64(QUADS)) * i32(4)
            place = row * i64(ROW) + i64(column)
            total = load4(x, place)
            if BIAS:
                total = add4(total, load4(offsets, column))
            for part in range(1, PARTS):
                total = add4(load4(x, i64(part) * i64(PART) + place), total)
            if ACTIVATION:
                total = activate(total)
            target = row * i64(OUTPUTS) + i64(column)
            if WHOLE:
                store4(y, target, total)
            else:
                store_first(y, target, total, i32(OUTPUTS) - column)

    return body, THREADS


def plan_few_rows(problem: LinearProblem, weight: Array, bias: Array | None) -> CudaPlan:
    """Plan a product that waits for its weights."""
    rows, outputs = problem.batch, problem.out_features
    cuts = slices_of(problem.in_features, outputs)
    columns = -(-outputs // 4) * 4
    # A last slice that is shorter meets weights of zero.
    length = -(-cuts[0][1] // _AHEAD) * _AHEAD
    packed = np.zeros((len(cuts), length, columns), weight.dtype)
    for number, (start, count) in enumerate(cuts):
        packed[number, :count, :outputs] = weight[:, start : start + count].T
    offsets = None
    if bias is not None:
        offsets = constant(np.pad(bias, (0, columns - outputs)))
    grid = (-(-columns // (4 * _THREADS)), -(-rows // min(rows, ROWS)), len(cuts))
    launches = [
        Launch(
            slices(rows, problem.in_features, columns, length), grid,
            [INPUT(0), constant(packed), WORKSPACE],
        ),
        _adding(problem, columns, len(cuts), (rows * columns, columns), offsets),
    ]  # fmt: skip
    return CudaPlan(launches, workspace_bytes=4 * len(cuts) * rows * columns)


def _adding(
    problem: LinearProblem, columns: int, parts: int, steps: tuple[int, int], bias: Argument
) -> Launch:
    """Return the launch that adds the slices' sums in the workspace."""
    kern = added(
        problem.batch, problem.out_features, columns, parts, steps, bias is not None,
        problem.activation,
    )  # fmt: skip
    items = problem.batch * (columns // 4)
    return Launch(kern, (-(-items // _ADDING), 1, 1), [WORKSPACE, bias, OUTPUT])


def plan_more_rows(
    problem: LinearProblem, weight: Array, bias: Array | None, tile: Tile | None = None
) -> CudaPlan:
    """Plan a product as one GEMM, a group a slice; slices are alike, and outputs in fours."""
    one, inside, outputs = (1, 1, 1), (False, False, False), problem.out_features
    cuts = slices_of(problem.in_features, outputs)
    parts, length = len(cuts), cuts[0][1]
    geometry = Geometry(
        problem.batch, one, one, one, (0, 0, 0), problem.in_features, parts * outputs, parts, 1,
        inside,
    )  # fmt: skip
    own = weight.reshape(outputs, parts, length).transpose(1, 0, 2)
    launch = gemm_launch(
        tile_of(geometry) if tile is None else tile, geometry,
        np.ascontiguousarray(own).reshape(parts * outputs, length),
        table_of(geometry, [np.zeros(1, np.int64)] * 3), target=WORKSPACE,
    )  # fmt: skip
    offsets = None if bias is None else constant(bias)
    adding = _adding(problem, outputs, parts, (outputs, parts * outputs), offsets)
    size = 4 * problem.batch * parts * outputs
    return CudaPlan([launch, adding], workspace_bytes=size)


def plan_many_rows(
    problem: LinearProblem, weight: Array, bias: Array | None, tile: Tile | None = None
) -> CudaPlan:
    """Plan a product as GEMMs, one a slice."""
    one, inside = (1, 1, 1), (False, False, False)
    cuts = slices_of(problem.in_features, problem.out_features)
    launches = []
    for number, (start, count) in enumerate(cuts):
        geometry = Geometry(
            problem.batch, one, one, one, (0, 0, 0), count, problem.out_features, 1, 1, inside,
            pitch=problem.in_features,
        )  # fmt: skip
        last = number == len(cuts) - 1
        launch = gemm_launch(
            tile_of(geometry) if tile is None else tile, geometry,
            weight[:, start : start + count], table_of(geometry, [np.zeros(1, np.int64)] * 3),
            source=INPUT(0) + 4 * start,
            bias=constant(bias) if bias is not None and number == 0 else None,
            residual=OUTPUT if number else None,
            activation=problem.activation if last else None,
        )  # fmt: skip
        launches.append(launch)
    return CudaPlan(launches)
