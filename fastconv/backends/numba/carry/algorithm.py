"""An algorithm of float kernels, and what carries it to other dtypes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from fastconv.backends.base import (
    Algorithm,
    Array,
    Arrays,
    Cost,
    Frozen,
    PackingPlan,
    Plan,
    Work,
    bytes_read,
)
from fastconv.backends.native.sources import Sources
from fastconv.machine import Machine
from fastconv.problem.values import COMPLEX, INTEGERS, SIXTEEN, name_of

if TYPE_CHECKING:
    from fastconv.backends.numba.carry.contract import Carrier

NATIVE = ("float32", "float64")


@functools.cache
def _carrier_of(dtype: str) -> Carrier | None:
    """Return what carries a dtype; it is imported when one is met."""
    from fastconv.backends.numba.carry.complexes import Split
    from fastconv.backends.numba.carry.integers import Integral
    from fastconv.backends.numba.carry.widened import Widened

    carriers = ((SIXTEEN, Widened), (INTEGERS, Integral), (COMPLEX, Split))
    return next((carrier() for names, carrier in carriers if dtype in names), None)


class Carried(Algorithm):
    """An algorithm with the dtypes that it has no kernels for carried to those that it has."""

    def __init__(self, algorithm: Algorithm) -> None:
        self.algorithm = algorithm
        self.name, self.backend = algorithm.name, algorithm.backend
        self.approximates = algorithm.approximates

    def _carrier(self, problem: Any) -> Carrier | None:
        """Return what carries the problem's dtype; None: the algorithm's own kernels serve it."""
        name = name_of(problem.dtype)
        if name in NATIVE or self.algorithm.why_not(problem) is None:
            return None
        return _carrier_of(name)

    def why_not(self, problem: Any) -> str | None:
        carrier = self._carrier(problem)
        if carrier is None:
            return self.algorithm.why_not(problem)
        return carrier.why_not(problem, self.algorithm)

    def objects_as_twin(self, problem: Any) -> bool:
        return name_of(problem.dtype) in NATIVE and self.algorithm.objects_as_twin(problem)

    def cost(self, problem: Any, machine: Machine) -> Cost:
        carrier = self._carrier(problem)
        if carrier is None:
            return self.algorithm.cost(problem, machine)
        return carrier.cost(problem, self.algorithm, machine)

    def work(self, problem: Any, machine: Machine) -> Work:
        carrier = self._carrier(problem)
        if carrier is None:
            return self.algorithm.work(problem, machine)
        # What is computed is the inner problem's; what has to be moved, this one's.
        inner = self.algorithm.work(carrier.inner(problem), machine)
        return Work(inner.flops, bytes_read(problem), inner.dtype)

    def error_bound(self, problem: Any) -> float:
        carrier = self._carrier(problem)
        if carrier is None:
            return self.algorithm.error_bound(problem)
        return carrier.error_bound(problem, self.algorithm)

    def manner(self, problem: Any) -> str | None:
        carrier = self._carrier(problem)
        return None if carrier is None else carrier.manner(problem)

    def plan(self, problem: Any, *parameters: Array | None) -> Plan:
        carrier = self._carrier(problem)
        if carrier is None:
            return self.algorithm.plan(problem, *parameters)
        return carrier.plan(problem, self.algorithm, parameters)

    def packing_plan(self, problem: Any, sources: Sources = ()) -> PackingPlan:
        carrier = self._carrier(problem)
        if carrier is None:
            return self.algorithm.packing_plan(problem, sources)
        made = carrier.packing_plan(problem, self.algorithm, sources)
        return made or super().packing_plan(problem)

    def part_plan(
        self, problem: Any, parameters: Arrays, frozen: Frozen, sources: Sources = ()
    ) -> PackingPlan | None:
        carrier = self._carrier(problem)
        if carrier is None:
            return self.algorithm.part_plan(problem, parameters, frozen, sources)
        return carrier.part_plan(problem, self.algorithm, parameters, frozen, sources)
