"""What a step is held against: the least time that limits allow it, measured here or fixed."""

from __future__ import annotations

from typing import Any

from fastconv.backends.base import Algorithm, Work
from fastconv.dispatch.registry import APART
from fastconv.machine import get_machine
from fastconv.peak import Peak
from fastconv.problem.record import record

# Percentages are rounded: what rounds to 100 does not count as above it.
_MOST = 1.005
MEASURED, FIXED = "as measured here", "by the fixed figures"
_WHY_ABOVE = {
    MEASURED: "the clock is above the measurement's, or a neighbour disturbed it",
    FIXED: "these are figures of a common machine, with all data in memory",
}


@record(frozen=True)
class Roof:
    """The least time that limits allow some work, and which of them: "compute" or "memory"."""

    seconds: float
    bound_by: str
    work: Work


def roof_of(
    algorithm: Algorithm,
    problem: Any,
    peak: Peak | None,
    *,
    threads: int = 1,
    pieces: int = 1,
    share: float = 1.0,
) -> Roof:
    """Hold an algorithm's own operations and bytes against the limits of so many threads.

    ``peak`` None: against the fixed figures, as are all that run on other devices. The batch is
    done in ``pieces`` whose data may stay in a cache each; ``share`` is the part of the bytes that
    is moved at all.
    """
    machine = get_machine()
    work = algorithm.work(problem, machine)
    work = Work(work.flops, work.bytes * share, work.dtype)
    if algorithm.backend in APART or peak is None:
        flops, bandwidth = algorithm.limits(problem, machine)
        several = 1 if algorithm.backend in APART else threads
        compute, memory = work.flops / flops / several, work.bytes / bandwidth / several
    else:
        compute, memory = peak.seconds(work, machine, threads=threads, pieces=pieces)
    return Roof(max(compute, memory), "compute" if compute >= memory else "memory", work)


def percent(part: float | None) -> str:
    """Write a part of a roof; what is above it is not given a number that would mislead."""
    if part is None:
        return "-"
    return "> 100%" if part > _MOST else f"{part:.0%}"


def why_above(part: float | None, limits: str) -> str | None:
    """Return why a part of a roof may be above 100 %; None: it is not."""
    return _WHY_ABOVE[limits] if part is not None and part > _MOST else None
