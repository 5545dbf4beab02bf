"""The contract between dispatch and the backends: Algorithm, Plan, Cost."""

from __future__ import annotations

import abc
from math import prod
from typing import Any

import numpy as np

from fastconv.machine import Machine
from fastconv.problem import Problem
from fastconv.problem.record import record

Array = np.ndarray[Any, Any]
Arrays = tuple[Array | None, ...]
Result = Array | tuple[Array, ...]


@record(frozen=True)
class Cost:
    """What an algorithm is predicted to take: one thread's seconds, and scratch bytes.

    ``packing_seconds`` come on top where the parameters are packed at the call.
    """

    seconds: float
    workspace_bytes: int = 0
    packing_seconds: float = 0.0


@record(frozen=True)
class Work:
    """What an algorithm cannot do without: operations in a dtype, and bytes that it moves.

    A multiply-add is two operations.
    """

    flops: float
    bytes: float
    dtype: str


class Plan(abc.ABC):
    """An algorithm bound to one problem, with its weights packed: ready to run many times.

    A plan may be run by many threads at once: a run keeps nothing in it.
    """

    # Memory that all workers share, and that each of them has for itself.
    workspace_bytes: int = 0
    scratch_bytes: int = 0
    # What it keeps: constants, packed parameters.
    nbytes: int = 0
    # Whether a run is `run_on`: arrays in, one output, nothing looked at before.
    takes_arrays_alone: bool = False

    def arrays(self) -> list[Array]:
        """Return the memory that it keeps, where that is known, each piece once."""
        return []

    @property
    def is_staged(self) -> bool:
        """Whether it is nothing but ``stages``, which may be joined with other plans' to one."""
        return False

    @abc.abstractmethod
    def run(self, *inputs: Array | None, out: Array | None = None) -> Result:
        """Run on C-contiguous, aligned inputs in native byte order.

        ``out``, where given, is contiguous, has the output's shape and dtype, shares no memory
        with an input, and is wholly written.
        """


# Which of a call's parameters cannot change; a missing one counts as such.
Frozen = tuple[bool, ...]


class PackingPlan(Plan):
    """A plan that may be given parameters, which it packs at each run.

    ``packed_bytes`` of workspace are for what it packs. ``sources`` say of each parameter how it
    is stored, where that is neither contiguous nor of the plan's dtype.
    """

    packed_bytes: int = 0
    sources: tuple[Any, ...] = ()

    @abc.abstractmethod
    def run(
        self, *inputs: Array | None, out: Array | None = None, parameters: Arrays = ()
    ) -> Result:
        """Run as other plans do, on ``parameters`` as the inputs are, or as ``sources`` say."""


class Algorithm(abc.ABC):
    """A way to solve problems on one backend. Stateless: one instance serves all.

    Which parameters go to ``plan`` and which inputs go to ``Plan.run`` is the same for every
    algorithm of a problem type, and is exported by that type's functional module.
    """

    name: str
    backend: str
    # Whether results differ from a plain sum's by more than its own roundings: only such an
    # algorithm is refused where its bound is above ``rtol``.
    approximates: bool = False
    # The same algorithm of another backend, asked before: what it can this one can, at that cost.
    twin: Algorithm | None = None

    @abc.abstractmethod
    def why_not(self, problem: Any) -> str | None:
        """Return why this algorithm cannot solve ``problem``; None: it can."""

    def objects_as_twin(self, problem: Any) -> bool:
        """Return whether it has the objection that its twin has, so that it need not be asked."""
        return False

    @abc.abstractmethod
    def cost(self, problem: Any, machine: Machine) -> Cost:
        """Predict the cost from fixed figures; no clock is read."""

    def limits(self, problem: Any, machine: Machine) -> tuple[float, float]:
        """Return the FLOP and the bytes a second that bound it, by the machine's fixed figures."""
        dtype = np.dtype(self.work(problem, machine).dtype)
        return machine.peak_flops(dtype), machine.memory_bandwidth

    def work(self, problem: Any, machine: Machine) -> Work:
        """Count what this algorithm executes for ``problem``, its batch included.

        What the definition asks for, unless the algorithm needs fewer operations, or others.
        """
        return Work(problem.flops, bytes_read(problem), problem.dtype.name)

    def error_bound(self, problem: Any) -> float:
        """Largest error to expect, relative to the output's standard deviation."""
        return 0.0

    def manner(self, problem: Any) -> str | None:
        """Return in what dtype ``problem`` is computed, where that is not its own."""
        return None

    def arithmetic(self, problem: Any) -> str:
        """Name what products are made in: "f32", "f64", "int", "bf16x3" or "bf16".

        "bf16x3" are float32 products, each by three products of bf16 pieces.
        """
        if problem.dtype.kind in "fc":
            return "f64" if problem.dtype in (np.float64, np.complex128) else "f32"
        return "int" if problem.dtype.kind in "iub" else "f32"

    @abc.abstractmethod
    def plan(self, problem: Any, *parameters: Array | None) -> Plan:
        """Pack ``parameters`` for ``problem``."""

    def geometry_of(self, problem: Any) -> Any:
        """Return a plan for any parameters, whose ``packed`` holds some; None: there is none."""
        return None

    def packing_plan(self, problem: Any, sources: tuple[Any, ...] = ()) -> PackingPlan:
        """Return a plan that takes parameters at each run and packs them there.

        ``sources`` say how parameters are stored; a plan that has none of them wants parameters
        that are contiguous.
        """
        return _Packing(self, problem)

    def part_plan(
        self, problem: Any, parameters: Arrays, frozen: Frozen, sources: tuple[Any, ...] = ()
    ) -> PackingPlan | None:
        """Return a plan that holds the ``frozen`` parameters packed and packs others at each run.

        A run is given all parameters, and reads the others, which are stored as ``sources`` say.
        None: this algorithm has no such plan.
        """
        return None

    def __str__(self) -> str:
        return f"{self.backend}.{self.name}"


class _Packing(PackingPlan):
    """The plan of an algorithm that packs in Python: a plan of its own for each run."""

    def __init__(self, algorithm: Algorithm, problem: Any) -> None:
        self._algorithm, self._problem = algorithm, problem

    def run(
        self, *inputs: Array | None, out: Array | None = None, parameters: Arrays = ()
    ) -> Result:
        return self._algorithm.plan(self._problem, *parameters).run(*inputs, out=out)


def bytes_read(problem: Problem) -> float:
    """Count the bytes that move at least: of the input those alone that a window looks at."""
    window = problem.window
    if window is None:
        return problem.bytes
    cells = prod(problem.input_shape)
    seen = prod(min(1.0, span / step) for span, step in zip(*window, strict=True))
    return problem.bytes - (1 - seen) * cells * problem.dtype.itemsize


def roofline(problem: Problem, machine: Machine, *, flops: float, bytes: float) -> float:
    """Seconds that one core needs for so many operations and bytes at the machine's limits."""
    peak = machine.peak_flops(problem.dtype)
    return max(flops / peak, bytes / machine.memory_bandwidth)
