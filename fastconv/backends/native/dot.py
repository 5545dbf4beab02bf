"""Rows times columns of weights that are read as they are given: nothing is packed.

Lanes run across the elements of a sum, which are contiguous in rows and weights alike: a fully
connected layer, or a convolution whose one window is the whole image. A call reads each weight
once, where packing alone would read and write it first.
"""

from __future__ import annotations

from math import prod
from typing import Any

from fastconv.backends.base import Cost
from fastconv.backends.manifest.products import Dot
from fastconv.backends.native.conv.common import NativeConv
from fastconv.backends.native.gemm import clamp, fused
from fastconv.backends.native.items import LEAST_ITEMS
from fastconv.backends.native.plan import INPUT, OUTPUT, Given, NativePlan, Packed, Stage
from fastconv.machine import Machine
from fastconv.problem import ConvProblem, LinearProblem

# Rows of a work item, and bytes of the weights that it keeps in the second cache for them.
ROWS_OF_ITEM = 64
WEIGHT_BYTES = 128 << 10
# How much longer a sum's steps take than those of packed weights: loads, and bringing lanes
# together, which takes as long as so many elements.
STEP_COST = 1.3
ENDING_ELEMENTS = 32
# Shorter sums are mostly endings: packing little takes little, and serves all rows of a call.
LEAST_LENGTH = 128


class _Dot(NativeConv):
    """Dot products of rows and columns."""

    name = "dot"

    def cost(self, problem: Any, machine: Machine) -> Cost:
        length, columns, groups = self._sizes(problem)
        sums = problem.batch * columns * groups
        flops = 2 * sums * (STEP_COST * length + ENDING_ELEMENTS)
        seconds = flops / machine.peak_flops(problem.dtype)
        return Cost(seconds + 1.1 * problem.bytes / machine.memory_bandwidth)

    def geometry(self, problem: Any) -> NativePlan:
        length, columns, groups = self._sizes(problem)
        size = problem.dtype.itemsize
        block = max(8, min(WEIGHT_BYTES // (length * size), -(-columns // LEAST_ITEMS)) // 8 * 8)
        activation = problem.activation if fused(problem.activation) else None
        arguments = Dot(
            a=INPUT(0), a_row=groups * length * size, a_group=length * size, b=Packed(Given(0)),
            bias=Packed(Given(1)), out=OUTPUT, out_row=groups * columns * size,
            residual=INPUT(1) if _has_residual(problem) else 0, **clamp(activation),
            rows=problem.batch, length=length, columns=columns, row_block=ROWS_OF_ITEM,
            column_block=block,
        )  # fmt: skip
        items = groups * -(-columns // block) * -(-problem.batch // ROWS_OF_ITEM)
        kernel = self.library.kernel("dot", problem.dtype.name)
        return self.native_plan(problem, [Stage(kernel, items, arguments)])

    def why_not(self, problem: Any) -> str | None:
        length, *_ = self._sizes(problem)
        if length < LEAST_LENGTH:
            return f"sums of {length}: lanes across them are for {LEAST_LENGTH} products or more"
        return super().why_not(problem)

    def _sizes(self, problem: Any) -> tuple[int, int, int]:
        """Return the elements of a sum, the columns of a group, and the groups."""
        raise NotImplementedError


def _has_residual(problem: Any) -> bool:
    return isinstance(problem, ConvProblem) and problem.residual


class DotLinear(_Dot):
    """A fully connected layer."""

    def _sizes(self, problem: LinearProblem) -> tuple[int, int, int]:
        return problem.in_features, problem.out_features, 1


class DotConv(_Dot):
    """A convolution of one window: the whole image."""

    def why_not(self, problem: ConvProblem) -> str | None:
        pointwise = prod(problem.kernel_size) == 1
        whole = problem.kernel_size == problem.input_size and not any(map(any, problem.padding))
        if not whole or prod(problem.output_size) != 1:
            return "windows: this kernel is for one, the whole image"
        if problem.channels_last and not pointwise:
            return "channels last: this kernel is for channels first"
        return super().why_not(problem)

    def _sizes(self, problem: ConvProblem) -> tuple[int, int, int]:
        return problem.sum_length, problem.out_channels // problem.groups, problem.groups
