"""Depthwise convolution, channels last: four channels of four neighbouring outputs a thread.

A column of the image is loaded once for all outputs whose windows hold it.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numba import cuda
from numba import float32 as f32
from numba import int32 as i32
from numba import int64 as i64
from numba import uint32 as u32

from fastconv.backends.base import Array, Cost
from fastconv.backends.cuda.activation import scalar
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.conv.direct import geometry_of
from fastconv.backends.cuda.conv.implicit_gemm import Geometry
from fastconv.backends.cuda.conv.padded import padded_first
from fastconv.backends.cuda.engine.cells import DTYPES, Cell, access, of_cells
from fastconv.backends.cuda.engine.intrinsics import (
    add4,
    fill,
    map4,
    multiply_add4,
    put4,
    take4,
)
from fastconv.backends.cuda.engine.kernel import Body, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, Argument, CudaPlan, Launch
from fastconv.backends.cuda.engine.source import unroll
from fastconv.backends.cuda.transpose import channels_last
from fastconv.backends.native.conv.geometry import lead
from fastconv.backends.native.plan import INPUT, constant
from fastconv.machine import Machine
from fastconv.problem import ConvProblem
from fastconv.problem.activation import Activation

_THREADS = 256
# Outputs side by side that a thread computes.
ACROSS = 4
# Taps of a line whose weights a thread holds in registers.
MOST_TAPS = 7


class Depthwise(CudaAlgorithm):
    """One channel a group, in fours."""

    name = "depthwise"
    moves_parameters = True
    dtypes = DTYPES

    def why_not(self, problem: ConvProblem) -> str | None:
        if problem.groups != problem.in_channels or problem.out_channels != problem.in_channels:
            return "not one channel in and one out a group"
        if problem.in_channels % 4:
            return "channels that do not come in fours"
        if problem.kernel_size[-1] > MOST_TAPS:
            return f"lines of more than {MOST_TAPS} taps"
        return super().why_not(problem)

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        # A GEMM would fill a tile's columns with zeros.
        return Cost(super().cost(problem, machine).seconds / 2)

    def error_bound(self, problem: ConvProblem) -> float:
        return problem.sum_length * float(np.finfo(np.float32).eps)

    def launches(self, problem: ConvProblem, *parameters: Array | None) -> CudaPlan:
        weight, bias = parameters
        assert weight is not None

        def inner(zeros: ConvProblem) -> CudaPlan:
            return plan_depthwise(zeros, weight, bias)

        return channels_last(problem, lambda turned: padded_first(turned, inner))


@kernel
def depthwise(
    geometry: Geometry,
    kernel_size: tuple[int, int, int],
    dilation: tuple[int, int, int],
    bias: bool,
    residual: bool,
    activation: Activation | None,
    dtype: str = "float32",
) -> tuple[Body, int]:
    """Convolve each channel by itself; sums are float32."""
    load4, load4_where, store4 = (
        getattr(access(dtype), name) for name in ("load4", "load4_where", "store4")
    )
    IN_D, IN_H, IN_W = geometry.input_size
    OUT_D, OUT_H, OUT_W = geometry.output_size
    STRIDE_D, STRIDE_H, STRIDE_W = geometry.stride
    BEFORE_D, BEFORE_H, BEFORE_W = geometry.before
    TAPS_D, TAPS_H, TAPS_W = kernel_size
    DILATION_D, DILATION_H, DILATION_W = dilation
    CHANNELS, QUADS = geometry.in_channels, geometry.in_channels // 4
    RUNS = -(-OUT_W // ACROSS)
    COLUMNS = (ACROSS - 1) * STRIDE_W + (TAPS_W - 1) * DILATION_W + 1
    ITEMS = geometry.batch * OUT_D * OUT_H * RUNS * QUADS
    SUMS, WEIGHTS, THREADS = 4 * ACROSS, 4 * TAPS_W, _THREADS
    BIAS, RESIDUAL, ACTIVATION = bias, residual, activation is not None
    activate = map4(scalar(activation))

    def body(x: Cell, weight: Cell, offsets: Cell, other: Cell, y: Cell) -> None:
        item = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
        if item < i64(ITEMS):
            channel = i32(item % i64(QUADS)) * i32(4)
            rest = item // i64(QUADS)
            first = i32(rest % i64(RUNS)) * i32(ACROSS)
            rest = rest // i64(RUNS)
            row = i32(rest % i64(OUT_H))
            planes = rest // i64(OUT_H)
            d0 = i32(planes % i64(OUT_D)) * i32(STRIDE_D) - i32(BEFORE_D)
            h0 = row * i32(STRIDE_H) - i32(BEFORE_H)
            w0 = first * i32(STRIDE_W) - i32(BEFORE_W)
            image = planes // i64(OUT_D)
            sums = cuda.local.array(SUMS, f32)
            taps = cuda.local.array(WEIGHTS, f32)
            fill(sums, 16, f32(0))
            for i in range(TAPS_D):
                d = d0 + i32(i) * i32(DILATION_D)
                for j in range(TAPS_H):
                    h = h0 + i32(j) * i32(DILATION_H)
                    if (u32(d) < u32(IN_D)) & (u32(h) < u32(IN_H)):
                        own = (i32(i) * i32(TAPS_H) + i32(j)) * i32(TAPS_W)
                        for k in unroll(TAPS_W):
                            place = i64(own + i32(k)) * i64(CHANNELS) + i64(channel)
                            put4(taps, 4 * k, load4(weight, place))
                        line = ((image * i64(IN_D) + i64(d)) * i64(IN_H) + i64(h)) * i64(IN_W)
                        for column in unroll(COLUMNS):
                            w = w0 + i32(column)
                            cell = (line + i64(w)) * i64(CHANNELS) + i64(channel)
                            four = load4_where(x, cell, u32(w) < u32(IN_W))
                            for k in unroll(TAPS_W):
                                for o in unroll(ACROSS):
                                    if o * STRIDE_W + k * DILATION_W == column:
                                        multiply_add4(sums, 4 * o, four, take4(taps, 4 * k))
            outputs = (planes * i64(OUT_H) + i64(row)) * i64(OUT_W)
            for o in unroll(ACROSS):
                w = first + i32(o)
                if w < i32(OUT_W):
                    place = (outputs + i64(w)) * i64(CHANNELS) + i64(channel)
                    four = take4(sums, 4 * o)
                    if BIAS:
                        four = add4(four, load4(offsets, channel))
                    if RESIDUAL:
                        four = add4(four, load4(other, place))
                    if ACTIVATION:
                        four = activate(four)
                    store4(y, place, four)

    return of_cells(body, dtype), THREADS


def plan_depthwise(problem: ConvProblem, weight: Array, bias: Array | None) -> CudaPlan:
    """Plan a depthwise convolution of channels-last images."""
    geometry = geometry_of(problem)
    kern = depthwise(
        geometry, lead(problem.kernel_size, 1), lead(problem.dilation, 1), bias is not None,
        problem.residual, problem.activation, problem.dtype.name,
    )  # fmt: skip
    packed = np.ascontiguousarray(weight.reshape(problem.out_channels, -1).T)
    items = (
        problem.batch * prod(problem.output_size[:-1]) * -(-problem.output_size[-1] // ACROSS)
        * (problem.in_channels // 4)
    )  # fmt: skip
    arguments: list[Argument] = [
        INPUT(0), constant(packed), None if bias is None else constant(bias),
        INPUT(1) if problem.residual else None, OUTPUT,
    ]  # fmt: skip
    return CudaPlan([Launch(kern, (-(-items // _THREADS), 1, 1), arguments)])
