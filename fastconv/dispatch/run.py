"""The one road from a problem and its arrays to a result."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastconv import settings
from fastconv.arrays import Array, check_memory, check_out, ready
from fastconv.backends.base import Plan, Result
from fastconv.device_arrays import DeviceArray
from fastconv.dispatch.choose import WORKERS, Without, choose
from fastconv.dispatch.parameter import Parameter, plans_of
from fastconv.dispatch.registry import why_not_installed
from fastconv.dispatch.stored import StoredParameter, values_of
from fastconv.dispatch.tuning import Tuning, current
from fastconv.machine import forced_isa
from fastconv.problem import Problem
from fastconv.problem.values import optional_text


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

    ``inputs`` change from call to call, ``parameters`` are packed into the plan. A plan is kept
    where nothing can change under it: without parameters, or with immutable ones
    (`Parameter`, `StoredParameter`). An input that is only being traced records the problem
    instead.
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
    plan = find_plan(problem, parameters, algorithm=algorithm, backend=backend)
    arrays = [None if value is None else ready(value) for value in inputs]
    if out is None or out.flags.c_contiguous:
        return plan.run(*arrays, out=out)
    result = plan.run(*arrays)
    if isinstance(result, tuple):
        out[...] = result[0]
        return (out, *result[1:])
    out[...] = result
    return out


def find_plan(
    problem: Problem,
    parameters: tuple[Any, ...] = (),
    *,
    algorithm: str | None = None,
    backend: str | None = None,
) -> Plan:
    """Give the plan for ``problem`` with ``parameters``, made anew unless one is kept."""
    algorithm, backend = _read_names(algorithm, backend)
    isa = forced_isa()
    key = (problem, algorithm, backend, isa, current(isa), settings.workspace_limit())
    given = [p for p in parameters if p is not None]
    if not given:
        return _plan_without_parameters(len(parameters), *key)
    if not all(isinstance(p, (Parameter, StoredParameter)) and p.frozen for p in given):
        return _make_plan(problem, parameters, algorithm, backend)
    plans = plans_of(parameters)
    plan = plans.get(key)
    if plan is None:
        plan = plans.put(key, _make_plan(problem, parameters, algorithm, backend))
    return plan


def _make_plan(
    problem: Problem, parameters: tuple[Any, ...], algorithm: str | None, backend: str | None
) -> Plan:
    if 0 in problem.output_shape:
        return _EmptyPlan(problem)
    check_memory(problem.output_shape, problem.output_dtype, f"the output of {problem.name}")
    busy = problem.without_idle()
    if busy is not problem:
        parameters = problem.busy(tuple(None if p is None else values_of(p) for p in parameters))
    arrays = [None if p is None else ready(values_of(p)) for p in parameters]
    without: Without = frozenset()
    while True:
        choice = choose(busy, algorithm=algorithm, backend=backend, without=without)
        plan = choice.algorithm.plan(busy, *arrays)
        limit = settings.workspace_limit()
        if limit is None or plan.workspace_bytes + plan.scratch_bytes <= limit:
            return plan
        without |= {(str(choice.algorithm), WORKERS)}


def _read_names(algorithm: Any, backend: Any) -> tuple[str | None, str | None]:
    return optional_text(algorithm, "algorithm"), optional_text(backend, "backend")


@functools.lru_cache(maxsize=1024)
def _plan_without_parameters(
    count: int,
    problem: Problem,
    algorithm: str | None,
    backend: str | None,
    isa: str,
    tuning: Tuning,
    limit: int | None,
) -> Plan:
    return _make_plan(problem, (None,) * count, algorithm, backend)


class _EmptyPlan(Plan):
    """The plan of a problem whose output has no elements."""

    def __init__(self, problem: Problem) -> None:
        given = ((problem.output_shape, problem.output_dtype),)
        self._outputs = getattr(problem, "output_shapes", None) or given

    def run(self, *inputs: Array | None, out: Array | None = None) -> Result:
        first, *rest = (np.empty(shape, dtype) for shape, dtype in self._outputs)
        first = first if out is None else out
        return (first, *rest) if rest else first
