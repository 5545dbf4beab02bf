"""Filters that are outer products: down the columns, then along the rows."""

from __future__ import annotations

import dataclasses

import numpy as np

from fastconv.backends.base import Array, Cost, Work
from fastconv.backends.native.bounds import SUM_SIGMAS, sum_bound
from fastconv.backends.native.conv.common import PlaneByPlane, unit
from fastconv.backends.native.conv.depthwise_planar import DepthwisePlanar
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import INPUT, OUTPUT, WORKSPACE, NativePlan, moved
from fastconv.machine import Machine, get_machine
from fastconv.problem import ConvProblem

# The filters' lines, found in NumPy at a call.
PACKING_SECONDS = 200e-6


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
        return Cost(seconds, _between(passes[1]), PACKING_SECONDS)

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
        columns, rows = (
            down.with_parameters(_columns, _no_bias),
            across.with_parameters(_rows, _bias),
        )
        stages = [
            *moved(columns.stages, {OUTPUT.buffer: WORKSPACE}),
            *moved(rows.stages, {INPUT(0).buffer: WORKSPACE}),
        ]
        return NativePlan(
            problem,
            stages,
            workspace_bytes=_between(second),
            scratch_bytes=max(down.scratch_bytes, across.scratch_bytes),
            seconds=self.cost(problem, get_machine()).seconds,
        )


def _lines(weight: Array) -> tuple[Array, Array]:
    """Return the filters' columns and rows, whose products they are.

    By power iteration from the row of the largest element: the second singular value is a
    rounding, so that two steps find the first. Linear algebra libraries have threads of their own.
    """
    filters = weight[:, 0].astype(np.float64)
    largest = np.abs(filters).max(axis=2).argmax(axis=1)
    rows = _of_length_one(filters[np.arange(len(filters)), largest])
    for _ in range(2):
        columns = _of_length_one(np.einsum("oij,oj->oi", filters, rows))
        rows = _of_length_one(np.einsum("oij,oi->oj", filters, columns))
    strength = np.einsum("oi,oij,oj->o", columns, filters, rows)
    # Either line has half of the strength: what the weights' dtype holds, both lines hold.
    half = np.sqrt(np.abs(strength))[:, None]
    columns = (columns * np.copysign(half, strength[:, None])).astype(weight.dtype)
    return columns, (rows * half).astype(weight.dtype)


def _of_length_one(lines: Array) -> Array:
    """Scale lines to length one; those of zeros stay."""
    largest = np.abs(lines).max(axis=1, keepdims=True)
    lines = lines / np.where(largest > 0, largest, 1)
    lengths = np.sqrt((lines**2).sum(axis=1, keepdims=True))
    scaled: Array = lines / np.where(lengths > 0, lengths, 1)
    return scaled


def _columns(weight: Array, bias: Array | None) -> Array:
    return _lines(weight)[0][:, None, :, None]


def _rows(weight: Array, bias: Array | None) -> Array:
    return _lines(weight)[1][:, None, None, :]


def _bias(weight: Array, bias: Array | None) -> Array | None:
    return bias


def _no_bias(weight: Array, bias: Array | None) -> None:
    return None


def down_then_across(problem: ConvProblem) -> tuple[ConvProblem, ConvProblem]:
    """Give the problems of the two passes; the second has the epilogue."""
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
