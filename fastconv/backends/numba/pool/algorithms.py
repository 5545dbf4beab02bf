"""The pools' algorithms: which kernel for which problem, and what it costs."""

from __future__ import annotations

from math import isinf, prod
from typing import Any

import numpy as np

from fastconv.backends.base import Algorithm, Array, Cost, Plan, roofline
from fastconv.backends.native.pool.cuts import AnyPoolProblem
from fastconv.backends.numba.engine import NativePlan, Stage
from fastconv.backends.numba.pool.geometry import Geometry
from fastconv.backends.numba.pool.indices import indices_stage
from fastconv.backends.numba.pool.separable import separable_stage
from fastconv.backends.numba.pool.unpool import UnpoolPlan
from fastconv.backends.numba.pool.weighted import weighted_stage
from fastconv.machine import Machine, get_machine
from fastconv.problem import MaxUnpoolProblem, PoolProblem
from fastconv.problem.values import INTEGERS

FLOATS = ("float32", "float64")
# Operations that a power, or a root, by the library's general function counts for.
POWER_FLOPS = 40


class Separable(Algorithm):
    """Max, average and Lp pools: rows first, then columns."""

    name = "separable"
    backend = "numba"

    def why_not(self, problem: AnyPoolProblem) -> str | None:
        """Say what is not served: weights, and what NumPy alone can compute with."""
        if problem.kind == "weighted":
            return "weights need not be separable"
        return _why_not_dtype(problem, FLOATS + INTEGERS if problem.kind == "max" else FLOATS)

    def cost(self, problem: AnyPoolProblem, machine: Machine) -> Cost:
        """Count one operation a cell for each row that sees it, and one an output and column."""
        geometry = Geometry.of(problem)
        rows = prod(_mean_cells(geometry, i) * geometry.output[i] for i in (0, 1))
        columns = prod(geometry.output) * _mean_cells(geometry, 2)
        flops = (rows * geometry.size[2] + columns) * geometry.lanes * geometry.images
        if problem.kind == "lp":
            flops *= POWER_FLOPS
        return Cost(roofline(problem, machine, flops=flops, bytes=problem.bytes))

    def error_bound(self, problem: AnyPoolProblem) -> float:
        """Bound by the longest chain of additions; max pools are exact."""
        if problem.kind == "max":
            return 0.0
        steps = sum(int((w.stop - w.start).max()) for w in Geometry.of(problem).windows)
        eps = float(np.finfo(problem.dtype).eps)
        return eps if problem.kind == "lp" else steps * eps

    def plan(self, problem: AnyPoolProblem, *parameters: Array | None) -> Plan:
        """Bind the kernel that the problem's kind wants."""
        geometry = Geometry.of(problem)
        if problem.return_indices:
            stage, scratch = indices_stage(problem, geometry)
        else:
            largest = problem.kind == "lp" and isinf(problem.norm_type or 0.0)
            stage, scratch = separable_stage(
                problem, geometry, "largest" if largest else problem.kind
            )
        return _native(self, problem, stage, scratch)


class Weighted(Algorithm):
    """Weighted averages, tap by tap."""

    name = "weighted"
    backend = "numba"

    def why_not(self, problem: PoolProblem) -> str | None:
        """Say what is not served: pools without weights, and floats of 16 bits."""
        if problem.kind != "weighted":
            return "the pool has no weights"
        return _why_not_dtype(problem, FLOATS)

    def cost(self, problem: PoolProblem, machine: Machine) -> Cost:
        """Count a multiplication and an addition a tap."""
        flops = 2 * prod(problem.output_shape) * prod(problem.kernel_size)
        return Cost(roofline(problem, machine, flops=flops, bytes=problem.bytes))

    def error_bound(self, problem: PoolProblem) -> float:
        """Bound by the number of taps."""
        return prod(problem.kernel_size) * float(np.finfo(problem.dtype).eps)

    def plan(self, problem: PoolProblem, *parameters: Array | None) -> Plan:
        """Scale the weights to sum to 1, and bind the kernel."""
        (given,) = parameters
        stage, scratch = weighted_stage(problem, Geometry.of(problem), given)
        return _native(self, problem, stage, scratch)


class Scatter(Algorithm):
    """Max unpooling."""

    name = "scatter"
    backend = "numba"

    def why_not(self, problem: MaxUnpoolProblem) -> str | None:
        """Serve everything: values are moved as bits."""
        return None

    def cost(self, problem: MaxUnpoolProblem, machine: Machine) -> Cost:
        """Count the bytes that move."""
        return Cost(roofline(problem, machine, flops=0, bytes=problem.bytes))

    def plan(self, problem: MaxUnpoolProblem, *parameters: Array | None) -> Plan:
        """Bind the kernel."""
        return UnpoolPlan(problem, seconds=self.cost(problem, get_machine()).seconds)


def _native(algorithm: Algorithm, problem: Any, stage: Stage, scratch: int) -> NativePlan:
    return NativePlan(
        problem,
        [stage],
        scratch_bytes=scratch,
        seconds=algorithm.cost(problem, get_machine()).seconds,
        extra_outputs=(problem.output_shapes or [])[1:],
    )


def _why_not_dtype(problem: AnyPoolProblem, served: tuple[str, ...]) -> str | None:
    if problem.dtype.name in served:
        return None
    return f"{problem.dtype.name} is not served; {', '.join(served)} are"


def _mean_cells(geometry: Geometry, dimension: int) -> float:
    windows = geometry.windows[dimension]
    return float(np.mean(-((windows.start - windows.stop) // windows.step)))
