"""Algorithms whose plans are made here and whose kernels come from a library."""

from __future__ import annotations

from typing import Any

from fastconv.backends.base import Algorithm, Array, Arrays, Frozen, PackingPlan
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import NativePlan, Stage
from fastconv.backends.native.sources import Sources, can_read, read_from
from fastconv.machine import get_machine
from fastconv.problem.values import name_of

DTYPES = ("float32", "float64")


class NativeAlgorithm(Algorithm):
    """Base of these algorithms: the same plans on every library's kernels.

    Float32 and float64 alone.
    """

    def __init__(self, library: Library) -> None:
        self.library, self.backend = library, library.BACKEND

    def why_not(self, problem: Any) -> str | None:
        for dtype in (problem.dtype, problem.output_dtype):
            if name_of(dtype) not in DTYPES:
                return f"dtype {dtype.name}: these kernels are for {' and '.join(DTYPES)}"
        return None

    def objects_as_twin(self, problem: Any) -> bool:
        return True

    def geometry(self, problem: Any) -> NativePlan:
        """Plan ``problem`` for any parameters: they are packed as the plan runs, or ahead.

        What is not overridden is planned with its parameters at hand, by ``plan``.
        """
        raise NotImplementedError

    def plan(self, problem: Any, *parameters: Array | None) -> NativePlan:
        return self.geometry(problem).packed(parameters)

    def geometry_of(self, problem: Any) -> NativePlan | None:
        kind = type(self)
        own = kind.plan is NativeAlgorithm.plan and kind.geometry is not NativeAlgorithm.geometry
        return self.geometry(problem) if own else None

    def packing_plan(self, problem: Any, sources: Sources = ()) -> PackingPlan:
        if type(self).geometry is NativeAlgorithm.geometry:
            return super().packing_plan(problem)
        return self.reading(problem, self.geometry(problem), sources)

    def part_plan(
        self, problem: Any, parameters: Arrays, frozen: Frozen, sources: Sources = ()
    ) -> PackingPlan | None:
        if type(self).geometry is NativeAlgorithm.geometry:
            return None
        return self.reading(problem, self.geometry(problem).part(parameters, frozen), sources)

    def reading(self, problem: Any, plan: NativePlan, sources: Sources) -> NativePlan:
        """Return a plan for parameters stored as ``sources`` say, where it can read them so."""
        name = problem.dtype.name
        if not any(sources) or not can_read(sources, name):
            return plan
        return read_from(plan, sources, self.library, name)

    def native_plan(self, problem: Any, stages: list[Stage], **options: Any) -> NativePlan:
        """Put stages together."""
        cost = self.cost(problem, get_machine())
        return NativePlan(
            problem, stages, seconds=cost.seconds, packing_seconds=cost.packing_seconds, **options
        )
