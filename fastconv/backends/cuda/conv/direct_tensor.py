"""Direct convolution on tensor cores: float16, bfloat16, and float32 where rounding is allowed."""

from __future__ import annotations

from math import prod

from fastconv.backends.base import Array, Cost
from fastconv.backends.cuda.algorithm import BYTES, CROWD, LAUNCH, CudaAlgorithm
from fastconv.backends.cuda.conv.direct import geometry_of, why_not_outsized
from fastconv.backends.cuda.conv.padded import padded_first
from fastconv.backends.cuda.conv.tensor_gemm import MOST_BITS, tap_bits
from fastconv.backends.cuda.conv.tensor_plan import (
    bound,
    filled_inputs,
    images_of,
    manner_of,
    plan_of,
    products_of,
    rate_of,
    tensor_launch,
    why_not_products,
)
from fastconv.backends.cuda.conv.tensor_tile import TensorTile
from fastconv.backends.cuda.engine.plan import CudaPlan
from fastconv.backends.cuda.transpose import channels_last
from fastconv.backends.native.conv.geometry import lead
from fastconv.backends.native.plan import INPUT, constant
from fastconv.machine import Machine
from fastconv.problem import ConvProblem


class DirectTensor(CudaAlgorithm):
    """Implicit GEMM on tensor cores, channels last inside; sums are float32."""

    name = "direct_tensor"
    moves_parameters = True

    def why_not(self, problem: ConvProblem) -> str | None:
        refused = why_not_products(problem)
        if refused is not None:
            return refused
        if 0 in problem.output_shape:
            return "an empty output"
        if tap_bits(geometry_of(problem), lead(problem.kernel_size, 1))[3] >= MOST_BITS:
            return f"windows leave images, and have {MOST_BITS - 1} taps or more, lengths added"
        return why_not_outsized(problem)

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        products = products_of(problem)
        assert products is not None
        geometry = geometry_of(problem)
        more = filled_inputs(geometry, products) / geometry.group_inputs
        seconds = max(problem.flops * more / rate_of(problem), problem.bytes / BYTES)
        if more > 1:
            # Images are read and written once more.
            image = prod(problem.input_shape) * problem.dtype.itemsize
            seconds += LAUNCH / CROWD + image * (1 + more) / BYTES
        return Cost(LAUNCH + seconds)

    def error_bound(self, problem: ConvProblem) -> float:
        products = products_of(problem)
        assert products is not None
        return bound(products, problem.sum_length)

    def manner(self, problem: ConvProblem) -> str | None:
        return manner_of(problem)

    def launches(self, problem: ConvProblem, *parameters: Array | None) -> CudaPlan:
        weight, bias = parameters
        assert weight is not None

        def inner(zeros: ConvProblem) -> CudaPlan:
            return plan_tensor(zeros, weight, bias)

        return channels_last(problem, lambda turned: padded_first(turned, inner))


def plan_tensor(
    problem: ConvProblem, weight: Array, bias: Array | None, tile: TensorTile | None = None
) -> CudaPlan:
    """Plan a convolution of channels-last images."""
    products, geometry = products_of(problem), geometry_of(problem)
    assert products is not None
    images = images_of(products, geometry)
    launch = tensor_launch(
        products, geometry, weight.reshape(*weight.shape[:2], geometry.taps), images,
        kernel_size=lead(problem.kernel_size, 1), dilation=lead(problem.dilation, 1),
        bias=None if bias is None else constant(bias),
        residual=INPUT(1) if problem.residual else None, activation=problem.activation, tile=tile,
    )  # fmt: skip
    return plan_of(images, launch)
