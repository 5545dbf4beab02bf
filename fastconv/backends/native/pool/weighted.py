"""Weighted averages, tap by tap."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array, Cost, roofline
from fastconv.backends.manifest.pools import Weighted as WeightedArgs
from fastconv.backends.native import NativePlan, Stage, constant
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.pool.block import shared_fields
from fastconv.backends.native.pool.geometry import Geometry
from fastconv.backends.native.pool.weights import counted_kinds, counted_sums, weights_of
from fastconv.machine import Machine
from fastconv.problem import PoolProblem


class Weighted(NativeAlgorithm):
    """Weighted averages."""

    name = "weighted"

    def why_not(self, problem: PoolProblem) -> str | None:
        if problem.kind != "weighted":
            return "the pool has no weights"
        return super().why_not(problem)

    def cost(self, problem: PoolProblem, machine: Machine) -> Cost:
        flops = 2 * prod(problem.output_shape) * prod(problem.kernel_size)
        return Cost(roofline(problem, machine, flops=flops, bytes=problem.bytes))

    def error_bound(self, problem: PoolProblem) -> float:
        return prod(problem.kernel_size) * float(np.finfo(problem.dtype).eps)

    def plan(self, problem: PoolProblem, *parameters: Array | None) -> NativePlan:
        (given,) = parameters
        weights = weights_of(problem, given)
        geometry = Geometry.of(problem)
        kinds = [counted_kinds(w) for w in geometry.windows]
        sums = counted_sums(weights, [k for k, _ in kinds])
        counts: dict[str, Any] = {}
        for axis, (found, of_place) in zip("dhw", kinds, strict=True):
            counts[f"{axis}_kinds"] = len(found)
            counts[f"{axis}_kind"] = constant(of_place, np.int64)
        arguments = WeightedArgs(
            **shared_fields(problem, geometry, 0), weights=constant(weights, problem.dtype),
            kernel_height=weights.shape[1], sums=constant(sums, problem.dtype), **counts,
        )  # fmt: skip
        address = self.library.kernel("pool.weighted", problem.dtype.name)
        return self.native_plan(problem, [Stage(address, geometry.items, arguments)])
