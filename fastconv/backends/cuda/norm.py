"""Normalisation on the GPU: batch, group, instance and layer norm.

Variances are corrected two-pass sums (Chan, Golub, LeVeque: Algorithms for computing the sample
variance, 1983): deviations from a first mean, whose own mean is taken off again, so that no digits
cancel however large the mean is. Short rows are a block's, which reads them thrice out of its
cache; long rows, and channels that are last, are summed in chunks, which are put together in
float64. Chunks, lanes and trees depend on the image alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numba import cuda
from numba import float32 as f32
from numba import float64 as f64
from numba import int32 as i32
from numba import int64 as i64

from fastconv.backends.base import Array
from fastconv.backends.cuda.activation import scalar
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.broadcast import folding
from fastconv.backends.cuda.engine.blocks import THREADS, Lanes, lanes_for, map1, sum_tree
from fastconv.backends.cuda.engine.cells import DTYPES, Cell, access, as_floats, of_cells
from fastconv.backends.cuda.engine.intrinsics import sqrt
from fastconv.backends.cuda.engine.kernel import Body, Float32, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, WORKSPACE, Argument, CudaPlan, Launch
from fastconv.backends.cuda.moments import CHUNK, Parts, moments_of
from fastconv.backends.cuda.packing import are_places
from fastconv.backends.native.plan import INPUT, constant
from fastconv.problem import BatchNormProblem, GroupNormProblem, LayerNormProblem
from fastconv.problem.activation import Activation

# The longest row that a block normalises by itself: it stays in a multiprocessor's cache.
LONG = 16384
AFFINE = ("subtract", "multiply", "add")
EPS = float(np.finfo(np.float32).eps)


@kernel
def standardise(
    rows: int,
    length: int,
    lanes: Lanes,
    channels: tuple[int, int, int],
    parameters: tuple[bool, bool],
    eps: float,
    activation: Activation | None,
    dtype: str = "float32",
) -> tuple[Body, int]:
    """Bring rows to mean 0 and variance 1.

    ``channels``: groups that rows take turns in, channels of each, and cells of a channel.
    """
    ROWS, LENGTH, LANES, COLUMNS = rows, length, lanes.count, lanes.columns
    GROUPS, CHANNELS, INNER = channels
    WEIGHT, BIAS = parameters
    ACTIVATION, EPSILON, CELLS = activation is not None, eps, THREADS
    activate = map1(scalar(activation))
    load, store = access(dtype).load, access(dtype).store

    def body(x: Cell, weight: Float32, bias: Float32, y: Cell) -> None:
        cells = cuda.shared.array(CELLS, f32)
        thread = i32(cuda.threadIdx.x)
        lane = thread % i32(LANES)
        row = i64(cuda.blockIdx.x) * i64(COLUMNS) + i64(thread // i32(LANES))
        # Rows behind the last are computed as that one, and not stored.
        own = min(row, i64(ROWS - 1))
        base = own * i64(LENGTH)
        total = f32(0)
        for j in range(lane, LENGTH, LANES):
            total += load(x, base + i64(j))
        cells[thread] = total
        near = sum_tree(cells, thread, lane, i32(1), i32(LANES)) / f32(LENGTH)
        first = f32(0)
        second = f32(0)
        for j in range(lane, LENGTH, LANES):
            off = load(x, base + i64(j)) - near
            first += off
            second += off * off
        cells[thread] = first
        left = sum_tree(cells, thread, lane, i32(1), i32(LANES)) / f32(LENGTH)
        cells[thread] = second
        square = sum_tree(cells, thread, lane, i32(1), i32(LANES)) / f32(LENGTH)
        variance = square - left * left
        variance = f32(0) if variance < f32(0) else variance
        scale = f32(1) / sqrt(variance + f32(EPSILON))
        if row < i64(ROWS):
            channel = i32(own % i64(GROUPS)) * i32(CHANNELS)
            for j in range(lane, LENGTH, LANES):
                value = ((load(x, base + i64(j)) - near) - left) * scale
                if WEIGHT:
                    value = value * weight[channel + i32(j) // i32(INNER)]
                if BIAS:
                    value = value + bias[channel + i32(j) // i32(INNER)]
                if ACTIVATION:
                    value = activate(value)
                store(y, base + i64(j), value)

    return of_cells(body, dtype), THREADS


@kernel
def scales(channels: int, weight: bool, bias: bool, eps: float) -> tuple[Body, int]:
    """Return each channel's scale and shift."""
    CHANNELS, WEIGHT, BIAS, EPSILON, SIZE = channels, weight, bias, eps, THREADS

    def body(
        variance: Float32, weights: Float32, biases: Float32, scale: Float32, shift: Float32
    ) -> None:
        channel = i32(cuda.blockIdx.x) * i32(SIZE) + i32(cuda.threadIdx.x)
        if channel < i32(CHANNELS):
            factor = f64(1) / (f64(variance[channel]) + f64(EPSILON)) ** f64(0.5)
            added = f32(0)
            if WEIGHT:
                factor = factor * f64(weights[channel])
            if BIAS:
                added = biases[channel]
            scale[channel] = f32(factor)
            shift[channel] = added

    return body, THREADS


