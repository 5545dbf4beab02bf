"""The contract of a carrier, and how it puts stages before and after another plan's."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Algorithm, Array, Arrays, Cost, Frozen, PackingPlan
from fastconv.backends.native.plan import moved, scratch_stride
from fastconv.backends.native.sources import Sources
from fastconv.backends.numba.engine import WORKSPACE, NativePlan, Slot, Stage
from fastconv.machine import Machine
from fastconv.problem import Shape

FLOAT32, FLOAT64, INT64 = (np.dtype(name) for name in ("float32", "float64", "int64"))


class Carrier(abc.ABC):
    """A way to solve a problem of one dtype by an algorithm for another."""

    @abc.abstractmethod
    def why_not(self, problem: Any, algorithm: Algorithm) -> str | None:
        """Return why ``algorithm`` cannot be carried to ``problem``; None: it can."""

    @abc.abstractmethod
    def inner(self, problem: Any) -> Any:
        """Return the problem that the algorithm solves instead."""

    @abc.abstractmethod
    def plan(
        self, problem: Any, algorithm: Algorithm, parameters: Sequence[Array | None]
    ) -> NativePlan:
        """Plan ``problem``."""

    def packing_plan(
        self, problem: Any, algorithm: Algorithm, sources: Sources
    ) -> PackingPlan | None:
        """Plan ``problem`` for parameters that each run is given; None: as for any algorithm."""
        return None

    def part_plan(
        self,
        problem: Any,
        algorithm: Algorithm,
        parameters: Arrays,
        frozen: Frozen,
        sources: Sources,
    ) -> PackingPlan | None:
        """Plan ``problem`` with some parameters packed, as `Algorithm.part_plan` does."""
        return None

    @abc.abstractmethod
    def manner(self, problem: Any) -> str:
        """Return in what dtype, or how, the problem is computed."""

    def error_bound(self, problem: Any, algorithm: Algorithm) -> float:
        """Bound the error before the output is rounded to its dtype, as every algorithm must."""
        return algorithm.error_bound(self.inner(problem))

    def cost(self, problem: Any, algorithm: Algorithm, machine: Machine) -> Cost:
        """Predict the inner problem's cost, and the moving of what is cast before and after."""
        inner = self.inner(problem)
        cost = algorithm.cost(inner, machine)
        cells = sum(map(prod, input_shapes(problem))) * problem.dtype.itemsize
        cells += prod(problem.output_shape) * problem.output_dtype.itemsize
        seconds = cost.seconds + 2 * cells / machine.memory_bandwidth
        return Cost(seconds, cost.workspace_bytes + 2 * inner.bytes, cost.packing_seconds)


@dataclasses.dataclass(frozen=True)
class Program:
    """Stages with the memory that they need, before they become a plan."""

    stages: list[Stage]
    workspace_bytes: int
    scratch_bytes: int


@dataclasses.dataclass(frozen=True)
class Edge:
    """What an inner plan's input or output becomes: so many bytes, by a stage of this kind.

    ``stage`` takes the slot of those bytes.
    """

    bytes: int
    stage: Callable[[Slot], Stage]


def float_inputs(problem: Any) -> dict[int, Shape]:
    """Shapes of a plan's inputs that have the problem's dtype, by number."""
    own: dict[int, Shape] | None = getattr(problem, "float_inputs", None)
    return dict(enumerate(input_shapes(problem))) if own is None else own


def input_shapes(problem: Any) -> list[Shape]:
    """Shapes of the arrays that a plan's run takes; a residual has the output's."""
    residual = getattr(problem, "residual", False)
    return [problem.input_shape, problem.output_shape] if residual else [problem.input_shape]


def around(plan: NativePlan, inputs: dict[int, Edge], outputs: dict[int, Edge]) -> Program:
    """Put stages before and after a plan's own; edges that are not named stay as they are.

    Both are named by their buffers: outputs after the first follow the inputs.
    """
    space = 0
    slots: dict[int, Slot] = {}
    before: list[Stage] = []
    for number, edge in inputs.items():
        slots[number] = WORKSPACE + space
        before.append(edge.stage(slots[number]))
        space += scratch_stride(edge.bytes)
    after: list[Stage] = []
    for number, edge in outputs.items():
        slots[number] = WORKSPACE + space
        after.append(edge.stage(slots[number]))
        space += scratch_stride(edge.bytes)
    slots[WORKSPACE.buffer] = WORKSPACE + space
    stages = [*before, *moved(plan.stages, slots), *after]
    return Program(stages, space + plan.workspace_bytes, plan.scratch_bytes)


def native(
    problem: Any, program: Program, seconds: float, packing_seconds: float = 0.0
) -> NativePlan:
    """Make a plan of a program."""
    return NativePlan(
        problem,
        program.stages,
        workspace_bytes=program.workspace_bytes,
        scratch_bytes=program.scratch_bytes,
        seconds=seconds,
        packing_seconds=packing_seconds,
        extra_outputs=(getattr(problem, "output_shapes", None) or [])[1:],
    )


def inner_plan(
    algorithm: Algorithm, problem: Any, parameters: Sequence[Array | None]
) -> NativePlan:
    """Plan the problem that an algorithm is carried by."""
    plan = algorithm.plan(problem, *parameters)
    assert isinstance(plan, NativePlan)
    return plan
