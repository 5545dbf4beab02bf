"""Padding, interpolation and pixel shuffling on the GPU: cells moved by tables, or summed by them.

Interpolation that sums does all dimensions at once where an output sees few cells, and else one
after the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from math import prod

import numpy as np
from numba import cuda
from numba import float32 as f32
from numba import int32 as i32
from numba import int64 as i64

from fastconv.backends.base import Array
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.engine.cells import DTYPES, Cell, Other, access, of_cells
from fastconv.backends.cuda.engine.intrinsics import multiply_add4, put4, take4
from fastconv.backends.cuda.engine.kernel import Body, Float32, Int32, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, WORKSPACE, Argument, CudaPlan, Launch
from fastconv.backends.cuda.moves import Axis, Moving, moving, table_of, view
from fastconv.backends.native.conv.geometry import lead
from fastconv.backends.native.plan import INPUT, constant
from fastconv.problem import InterpolateProblem, PadProblem, PixelShuffleProblem
from fastconv.problem.moves import strides_of
from fastconv.problem.taps import Taps

_THREADS = 256
# Weighted cells of an output from which on dimensions are summed one after the other.
_MANY_TAPS = 16


class Pad(Moving):
    """Each padded axis by a table of the cells that it shows."""

    name = "gather"

    def launches(self, problem: PadProblem, *parameters: Array | None) -> CudaPlan:
        return CudaPlan([padding(problem, INPUT(0), OUTPUT)])


class Nearest(Moving):
    """Interpolation whose cells are copies of the input's."""

    name = "gather"

    def why_not(self, problem: InterpolateProblem) -> str | None:
        if not problem.copies:
            return f"mode {problem.mode!r} sums cells"
        return super().why_not(problem)

    def launches(self, problem: InterpolateProblem, *parameters: Array | None) -> CudaPlan:
        return plan_nearest(problem)


class PixelShuffle(Moving):
    """Pixel shuffling and its inverse: six axes permuted."""

    name = "permute"

    def launches(self, problem: PixelShuffleProblem, *parameters: Array | None) -> CudaPlan:
        split, order = problem.permutation()
        shape = (prod(problem.lead), *split)
        steps = strides_of(shape)
        lengths = [shape[axis] for axis in order]
        targets = strides_of(tuple(lengths))
        axes = [
            Axis(length, steps[axis], target)
            for length, axis, target in zip(lengths, order, targets, strict=True)
        ]
        return CudaPlan([view(problem.dtype.itemsize, axes, INPUT(0), OUTPUT)])


class Weighted(CudaAlgorithm):
    """Interpolation that sums: linear, cubic, area and antialiased modes."""

    name = "separable"
    dtypes = DTYPES

    def why_not(self, problem: InterpolateProblem) -> str | None:
        if problem.copies:
            return f"mode {problem.mode!r} copies cells"
        return super().why_not(problem)

    def error_bound(self, problem: InterpolateProblem) -> float:
        taps = [problem.taps(i).most for i in range(problem.n)]
        return float(np.finfo(np.float32).eps) * (sum(taps) + 2 * len(taps))

    def launches(self, problem: InterpolateProblem, *parameters: Array | None) -> CudaPlan:
        return plan_weighted(problem)


def padding(problem: PadProblem, source: Argument, target: Argument) -> Launch:
    """Return the launch that pads."""
    steps, targets = strides_of(problem.shape), strides_of(problem.output_shape)
    axes = [
        Axis(out, step, own, table_of(problem.sources(i), step) if any(problem.pads[i]) else None)
        for i, (out, step, own) in enumerate(
            zip(problem.output_shape, steps, targets, strict=True)
        )
    ]  # fmt: skip
    return moving(problem.dtype.itemsize, axes, source, target, value=problem.value)


def plan_nearest(problem: InterpolateProblem) -> CudaPlan:
    """Plan interpolation that copies."""
    outer, inner = _around(problem)
    shape = (outer, *problem.input_size, inner)
    steps = strides_of(shape)
    lengths = (outer, *problem.output_size, inner)
    axes = [
        Axis(out, step, own, None)
        for out, step, own in zip(lengths, steps, strides_of(lengths), strict=True)
    ]
    for i in range(problem.n):
        table = table_of(problem.sources(i), steps[i + 1])
        axes[i + 1] = dataclasses.replace(axes[i + 1], table=table)
    return CudaPlan([moving(problem.dtype.itemsize, axes, INPUT(0), OUTPUT)])


def _around(problem: InterpolateProblem) -> tuple[int, int]:
    """Return how many images are before the spatial axes, and how many cells after them."""
    if problem.channels_last:
        return problem.batch, problem.channels
    return problem.batch * problem.channels, 1


