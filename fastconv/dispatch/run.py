"""The one road from a problem and its arrays to a result."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fastconv import settings
from fastconv.arrays import Array, check_memory, check_out, ready
from fastconv.backends.base import Algorithm, Arrays, PackingPlan, Plan, Result
from fastconv.backends.native.sources import Sources, source_of
from fastconv.device_arrays import DeviceArray
from fastconv.dispatch.choose import WORKERS, Without, choose
from fastconv.dispatch.parameter import Parameter, plans_of
from fastconv.dispatch.plans import plans
from fastconv.dispatch.registry import why_not_installed
from fastconv.dispatch.stored import StoredParameter, values_of
from fastconv.dispatch.tuning import Tuning, current
from fastconv.machine import forced_isa
from fastconv.problem import Problem
from fastconv.problem.values import optional_text

P = TypeVar("P", bound=Plan)


def solve(
    problem: Problem,
    inputs: tuple[Any, ...],
    parameters: tuple[Any, ...] = (),
    *,
    out: Array | None = None,
    algorithm: str | None = None,
    backend: str | None = None,
) -> Any:
    """Solve ``problem``: choose, plan (or find the plan again), run.

    ``inputs`` change from call to call. ``parameters`` that are frozen (`Parameter`,
    `StoredParameter`) are packed once, into a plan that they keep; others at each call, by a plan
    that is kept for the problem. An input that is only being traced records the problem instead.
    """
    for value in inputs:
        if hasattr(value, "__fastconv_record__"):
            return value.__fastconv_record__(problem, inputs, parameters, algorithm, backend)
        if isinstance(value, DeviceArray):
            missing = why_not_installed("cuda")
            if missing is not None:
                raise ValueError(f"arrays on the GPU need backend 'cuda': {missing}")
            from fastconv.dispatch.on_device import solve_on_device

            return solve_on_device(problem, inputs, parameters, out, algorithm, backend)
    if out is not None:
        check_out(out, problem.output_shape, problem.output_dtype, inputs + parameters)
    run: Callable[..., Any]
    given: Arrays = ()
    held: tuple[Any, ...] = parameters
    if are_frozen(parameters):
        plan = find_plan(problem, parameters, algorithm=algorithm, backend=backend)
        run = plan.run
    else:
        stored = _busy_parameters(problem, parameters)
        sources = _sources(stored)
        if is_weight_frozen(parameters):
            plan = find_part_plan(
                problem, parameters, sources, algorithm=algorithm, backend=backend
            )
            held = _frozen_alone(parameters)
        else:
            plan = find_packing_plan(problem, sources, algorithm=algorithm, backend=backend)
            held = ()
        given = _as_wanted(plan, stored)
        run = functools.partial(plan.run, parameters=given)
    arrays = [None if value is None else ready(value) for value in inputs]
    if out is None or out.flags.c_contiguous:
        result = run(*arrays, out=out)
        if _watch.solved is not None:
            _watch.solved.append(Solved(plan, tuple(arrays), given, held, result))
        return result
    result = run(*arrays)
    if isinstance(result, tuple):
        out[...] = result[0]
        return (out, *result[1:])
    out[...] = result
    return out


class Solved(NamedTuple):
    """What `solve` did: the plan, the arrays as that took them, and the result.

    ``parameters`` are those that the call gave the plan, ``frozen`` those that the plan holds.
    """

    plan: Plan
    inputs: tuple[Array | None, ...]
    parameters: tuple[Array | None, ...]
    frozen: tuple[Any, ...]
    result: Any


class _Watch(threading.local):
    solved: list[Solved | None] | None = None


_watch = _Watch()


@contextlib.contextmanager
def watched() -> Iterator[list[Solved | None]]:
    """List what is solved in this context by this thread; None for what values decided."""
    before, _watch.solved = _watch.solved, []
    try:
        yield _watch.solved
    finally:
        _watch.solved = before


def depends_on_values() -> None:
    """Note that this call looked at elements: others like it may go another way."""
    if _watch.solved is not None:
        _watch.solved.append(None)


def are_frozen(parameters: tuple[Any, ...]) -> bool:
    """Return whether nothing can change under a plan that holds ``parameters``."""
    return all(map(_is_frozen, parameters))


def is_weight_frozen(parameters: tuple[Any, ...]) -> bool:
    """Return whether the first parameter, the weight, is given and cannot change."""
    return bool(parameters) and parameters[0] is not None and _is_frozen(parameters[0])


def _is_frozen(parameter: Any) -> bool:
    if parameter is None:
        return True
    return isinstance(parameter, (Parameter, StoredParameter)) and parameter.frozen


def _frozen_alone(parameters: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(p if _is_frozen(p) else None for p in parameters)


def find_plan(
    problem: Problem,
    parameters: tuple[Any, ...] = (),
    *,
    algorithm: str | None = None,
    backend: str | None = None,
) -> Plan:
    """Return the plan for ``problem`` that holds ``parameters``: kept where they are frozen."""
    key = _key(problem, algorithm, backend)
    make = functools.partial(_holding_plan, problem, key.algorithm, key.backend, parameters)
    if not any(p is not None for p in parameters):
        plan = plans.get((key, len(parameters)))
        return plans.put((key, len(parameters)), make()) if plan is None else plan
    if not are_frozen(parameters):
        return make()
    own = plans_of(parameters)
    plan = own.get(key)
    return own.put(key, make()) if plan is None else plan


def holding_plan(
    problem: Problem,
    parameters: tuple[Any, ...] = (),
    make: Callable[[], tuple[Any, ...]] | None = None,
    key: Any = None,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
) -> Plan:
    """Return a plan for ``problem`` that holds parameters, and that nothing else keeps.

    ``make`` makes them of ``parameters``, and ``key`` says how; without it they are those. What
    other plans hold of them packed in the same way is shared.
    """
    if not any(p is not None for p in parameters):
        return find_plan(problem, parameters, algorithm=algorithm, backend=backend)
    backend = optional_text(backend, "backend") or settings.backend()
    known = plans_of(parameters).packed if are_frozen(parameters) else None
    given = functools.cache(lambda: _ready_parameters(problem, make() if make else parameters))

    def plan(chosen: Algorithm, busy: Problem) -> Plan:
        whole = _geometry(chosen, busy)
        if whole is None:
            return chosen.plan(busy, *given())
        packed: Plan = whole.packed(given, known, (key, problem.busy_part))
        return packed

    return _plan(problem, algorithm, backend, plan, frozen=True)


def _geometry(algorithm: Algorithm, problem: Problem) -> Any:
    """Return an algorithm's plan without parameters, which is kept for the problem."""
    key = "geometry", algorithm, problem, forced_isa(), settings.workspace_limit()
    plan = plans.get(key)
    if plan is None:
        plan = algorithm.geometry_of(problem)
        return None if plan is None else plans.put(key, plan)
    return plan


