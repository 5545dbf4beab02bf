"""Transposed depthwise convolution of channels-last images: four channels of an output a thread.

Each output looks for the taps that reach it, in their order: nothing is added to memory twice.
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
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.carry import in_floats
from fastconv.backends.cuda.conv.epilogue import epilogue
from fastconv.backends.cuda.engine.cells import DTYPES, as_floats
from fastconv.backends.cuda.engine.intrinsics import load4, multiply_add4, put4, take4
from fastconv.backends.cuda.engine.kernel import Body, Float32, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, Argument, CudaPlan, Launch
from fastconv.backends.cuda.transpose import channels_last
from fastconv.backends.native.conv.geometry import lead
from fastconv.backends.native.plan import INPUT, constant
from fastconv.machine import Machine
from fastconv.problem import ConvTransposeProblem

_THREADS = 256


@kernel
def depthwise_transposed(problem: ConvTransposeProblem) -> tuple[Body, int]:
    """Gather each output's cells."""
    IN_D, IN_H, IN_W = lead(problem.input_size, 1)
    OUT_D, OUT_H, OUT_W = lead(problem.output_size, 1)
    STRIDE_D, STRIDE_H, STRIDE_W = lead(problem.stride, 1)
    TAPS_D, TAPS_H, TAPS_W = lead(problem.kernel_size, 1)
    DILATION_D, DILATION_H, DILATION_W = lead(problem.dilation, 1)
    BEFORE_D, BEFORE_H, BEFORE_W = lead(tuple(before for before, _ in problem.padding), 0)
    CHANNELS, QUADS, THREADS = problem.in_channels, problem.in_channels // 4, _THREADS
    ITEMS = prod(problem.output_shape) // 4
    finish = epilogue(problem.bias, problem.residual, problem.activation, True)

    def body(x: Float32, weight: Float32, offsets: Float32, other: Float32, y: Float32) -> None:
        item = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
        if item < i64(ITEMS):
            channel = i32(item % i64(QUADS)) * i32(4)
            rest = item // i64(QUADS)
            w = i32(rest % i64(OUT_W)) + i32(BEFORE_W)
            rest = rest // i64(OUT_W)
            h = i32(rest % i64(OUT_H)) + i32(BEFORE_H)
            rest = rest // i64(OUT_H)
            d = i32(rest % i64(OUT_D)) + i32(BEFORE_D)
            image = rest // i64(OUT_D)
            sums = cuda.local.array(4, f32)
            put4(sums, 0, (f32(0), f32(0), f32(0), f32(0)))
            for i in range(TAPS_D):
                # How far the tap's cell is from the first, in outputs; only whole strides count.
                far = d - i32(i) * i32(DILATION_D)
                z = far // i32(STRIDE_D)
                if (z * i32(STRIDE_D) == far) & (u32(z) < u32(IN_D)):
                    for j in range(TAPS_H):
                        far = h - i32(j) * i32(DILATION_H)
                        v = far // i32(STRIDE_H)
                        if (v * i32(STRIDE_H) == far) & (u32(v) < u32(IN_H)):
                            line = ((image * i64(IN_D) + i64(z)) * i64(IN_H) + i64(v)) * i64(IN_W)
                            for k in range(TAPS_W):
                                far = w - i32(k) * i32(DILATION_W)
                                u = far // i32(STRIDE_W)
                                if (u * i32(STRIDE_W) == far) & (u32(u) < u32(IN_W)):
                                    cell = (line + i64(u)) * i64(CHANNELS) + i64(channel)
                                    tap = (i32(i) * i32(TAPS_H) + i32(j)) * i32(TAPS_W) + i32(k)
                                    own = i64(tap) * i64(CHANNELS) + i64(channel)
                                    multiply_add4(sums, 0, load4(x, cell), load4(weight, own))
            finish(take4(sums, 0), offsets, other, y, channel, item * i64(4), i32(4))

    return body, THREADS


class DepthwiseTransposed(CudaAlgorithm):
    """One channel a group, in fours."""

    name = "depthwise"
    moves_parameters = True
    dtypes = DTYPES

    def why_not(self, problem: ConvTransposeProblem) -> str | None:
        if problem.groups != problem.in_channels or problem.out_channels != problem.in_channels:
            return "not one channel in and one out a group"
        if problem.in_channels % 4:
            return "channels that do not come in fours"
        return super().why_not(problem)

    def cost(self, problem: ConvTransposeProblem, machine: Machine) -> Cost:
        # A GEMM would fill a tile's columns with zeros.
        return Cost(super().cost(problem, machine).seconds / 2)

    def error_bound(self, problem: ConvTransposeProblem) -> float:
        return problem.sum_length * float(np.finfo(np.float32).eps)

    def launches(self, problem: ConvTransposeProblem, *parameters: Array | None) -> CudaPlan:
        weight, bias = (None if p is None else as_floats(p, problem.dtype) for p in parameters)
        assert weight is not None

        def inner(wide: ConvTransposeProblem) -> CudaPlan:
            return channels_last(wide, lambda turned: plan_depthwise(turned, weight, bias))

        return in_floats(problem, inner)


def plan_depthwise(problem: ConvTransposeProblem, weight: Array, bias: Array | None) -> CudaPlan:
    """Plan a transposed depthwise convolution of channels-last images."""
    packed = np.ascontiguousarray(weight.reshape(problem.in_channels, -1).T)
    arguments: list[Argument] = [
        INPUT(0), constant(packed), None if bias is None else constant(bias),
        INPUT(1) if problem.residual else None, OUTPUT,
    ]  # fmt: skip
    blocks = -(-prod(problem.output_shape) // (4 * _THREADS))
    return CudaPlan([Launch(depthwise_transposed(problem), (blocks, 1, 1), arguments)])
