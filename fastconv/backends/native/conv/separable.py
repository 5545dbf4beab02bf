"""Filters that are outer products: down the columns, then along the rows."""

from __future__ import annotations

import dataclasses

import numpy as np

from fastconv.backends.base import Cost, Work
from fastconv.backends.manifest.products import FilterLines
from fastconv.backends.native.arena import rounded
from fastconv.backends.native.bounds import SUM_SIGMAS, sum_bound
from fastconv.backends.native.conv.common import PlaneByPlane, unit
from fastconv.backends.native.conv.depthwise_planar import DepthwisePlanar
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    WORKSPACE,
    AnyWeights,
    Argument,
    NativePlan,
    Packed,
    Slot,
    Stage,
    Weights,
    moved,
    scratch_stride,
    with_arguments,
)
from fastconv.backends.native.sources import Source
from fastconv.backends.native.weights import packing_seconds
from fastconv.machine import Machine, get_machine
from fastconv.problem import ConvProblem

# The parameter that is the bias.
BIAS = 1
# Of a filter's element for its lines: the look for the largest, five products, in float64.
LINE_SECONDS = 7e-9


class Separable(PlaneByPlane):
    """Two filters of one dimension each, for planes; kH + kW multiplications instead of kH kW."""

    name = "separable"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self._lines = DepthwisePlanar(library)

    def why_not(self, problem: ConvProblem) -> str | None:
        if problem.n != 2:
            return f"{problem.n} dimensions: this kernel is for two"
        refused = super().why_not(problem)
        if refused is None and not problem.separable:
            return "the filters are not known to be outer products"
        return refused

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        passes = down_then_across(problem)
        seconds = sum(self._lines.cost(p, machine).seconds for p in passes)
        taps = problem.out_channels * int(np.prod(problem.kernel_size))
        packing = taps * LINE_SECONDS + packing_seconds(problem, machine)
        return Cost(seconds, _between(passes[1]), packing)

    def work(self, problem: ConvProblem, machine: Machine) -> Work:
        down, across = (self._lines.work(p, machine) for p in down_then_across(problem))
        return Work(down.flops + across.flops, down.bytes + across.bytes, down.dtype)

    def error_bound(self, problem: ConvProblem) -> float:
        """Bound both passes' sums, and the distance of the weights from an outer product."""
        u = unit(problem.dtype)
        return sum(sum_bound(k, u) for k in problem.kernel_size) + SUM_SIGMAS * u

    def geometry(self, problem: ConvProblem) -> NativePlan:
        first, second = down_then_across(problem)
        down, across = self._lines.geometry(first), self._lines.geometry(second)
        # Whose weights these are: the others are biases.
        (columns,), (rows,) = (
            [w for w in p.weights if isinstance(w, Weights) and 0 in w.reads]
            for p in (down, across)
        )
        weights, second_at = packed_lines(self.library, problem, columns, rows)
        down = down.with_weights({columns: Packed(weights), **_without_bias(down)})
        across = across.with_weights({rows: Packed(weights, second_at)})
        stages = [
            *moved(down.stages, {OUTPUT.buffer: WORKSPACE}),
            *moved(across.stages, {INPUT(0).buffer: WORKSPACE}),
        ]
        # Not `native_plan`: the second pass has the activation already.
        cost = self.cost(problem, get_machine())
        return NativePlan(
            problem,
            stages,
            workspace_bytes=_between(second),
            scratch_bytes=max(down.scratch_bytes, across.scratch_bytes),
            seconds=cost.seconds,
            packing_seconds=cost.packing_seconds,
        )


def packed_lines(
    library: Library, problem: ConvProblem, columns: Weights, rows: Weights
) -> tuple[Weights, int]:
    """Return weights of both passes, and where in them the second's are; the lines are behind.

    The lines are the filters' columns and rows, whose products these are: (out, kH) and (out, kW).
    They are found by power iteration from the row of the largest element: the second singular
    value is a rounding, so that two steps find the first.
    """
    down, across = problem.kernel_size
    size, count = problem.dtype.itemsize, problem.out_channels
    second = rounded(columns.nbytes)
    first_lines = second + rounded(rows.nbytes)
    second_lines = first_lines + rounded(count * down * size)
    end = second_lines + count * across * size
    own = (down + across) * 8
    scratch = max(own, columns.scratch_bytes, rows.scratch_bytes)
    stages = [
        *moved(columns.stages, {0: OUTPUT + first_lines}),
        *moved(rows.stages, {0: OUTPUT + second_lines, OUTPUT.buffer: OUTPUT + second}),
    ]

    def packing(apart: int, down_apart: int, across_apart: int) -> tuple[Stage, ...]:
        arguments = FilterLines(
            source=INPUT(0), columns=OUTPUT + first_lines, rows=OUTPUT + second_lines,
            apart=apart, down=down, across=across, down_apart=down_apart,
            across_apart=across_apart, scratch_base=SCRATCH, scratch_stride=scratch_stride(own),
        )  # fmt: skip
        kernel = library.kernel("weights.lines", problem.dtype.name)
        return Stage(kernel, count, arguments), *stages

    def placed(source: Source) -> Weights | None:
        if source.dtype != problem.dtype.name:
            return None
        apart, _, *steps = source.strides
        return Weights(end, packing(apart, *steps), scratch)

    contiguous = packing(down * across * size, across * size, size)
    return Weights(end, contiguous, scratch, placed), second


def _without_bias(plan: NativePlan) -> dict[AnyWeights, Packed]:
    """Return the biases of a plan, whatever a call gives, packed as those that are not given."""

    def missing(argument: Argument) -> Argument:
        return 0 if isinstance(argument, Slot) and argument.buffer == BIAS else argument

    return {
        w: Packed(Weights(w.nbytes, tuple(with_arguments(w.stages, missing)), w.scratch_bytes))
        for w in plan.weights
        if isinstance(w, Weights) and BIAS in w.reads
    }


def down_then_across(problem: ConvProblem) -> tuple[ConvProblem, ConvProblem]:
    """Return the problems of the two passes; the second has the epilogue."""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = (
        problem.kernel_size, problem.stride, problem.padding, problem.dilation
    )  # fmt: skip
    first = dataclasses.replace(
        problem, kernel_size=(kh, 1), stride=(sh, 1), padding=(ph, (0, 0)), dilation=(dh, 1),
        bias=False, residual=False, activation=None, separable=False,
    )  # fmt: skip
    second = dataclasses.replace(
        problem, in_channels=problem.out_channels, groups=problem.out_channels,
        input_size=first.output_size, kernel_size=(1, kw), stride=(1, sw), padding=((0, 0), pw),
        dilation=(1, dw), separable=False,
    )  # fmt: skip
    return first, second


def _between(second: ConvProblem) -> int:
    """Bytes between the passes."""
    shape = second.input_shape
    return int(np.prod(shape)) * second.dtype.itemsize