def find_packing_plan(
    problem: Problem,
    sources: Sources = (),
    *,
    algorithm: str | None = None,
    backend: str | None = None,
) -> PackingPlan:
    """Return the plan for ``problem`` that takes parameters at each run, kept from call to call.

    ``sources`` say how the parameters are stored. They do not move the choice.
    """
    key = _key(problem, algorithm, backend)
    place = (key, sources) if sources else key
    plan = plans.get(place)
    if plan is None:
        plan = plans.put(place, _packing_plan(problem, sources, key.algorithm, key.backend))
    assert isinstance(plan, PackingPlan)
    return plan


def find_part_plan(
    problem: Problem,
    parameters: tuple[Any, ...],
    sources: Sources = (),
    *,
    algorithm: str | None = None,
    backend: str | None = None,
) -> PackingPlan:
    """Return the plan that holds the frozen ones of ``parameters`` and takes others at each run.

    It is chosen as if all were frozen, since the weight is, and kept with them.
    """
    key = _key(problem, algorithm, backend)
    frozen = tuple(map(_is_frozen, parameters))
    own = plans_of(_frozen_alone(parameters))
    place = key, frozen, sources
    plan = own.get(place)
    if plan is None:
        ready = _ready_parameters(problem, parameters)

        def make(algorithm: Algorithm, busy: Problem) -> PackingPlan:
            made = algorithm.part_plan(busy, ready, frozen, sources)
            return made or _packing_plan_of(algorithm, busy, _sources(ready))

        made = _plan(problem, key.algorithm, key.backend, make, frozen=True)
        plan = own.put(place, made)
    assert isinstance(plan, PackingPlan)
    return plan


class _Key(NamedTuple):
    """All that a plan without parameters depends on."""

    problem: Problem
    algorithm: str | None
    backend: str | None
    forced: str | None
    isa: str
    tuning: Tuning
    limit: int | None