class BatchNorm(CudaAlgorithm):
    """A mean, a scale and a shift a channel, made when the plan is, or on the GPU."""

    name = "affine"
    moves_parameters = True
    dtypes = DTYPES

    def error_bound(self, problem: BatchNormProblem) -> float:
        return 4 * EPS

    def launches(self, problem: BatchNormProblem, *parameters: Array | None) -> CudaPlan:
        return plan_batch_norm(problem, *parameters)


class GroupNorm(CudaAlgorithm):
    """Groups of channels of an image; instances are groups of one."""

    name = "two_pass"
    dtypes = DTYPES
    moves_parameters = True

    def error_bound(self, problem: GroupNormProblem) -> float:
        return _bound(prod(problem.size) * problem.channels // problem.groups)

    def launches(self, problem: GroupNormProblem, *parameters: Array | None) -> CudaPlan:
        return plan_group_norm(problem, *parameters)


class LayerNorm(CudaAlgorithm):
    """The last axes of each row."""

    name = "two_pass"
    dtypes = DTYPES
    moves_parameters = True

    def error_bound(self, problem: LayerNormProblem) -> float:
        return _bound(problem.length)

    def launches(self, problem: LayerNormProblem, *parameters: Array | None) -> CudaPlan:
        return plan_layer_norm(problem, *parameters)


def _bound(length: int) -> float:
    """Bound the error: half of it is the variance's, whose sums are a lane's and a tree's."""
    lanes = lanes_for(min(length, CHUNK), 1)
    return (min(length, CHUNK) / lanes.count + lanes.levels + 8) / 2 * EPS


def plan_batch_norm(problem: BatchNormProblem, *parameters: Array | None) -> CudaPlan:
    """Plan the normalisation of channels by what is given for each."""
    mean, variance, weight, bias = (
        None if p is None else as_floats(p, problem.dtype) for p in parameters
    )
    assert mean is not None
    assert variance is not None
    if are_places(variance):
        given = [None if p is None else constant(p) for p in (mean, variance, weight, bias)]
        kern = scales(problem.channels, weight is not None, bias is not None, problem.eps)
        table = -(-4 * problem.channels // 256) * 256
        slots = [WORKSPACE, WORKSPACE + table]
        making = Launch(kern, (-(-problem.channels // THREADS), 1, 1), [*given[1:], *slots])
        tables = [given[0], *slots]
        whole = _affine(problem, tables, problem.activation)
        return CudaPlan([making, whole], workspace_bytes=2 * table)
    with np.errstate(all="ignore"):
        scale = 1 / np.sqrt(variance.astype(np.float64) + problem.eps)
    if weight is not None:
        scale = scale * weight
    shift = np.zeros(problem.channels) if bias is None else bias
    ready = [constant(table, np.float32) for table in (mean, scale, shift)]
    return CudaPlan([_affine(problem, ready, problem.activation)])


def plan_group_norm(problem: GroupNormProblem, *parameters: Array | None) -> CudaPlan:
    """Plan the normalisation of groups of channels."""
    weight, bias = (
        None if p is None else constant(as_floats(p, problem.dtype)) for p in parameters
    )
    inner, each = prod(problem.size), problem.channels // problem.groups
    last = problem.channels_last and inner > 1
    length = each * inner
    if not last and length <= LONG:
        launch = _rows(
            problem.batch * problem.groups, length, (problem.groups, each, inner), weight, bias,
            problem.eps, problem.activation, problem.dtype.name,
        )  # fmt: skip
        return CudaPlan([launch])
    parts = Parts.of_pixels if last else Parts.of_rows
    launches, tables, size = moments_of(
        parts(problem.batch, problem.groups, each, inner),
        weight,
        bias,
        problem.eps,
        problem.dtype.name,
    )
    launches.append(_affine(problem, tables, problem.activation, own=True))
    return CudaPlan(launches, workspace_bytes=size)


def plan_layer_norm(problem: LayerNormProblem, *parameters: Array | None) -> CudaPlan:
    """Plan the normalisation of rows."""
    weight, bias = (
        None if p is None else constant(as_floats(p.reshape(-1), problem.dtype)) for p in parameters
    )
    dtype = problem.dtype.name
    rows, length = problem.rows, problem.length
    if length <= LONG:
        launch = _rows(rows, length, (1, length, 1), weight, bias, problem.eps, None, dtype)
        return CudaPlan([launch])
    launches, tables, size = moments_of(
        Parts.of_rows(rows, 1, 1, length), None, None, problem.eps, dtype
    )
    shape, whole, place = (rows, length), (length, 1), (0, 1)
    row: list[tuple[int, ...]] = [(1, 0)] * 3
    given = [("multiply", weight), ("add", bias)]
    names = tuple(name for name, table in given if table is not None)
    # What is between the two steps is not rounded to halves.
    middle, middle_dtype = (WORKSPACE + size, "float32") if names else (OUTPUT, dtype)
    launches.append(
        folding(
            AFFINE, shape, [whole, *row], [INPUT(0), *tables], middle, dtypes=(dtype, middle_dtype)
        )
    )
    if names:
        operands: list[Argument] = [middle, *(table for _, table in given if table is not None)]
        steps = [whole, *[place] * len(names)]
        launches.append(folding(names, shape, steps, operands, OUTPUT, dtypes=("float32", dtype)))
        size += 4 * rows * length
    return CudaPlan(launches, workspace_bytes=size)


def _rows(
    rows: int,
    length: int,
    channels: tuple[int, int, int],
    weight: Argument,
    bias: Argument,
    eps: float,
    activation: Activation | None,
    dtype: str,
) -> Launch:
    lanes = lanes_for(length, 1)
    given = weight is not None, bias is not None
    kern = standardise(rows, length, lanes, channels, given, eps, activation, dtype)
    return Launch(kern, (-(-rows // lanes.columns), 1, 1), [INPUT(0), weight, bias, OUTPUT])


def _affine(
    problem: BatchNormProblem | GroupNormProblem,
    tables: Sequence[Argument],
    activation: Activation | None,
    own: bool = False,
) -> Launch:
    """Return the launch of (x - mean) * scale + shift, tables of a channel, or an image's own."""
    inner, channels = prod(problem.size), problem.channels
    image = channels if own else 0
    if problem.channels_last:
        shape, step = (problem.batch, inner, channels), (image, 0, 1)
        whole = (inner * channels, channels, 1)
    else:
        shape, step = (problem.batch, channels, inner), (image, 1, 0)
        whole = (inner * channels, inner, 1)
    dtype = problem.dtype.name
    return folding(
        AFFINE, shape, [whole, step, step, step], [INPUT(0), *tables], OUTPUT, activation,
        (dtype, dtype),
    )  # fmt: skip
