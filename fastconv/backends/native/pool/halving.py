"""Pools of channels-first images whose windows are two columns apart, straight to the outputs.

Two vectors of columns are folded down and shuffled into a vector of outputs: nothing is stored in
scratch memory in between, as it does in the planar pools of any other window.
"""

from __future__ import annotations

import dataclasses
from math import frexp, prod

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.manifest.pools import Halving as HalvingArgs
from fastconv.backends.native import INPUT, OUTPUT, NativePlan, Stage
from fastconv.backends.native.pool.channels_first import ChannelsFirst, fold_of
from fastconv.machine import get_machine
from fastconv.problem import PoolProblem

# Columns of a window, and the most rows.
TAPS, MOST_ROWS = (2, 3), 4
# Bytes of the image that a work item reads; it may have to read them again.
ITEM_BYTES = 16 << 10


class Halving(ChannelsFirst):
    """Max, average and Lp pools of one or two dimensions, without padding."""

    name = "halving"

    def why_not(self, problem: PoolProblem) -> str | None:
        if problem.n > 2 or problem.stride[-1] != 2 or problem.kernel_size[-1] not in TAPS:
            return "this kernel is for windows two or three columns wide, two columns apart"
        if prod(problem.kernel_size[:-1]) > MOST_ROWS or max(problem.dilation) > 1:
            return f"this kernel is for windows of up to {MOST_ROWS} rows, without dilation"
        reach = [(o - 1) * s + k for o, s, k in zip(*_sizes(problem), strict=True)]
        inside = all(r <= size for r, size in zip(reach, problem.input_size, strict=True))
        if not inside or any(sum(pair) for pair in problem.padding):
            return "windows reach outside the image"
        return super().why_not(problem)

    def error_bound(self, problem: PoolProblem) -> float:
        if problem.kind == "max":
            return 0.0
        return (prod(problem.kernel_size) + 1) * float(np.finfo(problem.dtype).eps)

    def plan(self, problem: PoolProblem, *parameters: Array | None) -> NativePlan:
        kind = fold_of(problem)
        assert kind is not None
        (height, width), (out_height, out_width) = (
            (1, *size)[-2:] for size in (problem.input_size, problem.output_size)
        )
        (tall, taps), (stride, _) = (
            (1, *size)[-2:] for size in (problem.kernel_size, problem.stride)
        )
        planes = problem.batch * problem.channels
        item_rows = max(1, ITEM_BYTES // (stride * width * problem.dtype.itemsize))
        divisor = float(problem.divisor_override or prod(problem.kernel_size))
        exact = abs(frexp(divisor)[0]) == 0.5
        arguments = HalvingArgs(
            source=INPUT(0), out=OUTPUT, planes=planes, height=height, width=width,
            out_height=out_height, out_width=out_width, tall=tall, row_stride=stride, taps=taps,
            item_rows=item_rows, divisor=divisor, exact=int(exact),
        )  # fmt: skip
        tile = self.library.tile(problem.dtype, get_machine())
        # A window's columns are shuffled out of as many vectors.
        tile = dataclasses.replace(tile, rows=1, vectors=taps)
        address = self.library.kernel("pool.halving", tile, kind)
        items = -(-planes * out_height // item_rows)
        seconds = self.cost(problem, get_machine()).seconds
        return NativePlan(problem, [Stage(address, items, arguments)], seconds=seconds)


def _sizes(problem: PoolProblem) -> tuple[tuple[int, ...], ...]:
    return problem.output_size, problem.stride, problem.kernel_size
