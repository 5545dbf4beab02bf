"""float16 and bfloat16: stored so, computed in float32."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Algorithm, Array, Arrays, Frozen, PackingPlan
from fastconv.backends.native.sources import Sources, widened
from fastconv.backends.numba.carry.contract import (
    FLOAT32,
    Carrier,
    Edge,
    Program,
    around,
    float_inputs,
    inner_plan,
    native,
)
from fastconv.backends.numba.carry.pieces import in_pieces
from fastconv.backends.numba.cast import cast_stage
from fastconv.backends.numba.engine import INPUT, OUTPUT, NativePlan, Slot
from fastconv.machine import get_machine
from fastconv.problem import SoftmaxProblem


class Widened(Carrier):
    """Casts at both ends of a float32 plan; parameters are cast as they are packed."""

    def why_not(self, problem: Any, algorithm: Algorithm) -> str | None:
        result = problem.output_dtype
        if result not in (problem.dtype, FLOAT32):
            return f"{problem.dtype.name} to {result.name}: these kernels give float32 or the same"
        return algorithm.why_not(self.inner(problem))

    def manner(self, problem: Any) -> str:
        return "in float32, cast before and after"

    def inner(self, problem: Any) -> Any:
        if isinstance(problem, SoftmaxProblem):
            return dataclasses.replace(problem, dtype=FLOAT32, result=FLOAT32)
        return dataclasses.replace(problem, dtype=FLOAT32)

    def plan(
        self, problem: Any, algorithm: Algorithm, parameters: Sequence[Array | None]
    ) -> NativePlan:
        wide = [widened(p) for p in parameters]
        program = in_pieces(problem, lambda piece: self._program(piece, algorithm, wide))
        return native(problem, program, self.cost(problem, algorithm, get_machine()).seconds)

    def packing_plan(
        self, problem: Any, algorithm: Algorithm, sources: Sources
    ) -> PackingPlan | None:
        if not any(sources):
            return None
        return self._casting(
            problem, algorithm, algorithm.packing_plan(self.inner(problem), sources)
        )

    def part_plan(
        self,
        problem: Any,
        algorithm: Algorithm,
        parameters: Arrays,
        frozen: Frozen,
        sources: Sources,
    ) -> PackingPlan | None:
        held = [widened(p) if still else None for p, still in zip(parameters, frozen, strict=True)]
        inner = algorithm.part_plan(self.inner(problem), tuple(held), frozen, sources)
        return None if inner is None else self._casting(problem, algorithm, inner)

    def _casting(self, problem: Any, algorithm: Algorithm, inner: PackingPlan) -> NativePlan | None:
        """Return a plan whose inputs, outputs and parameters are cast; None: it cannot be cast."""
        if not isinstance(inner, NativePlan) or not inner.sources:
            return None
        cost = self.cost(problem, algorithm, get_machine())
        plan = native(problem, self._around(problem, inner), cost.seconds, cost.packing_seconds)
        plan.sources = inner.sources
        return plan

    def _program(
        self, problem: Any, algorithm: Algorithm, parameters: Sequence[Array | None]
    ) -> Program:
        return self._around(problem, inner_plan(algorithm, self.inner(problem), parameters))

    def _around(self, problem: Any, plan: NativePlan) -> Program:
        inputs = {
            number: _widening(number, prod(shape), problem.dtype)
            for number, shape in float_inputs(problem).items()
        }
        if problem.output_dtype == FLOAT32:
            return around(plan, inputs, {})
        outputs = {OUTPUT.buffer: _narrowing(OUTPUT, prod(problem.output_shape), problem.dtype)}
        # Those after the first follow the inputs.
        count = getattr(problem, "input_count", 0)
        for place, (shape, dtype) in enumerate((getattr(problem, "output_shapes", None) or [])[1:]):
            if dtype == problem.dtype:
                slot = INPUT(count + place)
                outputs[slot.buffer] = _narrowing(slot, prod(shape), dtype)
        return around(plan, inputs, outputs)


def _narrowing(to: Slot, count: int, dtype: np.dtype[Any]) -> Edge:
    return Edge(4 * count, lambda slot: cast_stage(slot, to, count, (FLOAT32, dtype)))


def _widening(number: int, count: int, dtype: np.dtype[Any]) -> Edge:
    return Edge(4 * count, lambda slot: cast_stage(INPUT(number), slot, count, (dtype, FLOAT32)))
