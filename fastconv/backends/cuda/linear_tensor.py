"""The fully connected layer on tensor cores: an implicit GEMM of one tap.

Every row is summed in one order, whatever the other rows.
"""

from __future__ import annotations

from fastconv.backends.base import Array, Cost
from fastconv.backends.cuda.algorithm import BYTES, LAUNCH, CudaAlgorithm
from fastconv.backends.cuda.conv.direct import MOST_CELLS
from fastconv.backends.cuda.conv.implicit_gemm import Geometry
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
from fastconv.backends.cuda.engine.plan import CudaPlan
from fastconv.backends.native.plan import constant
from fastconv.machine import Machine
from fastconv.problem import LinearProblem


class LinearTensor(CudaAlgorithm):
    """Rows times a weight on tensor cores; sums are float32."""

    name = "gemm_tensor"
    moves_parameters = True

    def why_not(self, problem: LinearProblem) -> str | None:
        if 0 in (problem.in_features, *problem.output_shape):
            return "there are no products to sum"
        if max(problem.in_features, problem.out_features) >= MOST_CELLS:
            return f"{MOST_CELLS} features and more"
        return why_not_products(problem)

    def cost(self, problem: LinearProblem, machine: Machine) -> Cost:
        return Cost(LAUNCH + max(problem.flops / rate_of(problem), problem.bytes / BYTES))

    def error_bound(self, problem: LinearProblem) -> float:
        products = products_of(problem)
        assert products is not None
        return bound(products, problem.sum_length)

    def manner(self, problem: LinearProblem) -> str | None:
        return manner_of(problem)

    def launches(self, problem: LinearProblem, *parameters: Array | None) -> CudaPlan:
        weight, bias = parameters
        assert weight is not None
        return plan_linear(problem, weight, bias)


def plan_linear(
    problem: LinearProblem, weight: Array, bias: Array | None, tile: TensorTile | None = None
) -> CudaPlan:
    """Plan a product of rows with a weight."""
    products = products_of(problem)
    assert products is not None
    one = (1, 1, 1)
    geometry = Geometry(
        problem.batch, one, one, one, (0, 0, 0), problem.in_features, problem.out_features, 1, 1,
        (False, False, False),
    )  # fmt: skip
    images = images_of(products, geometry)
    launch = tensor_launch(
        products, geometry, weight[..., None], images,
        bias=None if bias is None else constant(bias), activation=problem.activation, tile=tile,
    )  # fmt: skip
    return plan_of(images, launch)
