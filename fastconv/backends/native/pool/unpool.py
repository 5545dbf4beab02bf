"""Max unpooling: planes of zeros, then values where their indices say."""

from __future__ import annotations

from math import prod
from typing import Any

from fastconv.backends.base import Array, Arrays, Cost, roofline
from fastconv.backends.manifest.pools import Unpool
from fastconv.backends.native import INPUT, OUTPUT, NativePlan, Stage
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.machine import Machine, get_machine
from fastconv.problem import MaxUnpoolProblem


class Scatter(NativeAlgorithm):
    """Max unpooling."""

    name = "scatter"

    def why_not(self, problem: MaxUnpoolProblem) -> str | None:
        # Values are moved as bits.
        return None

    def cost(self, problem: MaxUnpoolProblem, machine: Machine) -> Cost:
        return Cost(roofline(problem, machine, flops=0, bytes=problem.bytes))

    def plan(self, problem: MaxUnpoolProblem, *parameters: Array | None) -> NativePlan:
        lanes = problem.channels if problem.channels_last else 1
        images = problem.batch * problem.channels // lanes
        cells, plane = prod(problem.input_size), prod(problem.output_size)
        arguments = Unpool(
            source=INPUT(0), indices=INPUT(1), out=OUTPUT, cells=cells, plane=plane, lanes=lanes
        )
        address = self.library.kernel("pool.unpool", f"uint{8 * problem.dtype.itemsize}")
        stage = Stage(address, images * -(-lanes // Unpool.LANE_BLOCK), arguments)
        return _Checked(problem, stage, seconds=self.cost(problem, get_machine()).seconds)


class _Checked(NativePlan):
    """A plan that looks at the indices before it runs."""

    def __init__(self, problem: MaxUnpoolProblem, stage: Stage, *, seconds: float) -> None:
        super().__init__(problem, [stage], seconds=seconds)
        self._problem = problem

    def run(self, *inputs: Array | None, out: Array | None = None, parameters: Arrays = ()) -> Any:
        indices = inputs[1]
        assert indices is not None
        self._problem.check_range(int(indices.min()), int(indices.max()))
        return super().run(*inputs, out=out)