@kernel
def weigh(
    outer: int,
    before: tuple[int, int, int],
    after: tuple[int, int, int],
    inner: int,
    taps: tuple[int, int, int],
    dtypes: tuple[str, str] = ("float32", "float32"),
) -> tuple[Body, int]:
    """Sum weighted cells along up to three axes.

    ``taps`` are the cells that each output of an axis sums; 0 where that varies: ``first`` tells
    where each output's begin then, one more than there are outputs. ``index`` and ``weight`` have
    the axes' taps one after the other. ``dtypes`` are the cells' and the sums'.
    """
    IN_A, IN_B, IN_C = before
    OUT_A, OUT_B, OUT_C = after
    TAPS_A, TAPS_B, TAPS_C = taps
    WIDE, NARROW = inner % 4 == 0, inner % 4 != 0
    EACH = 4 if WIDE else 1
    CELLS, INNER, THREADS = inner // EACH, inner, _THREADS
    ITEMS = outer * OUT_A * OUT_B * OUT_C * CELLS
    FIRST_B, FIRST_C = OUT_A + 1, OUT_A + OUT_B + 2
    # Where a dimension's taps begin, if those before it are as many for every output.
    BASE_B = OUT_A * TAPS_A
    BASE_C = BASE_B + OUT_B * TAPS_B
    load, load4 = access(dtypes[0]).load, access(dtypes[0]).load4
    store, store4 = access(dtypes[1]).store, access(dtypes[1]).store4

    def body(x: Cell, first: Int32, index: Int32, weight: Float32, y: Other) -> None:
        item = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
        if item < i64(ITEMS):
            cell = item % i64(CELLS) * i64(EACH)
            rest = item // i64(CELLS)
            c = i32(rest % i64(OUT_C))
            rest = rest // i64(OUT_C)
            b = i32(rest % i64(OUT_B))
            rest = rest // i64(OUT_B)
            a = i32(rest % i64(OUT_A))
            image = rest // i64(OUT_A)
            if TAPS_A > 0:
                a_from = a * i32(TAPS_A)
                a_to = a_from + i32(TAPS_A)
            else:
                a_from = first[a]
                a_to = first[a + i32(1)]
            if TAPS_B > 0:
                b_from = i32(BASE_B) + b * i32(TAPS_B)
                b_to = b_from + i32(TAPS_B)
            else:
                b_from = first[i32(FIRST_B) + b]
                b_to = first[i32(FIRST_B) + b + i32(1)]
            if TAPS_C > 0:
                c_from = i32(BASE_C) + c * i32(TAPS_C)
                c_to = c_from + i32(TAPS_C)
            else:
                c_from = first[i32(FIRST_C) + c]
                c_to = first[i32(FIRST_C) + c + i32(1)]
            sums = cuda.local.array(4, f32)
            put4(sums, 0, (f32(0), f32(0), f32(0), f32(0)))
            for i in range(a_from, a_to):
                plane = (image * i64(IN_A) + i64(index[i])) * i64(IN_B)
                for j in range(b_from, b_to):
                    line = (plane + i64(index[j])) * i64(IN_C)
                    outside = weight[i] * weight[j]
                    for k in range(c_from, c_to):
                        place = (line + i64(index[k])) * i64(INNER) + cell
                        w = outside * weight[k]
                        if WIDE:
                            multiply_add4(sums, 0, (w, w, w, w), load4(x, place))
                        if NARROW:
                            sums[0] += w * load(x, place)
            if WIDE:
                store4(y, item * i64(4), take4(sums, 0))
            if NARROW:
                store(y, item, sums[0])

    return of_cells(body, *dtypes), THREADS


def plan_weighted(problem: InterpolateProblem) -> CudaPlan:
    """Plan interpolation that sums."""
    outer, inner = _around(problem)
    taps = [problem.taps(i) for i in range(problem.n)]
    sizes = list(problem.input_size)
    if prod(max(1, t.most) for t in taps) <= _MANY_TAPS:
        dtypes = (problem.dtype.name, problem.dtype.name)
        return CudaPlan([_weighing(outer, sizes, taps, inner, INPUT(0), OUTPUT, dtypes)])
    # What shrinks most comes first.
    order = sorted(range(problem.n), key=lambda i: problem.output_size[i] / sizes[i])
    launches, source, size = [], INPUT(0), 0
    for i in order:
        before, after = outer * prod(sizes[:i]), prod(sizes[i + 1 :]) * inner
        target = OUTPUT if i == order[-1] else WORKSPACE + size
        # What is between two dimensions is float32.
        dtypes = (
            problem.dtype.name if i == order[0] else "float32",
            problem.dtype.name if i == order[-1] else "float32",
        )
        launches.append(
            _weighing(before, sizes[i : i + 1], taps[i : i + 1], after, source, target, dtypes)
        )
        sizes[i] = problem.output_size[i]
        if i != order[-1]:
            size += -(-4 * outer * prod(sizes) * inner // 256) * 256
        source = target
    return CudaPlan(launches, workspace_bytes=size)


def _weighing(
    outer: int,
    sizes: Sequence[int],
    taps: Sequence[Taps],
    inner: int,
    source: Argument,
    target: Argument,
    dtypes: tuple[str, str],
) -> Launch:
    """Return the launch of `weigh` for up to three dimensions."""
    every = [_ONE] * (3 - len(taps)) + list(taps)
    uniform = all(t.uniform for t in every)
    lengths = [len(t.first) - 1 for t in every]
    counts = tuple(t.most if uniform else 0 for t in every)
    firsts, base = [], 0
    for t in every:
        firsts.append(t.first + base)
        base += len(t.index)
    a, b, c = lengths
    kern = weigh(outer, lead(tuple(sizes), 1), (a, b, c), inner, counts, dtypes)
    items = outer * a * b * c * inner // (4 if inner % 4 == 0 else 1)
    arguments = [
        source, None if uniform else constant(np.concatenate(firsts), np.int32),
        constant(np.concatenate([t.index for t in every]), np.int32),
        constant(np.concatenate([t.weight for t in every]), np.float32), target,
    ]  # fmt: skip
    return Launch(kern, (-(-items // _THREADS), 1, 1), arguments)


_ONE = Taps(np.array([0, 1]), np.array([0]), np.ones(1))
