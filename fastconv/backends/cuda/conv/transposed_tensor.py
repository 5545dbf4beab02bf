"""Transposed convolution on tensor cores: an implicit GEMM an output phase."""

from __future__ import annotations

import dataclasses

from fastconv.backends.base import Array, Cost
from fastconv.backends.cuda.algorithm import BYTES, LAUNCH, CudaAlgorithm
from fastconv.backends.cuda.conv.direct import why_not_outsized
from fastconv.backends.cuda.conv.tensor_gemm import MOST_BITS, PIXEL_BITS
from fastconv.backends.cuda.conv.tensor_plan import (
    bound,
    images_of,
    manner_of,
    plan_of,
    products_of,
    rate_of,
    tensor_launch,
    why_not_products,
)
from fastconv.backends.cuda.conv.tensor_tile import TensorTile
from fastconv.backends.cuda.conv.transposed import Phase, phases_of
from fastconv.backends.cuda.engine.plan import OUTPUT, CudaPlan, Launch
from fastconv.backends.cuda.transpose import channels_last
from fastconv.backends.native.plan import INPUT, constant
from fastconv.machine import Machine
from fastconv.problem import ConvTransposeProblem


class TransposedTensor(CudaAlgorithm):
    """Implicit GEMM on tensor cores, a phase at a time; sums are float32."""

    name = "direct_tensor"
    moves_parameters = True

    def why_not(self, problem: ConvTransposeProblem) -> str | None:
        refused = why_not_products(problem)
        if refused is not None:
            return refused
        if 0 in problem.output_shape:
            return "an empty output"
        if sum(problem.kernel_size) + PIXEL_BITS >= MOST_BITS:
            return f"kernels of {MOST_BITS - PIXEL_BITS} taps or more, lengths added"
        return why_not_outsized(problem)

    def cost(self, problem: ConvTransposeProblem, machine: Machine) -> Cost:
        return Cost(LAUNCH + max(problem.flops / rate_of(problem), problem.bytes / BYTES))

    def error_bound(self, problem: ConvTransposeProblem) -> float:
        products = products_of(problem)
        assert products is not None
        return bound(products, problem.sum_length)

    def manner(self, problem: ConvTransposeProblem) -> str | None:
        return manner_of(problem)

    def launches(self, problem: ConvTransposeProblem, *parameters: Array | None) -> CudaPlan:
        weight, bias = parameters
        assert weight is not None
        return channels_last(problem, lambda turned: plan_transposed(turned, weight, bias))


def plan_transposed(
    problem: ConvTransposeProblem,
    weight: Array,
    bias: Array | None,
    tile: TensorTile | None = None,
) -> CudaPlan:
    """Plan a transposed convolution of channels-last images."""
    products, phases = products_of(problem), phases_of(problem, weight)
    assert products is not None
    images = images_of(products, phases[0].geometry)
    offsets = None if bias is None else constant(bias)

    def launch(phase: Phase) -> Launch:
        kernel_size, dilation, before = zip(*(_window(shifts) for shifts in phase.shifts))
        first = phase.first * problem.dtype.itemsize
        own = phase.weight[..., ::-1]
        return tensor_launch(
            products, dataclasses.replace(phase.geometry, before=before),
            own.reshape(problem.out_channels, *own.shape[2:]), images, kernel_size=kernel_size,
            dilation=dilation, bias=offsets, activation=problem.activation, tile=tile,
            residual=INPUT(1) + first if problem.residual else None, target=OUTPUT + first,
        )  # fmt: skip

    return plan_of(images, *map(launch, phases))


def _window(shifts: Array) -> tuple[int, int, int]:
    """Return the taps of a window, the cells between them, and those before its place."""
    if len(shifts) == 0:
        return 0, 1, 0
    apart = int(shifts[0] - shifts[1]) if len(shifts) > 1 else 1
    return len(shifts), apart, -int(shifts[-1])
