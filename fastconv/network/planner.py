"""From a program to plans: an algorithm for every operation, its weights packed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from fastconv import settings
from fastconv.backends.base import Plan
from fastconv.backends.native.plan import scratch_stride
from fastconv.dispatch import find_plan, holding_plan
from fastconv.network.program import Images, Op, Program, Solve, View


@dataclasses.dataclass(frozen=True)
class Planned:
    """A program without its parameters, and what they were packed into: a plan a problem.

    ``portions`` has those of the operations that are done for some images at a time.
    """

    program: Program
    plans: Mapping[Op, Plan]
    portions: Mapping[Op, tuple[Planned, ...]]

    @property
    def is_native(self) -> bool:
        """Whether all of it can run by one native call."""
        return all(
            isinstance(op, View) or op in self.portions or is_staged(self.plans.get(op))
            for op in self.program.ops
        )

    @property
    def seconds(self) -> float:
        """The predicted time on one thread."""
        return sum(self.seconds_of(op) for op in (*self.plans, *self.portions))

    def seconds_of(self, op: Op) -> float:
        """Return the predicted time of an operation on one thread."""
        if isinstance(op, Images):
            pairs = zip(op.portions, self.portions[op], strict=True)
            return sum(portion.count * planned.seconds for portion, planned in pairs)
        return float(getattr(self.plans[op], "seconds", 1e-5))

    def threads_within(self, limit: int) -> int:
        """Return how many threads may run so that no plan's workspace is above a limit: 1 at least.

        In a program of some images each thread has a plan's whole workspace to itself.
        """
        own = [(p.workspace_bytes, p.scratch_bytes) for p in self.plans.values()]
        nested = [each for several in self.portions.values() for each in several]
        inner = (plan for each in nested for plan in each.all_plans())
        own += [(0, plan.workspace_bytes + plan.scratch_bytes) for plan in inner]
        most = ((limit - shared) // scratch_stride(scratch) for shared, scratch in own if scratch)
        return max(1, min(most, default=limit))

    def all_plans(self) -> Iterator[Plan]:
        """Yield the plans, those of portions with them."""
        yield from self.plans.values()
        for several in self.portions.values():
            for planned in several:
                yield from planned.all_plans()


def is_staged(plan: Plan | None) -> bool:
    """Return whether a plan is nothing but stages of kernels."""
    return plan is not None and plan.is_staged


def plan_program(program: Program) -> Planned:
    """Plan every operation."""
    planner = _Planner()
    # What has the most parameters first: while they are packed, least else is in memory.
    made = {op: planner.planned(op) for op in sorted(program.ops, key=_parameters, reverse=True)}
    ops = tuple(light for op in program.ops for light in made[op])
    return Planned(dataclasses.replace(program, ops=ops), planner.plans, planner.portions)


class _Planner:
    def __init__(self) -> None:
        self.plans: dict[Op, Plan] = {}
        self.portions: dict[Op, tuple[Planned, ...]] = {}

    def planned(self, op: Op) -> list[Op]:
        """Plan an operation. Packed weights are all that is kept of them."""
        if isinstance(op, Images):
            return self._images(op)
        light = _without_parameters(op)
        if isinstance(op, Solve):
            self.plans[light] = _plan(op)
        return [light]

    def _images(self, op: Images) -> list[Op]:
        """Plan the programs of some images; what not only kernels do is done for all at once."""
        several = tuple(plan_program(portion.program) for portion in op.portions)
        if not all(planned.is_native for planned in several):
            return [light for each in op.replaced for light in self.planned(each)]
        pairs = zip(op.portions, several, strict=True)
        light = dataclasses.replace(
            op,
            portions=tuple(dataclasses.replace(p, program=own.program) for p, own in pairs),
            replaced=tuple(map(_without_parameters, op.replaced)),
        )
        self.portions[light] = several
        return [light]


def _plan(op: Solve) -> Plan:
    """Plan an operation. On GPUs plans are kept with the parameters, as for single calls."""
    backend = op.backend or settings.backend()
    if backend == "cuda":
        return find_plan(op.problem, op.arrays(), algorithm=op.algorithm, backend=backend)
    own = op.parameters
    source, make, key = (own.source, own, own.key) if callable(own) else (own, None, None)
    return holding_plan(
        op.problem, source, make, key,
        algorithm=op.algorithm, backend=backend,
    )  # fmt: skip


def _parameters(op: Op) -> int:
    """Return the most parameters that a problem of an operation has."""
    several = op.replaced if isinstance(op, Images) else (op,)
    return max((o.problem.parameter_count for o in several if isinstance(o, Solve)), default=0)


def _without_parameters(op: Op) -> Op:
    return op.having(parameters=()) if isinstance(op, Solve) else op