def _key(problem: Problem, algorithm: Any, backend: Any) -> _Key:
    isa = forced_isa()
    algorithm, backend = optional_text(algorithm, "algorithm"), optional_text(backend, "backend")
    forced = backend or settings.backend()
    return _Key(problem, algorithm, backend, forced, isa, current(isa), settings.workspace_limit())


def _holding_plan(
    problem: Problem, algorithm: str | None, backend: str | None, parameters: tuple[Any, ...]
) -> Plan:
    """Plan ``problem`` with ``parameters`` packed."""
    arrays = _ready_parameters(problem, parameters)
    return _plan(problem, algorithm, backend, lambda a, busy: a.plan(busy, *arrays), frozen=True)


def _packing_plan(
    problem: Problem, sources: Sources, algorithm: str | None, backend: str | None
) -> PackingPlan:
    """Plan ``problem`` for parameters that each run is given."""
    make = functools.partial(_packing_plan_of, sources=sources)
    return _plan(problem, algorithm, backend, make, frozen=False)


def _packing_plan_of(algorithm: Algorithm, problem: Problem, sources: Sources) -> PackingPlan:
    """Plan for parameters of each run: in its workspace, or outside it where that is limited."""
    plan, limit = algorithm.packing_plan(problem, sources), settings.workspace_limit()
    own = plan.workspace_bytes + plan.scratch_bytes
    beside = limit is not None and own <= limit < own + plan.packed_bytes
    return Algorithm.packing_plan(algorithm, problem) if beside else plan


def _plan(
    problem: Problem,
    algorithm: str | None,
    backend: str | None,
    make: Callable[[Algorithm, Problem], P],
    *,
    frozen: bool,
) -> P | _EmptyPlan:
    several = getattr(problem, "output_shapes", None) or [(problem.output_shape, None)]
    if all(0 in shape for shape, _ in several):
        return _EmptyPlan(problem)
    check_memory(problem.output_shape, problem.output_dtype, f"the output of {problem.name}")
    busy = problem.without_idle()
    without: Without = frozenset()
    while True:
        chosen = choose(
            busy, algorithm=algorithm, backend=backend, without=without, frozen=frozen
        ).algorithm
        plan = make(chosen, busy)
        limit = settings.workspace_limit()
        if limit is None or plan.workspace_bytes + plan.scratch_bytes <= limit:
            return plan
        without |= {(str(chosen), WORKERS)}


def _ready_parameters(problem: Problem, parameters: tuple[Any, ...]) -> tuple[Array | None, ...]:
    """Return parameters as plans take them, without those that no output depends on."""
    return _ready(_busy_parameters(problem, parameters))


def _as_wanted(plan: PackingPlan, parameters: Arrays) -> Arrays:
    """Return parameters contiguous where the plan does not read them as they are stored."""
    if not plan.sources:
        return _ready(parameters)
    pairs = zip(parameters, plan.sources, strict=True)
    return tuple([p if p is None or source else ready(p) for p, source in pairs])


def _ready(parameters: Arrays) -> Arrays:
    return tuple([None if p is None else ready(p) for p in parameters])


def _busy_parameters(problem: Problem, parameters: tuple[Any, ...]) -> Arrays:
    """Return parameters as they are stored, aligned, without those that no output depends on."""
    arrays = tuple([None if p is None else values_of(p) for p in parameters])
    if problem.without_idle() is not problem:
        arrays = problem.busy(arrays)
    return tuple([a if a is None or a.flags.aligned else ready(a) for a in arrays])


def _sources(parameters: Arrays) -> Sources:
    """Return how parameters are stored; nothing where plans read all of them as they are."""
    sources = tuple([source_of(p) for p in parameters])
    return sources if any(sources) else ()


class _EmptyPlan(PackingPlan):
    """The plan of a problem whose output has no elements."""

    def __init__(self, problem: Problem) -> None:
        given = ((problem.output_shape, problem.output_dtype),)
        self._outputs = getattr(problem, "output_shapes", None) or given

    def run(
        self, *inputs: Array | None, out: Array | None = None, parameters: Arrays = ()
    ) -> Result:
        first, *rest = (np.empty(shape, dtype) for shape, dtype in self._outputs)
        first = first if out is None else out
        return (first, *rest) if rest else first
