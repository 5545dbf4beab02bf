"""Padding, interpolation and pixel shuffling: rows of output, each gathered or summed by tables."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array, Cost, roofline
from fastconv.backends.manifest.moves import Permute, Weigh
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.line import is_long, line_stage
from fastconv.backends.native.move import WIDE, Axis, Moving
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    Constant,
    NativePlan,
    Stage,
    constant,
    scratch_stride,
)
from fastconv.machine import Machine, get_machine
from fastconv.problem import InterpolateProblem, PadProblem, PixelShuffleProblem
from fastconv.problem.taps import Taps

# Weighted cells from which on a sum is taken in two steps, rows first.
MANY_TAPS = 16
# Channels that are last from which on cells are summed with all of them at once.
FEW = 16
# Up to so many cells of a row that every output sums equally many of, kernels know their number.
MOST_TAPS = 6


class Pad(Moving):
    """Padding: every row copied, its ends filled from a table."""

    def plan(self, problem: PadProblem, *parameters: Array | None) -> NativePlan:
        axes = [
            Axis(length, problem.sources(axis) if any(problem.pads[axis]) else None)
            for axis, length in enumerate(problem.shape)
        ]
        return self.gathered(problem, axes, problem.value)


class Nearest(Moving):
    """Interpolation whose cells are copies of the input's."""

    def why_not(self, problem: InterpolateProblem) -> str | None:
        if not problem.copies:
            return f"mode {problem.mode!r} sums cells"
        return super().why_not(problem)

    def plan(self, problem: InterpolateProblem, *parameters: Array | None) -> NativePlan:
        if is_long(problem):
            stage = line_stage(problem, self.mover("line.nearest", problem))
            return self.native_plan(problem, [stage])
        axes = [Axis(length, problem.sources(i)) for i, length in enumerate(problem.input_size)]
        first, last = _around(problem)
        value = bytes(problem.dtype.itemsize)
        return self.gathered(problem, [Axis(first, None), *axes, Axis(last, None)], value)


class Weighted(NativeAlgorithm):
    """Interpolation that sums: rows first, then along the row, nothing between in memory."""

    name = "separable"

    def why_not(self, problem: InterpolateProblem) -> str | None:
        if problem.copies:
            return f"mode {problem.mode!r} copies cells"
        return super().why_not(problem)

    def cost(self, problem: InterpolateProblem, machine: Machine) -> Cost:
        cells = prod(problem.output_shape)
        taps = [max(1, problem.most_taps(i)) for i in range(problem.n)]
        rows = cells * problem.input_size[-1] / problem.output_size[-1] * prod(taps[:-1])
        # The second step loads single cells: about one a cycle.
        flops = 4 * rows + 16 * cells * taps[-1]
        return Cost(1e-6 + roofline(problem, machine, flops=flops, bytes=problem.bytes))

    def error_bound(self, problem: InterpolateProblem) -> float:
        # A sum of so many weighted cells.
        taps = [problem.most_taps(i) for i in range(problem.n)]
        return float(np.finfo(problem.dtype).eps) * (prod(taps[:-1]) + taps[-1] + 2)

    def plan(self, problem: InterpolateProblem, *parameters: Array | None) -> NativePlan:
        if is_long(problem):
            kernel = self.library.kernel("line.linear", problem.dtype.name)
            return self.native_plan(problem, [line_stage(problem, kernel)])
        # Channels that are last are the row where they are many, and cells of it where few.
        taps = [problem.taps(i) for i in range(problem.n)]
        sizes = list(problem.input_size)
        outer, inner = _around(problem)
        few = prod(max(1, t.most) for t in taps) <= MANY_TAPS
        alone = inner >= WIDE and problem.n < 3 and few
        if alone:
            taps, sizes = [*taps, _ONE], [*sizes, 1]
        elif inner < FEW:
            taps[-1], sizes[-1], inner = _repeated(taps[-1], inner), sizes[-1] * inner, 1
        taps, sizes = [_ONE] * (3 - len(taps)) + taps, [1] * (3 - len(sizes)) + sizes
        a, b, c = taps
        lengths = [len(t.first) - 1 for t in taps]
        each = -1 if alone else c.most if c.uniform and c.most <= MOST_TAPS else 0
        lanes = get_machine().lanes(problem.dtype)
        # What blocks are picked from is two vectors, whether or not a line is as long.
        scratch = max(sizes[2] * inner, 2 * lanes) * problem.dtype.itemsize
        tables: dict[str, Any] = {}
        for axis, t in zip("abc", taps, strict=True):
            kind = problem.dtype if axis == "c" else np.float64
            tables |= {f"{axis}_first": constant(t.first), f"{axis}_index": constant(t.index)}
            tables[f"{axis}_weight"] = constant(t.weight, kind)
        blocks: tuple[Any, ...] = (0, 0, 0)
        if inner == 1:
            blocks = _blocks(c, sizes[2], each, lanes, problem.dtype)
        plain = sizes[2] * inner >= 2 * lanes and all((t.weight == 1).all() for t in (a, b))
        stage = Stage(
            self.library.kernel("resample.weigh", problem.dtype.name, each),
            outer * lengths[0] * lengths[1],
            Weigh(
                source=INPUT(0), target=OUTPUT, a_out=lengths[0], b_out=lengths[1],
                c_out=lengths[2], a_in=sizes[0], b_in=sizes[1], c_in=sizes[2], inner=inner,
                scratch_base=SCRATCH, scratch_stride=scratch_stride(scratch), plain=int(plain),
                taps=each, block_starts=blocks[0], block_places=blocks[1],
                block_weights=blocks[2],
                **tables,
            ),
        )  # fmt: skip
        return self.native_plan(problem, [stage], scratch_bytes=scratch)


class PixelShuffle(Moving):
    """Pixel shuffling and its inverse: six axes permuted."""

    name = "permute"

    def plan(self, problem: PixelShuffleProblem, *parameters: Array | None) -> NativePlan:
        split, order = problem.permutation()
        shape = (prod(problem.lead), *split)
        steps = [prod(shape[axis + 1 :]) for axis in range(6)]
        lengths = [shape[axis] for axis in order]
        stage = Stage(
            self.mover("move.permute", problem),
            prod(lengths[:3]),
            Permute(
                source=INPUT(0),
                target=OUTPUT,
                lengths=lengths[1:],
                steps=[steps[axis] for axis in order],
            ),
        )
        return self.native_plan(problem, [stage])


_ONE = Taps(np.array([0, 1]), np.array([0]), np.ones(1))


def _around(problem: InterpolateProblem) -> tuple[int, int]:
    """Return how many images are before the spatial axes, and how many cells after them."""
    if problem.channels_last:
        return problem.batch, problem.channels
    return problem.batch * problem.channels, 1


def _repeated(taps: Taps, inner: int) -> Taps:
    """Return the taps of each of ``inner`` elements that an axis's cells hold."""
    if inner == 1:
        return taps
    counts = np.repeat(np.diff(taps.first), inner)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    element = np.repeat(np.arange(len(counts)) % inner, counts)
    number = np.arange(first[-1]) - np.repeat(first[:-1], counts)
    number += np.repeat(np.repeat(taps.first[:-1], inner), counts)
    return Taps(first, taps.index[number] * inner + element, taps.weight[number])


def _blocks(
    taps: Taps, size: int, each: int, lanes: int, dtype: np.dtype[Any]
) -> tuple[Constant | int, ...]:
    """Return the taps of an axis of single cells for each vector of outputs.

    The first of two vectors' cells among which all that it sums are, or -1 where that is more; for
    each tap each lane's place among them, and its weight.
    """
    if each <= 0:
        return 0, 0, 0
    outputs = len(taps.first) - 1
    blocks = -(-outputs // lanes)
    # Lanes past the end are like the last.
    shown = np.minimum(np.arange(blocks * lanes), outputs - 1).reshape(blocks, 1, lanes)
    number = shown * each + np.arange(each)[:, None]
    index, weight = taps.index[number], taps.weight[number]
    del number
    starts = np.minimum(index.min((1, 2)), max(0, size - 2 * lanes))
    places = index - starts[:, None, None]
    within = places.max((1, 2)) < 2 * lanes
    return (
        constant(np.where(within, starts, -1), np.int64),
        constant(places, f"i{dtype.itemsize}"),
        constant(weight, dtype),
    )
