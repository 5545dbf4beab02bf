"""WHICH: of the algorithms that can, inside ``rtol``, the fastest measured or the cheapest."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from fastconv import settings
from fastconv.backends.base import Algorithm, Cost
from fastconv.dispatch.registry import algorithms
from fastconv.dispatch.tuning import Tuning, current
from fastconv.machine import forced_isa, get_machine
from fastconv.problem import Problem

if TYPE_CHECKING:
    from fastconv.dispatch.table import Row


_WORKERS = "its workers' memory is above FASTCONV_WORKSPACE_MB"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One algorithm's answer to a problem: why it cannot, or what it would take."""

    algorithm: Algorithm
    why_not: str | None
    cost: Cost | None
    error_bound: float | None
    measured_seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Choice:
    """The algorithm taken for a problem, beside all that were asked, and why it was taken."""

    problem: Problem
    algorithm: Algorithm
    candidates: tuple[Candidate, ...]
    reason: str


def choose(
    problem: Problem,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    tuning: Tuning | None = None,
    without: frozenset[str] = frozenset(),
) -> Choice:
    """Choose an algorithm for ``problem`` by its image alone: batch and threads change nothing.

    ``tuning`` is the table to follow; None: the one in force. ``without`` names algorithms whose
    plans took more memory than they may.

    Raises
    ------
    ValueError
        For an unknown algorithm or backend, or one that cannot serve, with its reason.
    """
    backend = backend if backend is not None else settings.backend()
    limit = settings.workspace_limit()
    isa = forced_isa()
    tuning = tuning if tuning is not None else current(isa)
    return _choose(_asked(problem), algorithm, backend, isa, limit, tuning, without)


@functools.lru_cache(maxsize=4096)
def _asked(problem: Problem) -> Problem:
    """Give the problem that algorithms are asked about."""
    return problem.for_one_image().without_idle()


@functools.lru_cache(maxsize=4096)
def _choose(
    problem: Problem,
    algorithm: str | None,
    backend: str | None,
    isa: str,
    limit: int | None,
    tuning: Tuning,
    without: frozenset[str],
) -> Choice:
    every = algorithms(type(problem))
    _check_names(problem, every, algorithm, backend)
    wanted = [a for a in every if algorithm in (None, a.name) and backend in (None, a.backend)]
    row = tuning.row(problem)
    candidates: list[Candidate] = []
    for a in every if len(wanted) != 1 else wanted:
        last = candidates[-1] if candidates else None
        if last is not None and last.why_not is None and a.twin is last.algorithm:
            candidates.append(_as_its_twin(a, last, row, without))
        else:
            candidates.append(_ask(a, problem, limit, row, without))
    able = [c for c in candidates if c.why_not is None and c.algorithm in wanted]
    if not able:
        refusals = "; ".join(
            f"{c.algorithm}: {c.why_not}" for c in candidates if c.algorithm in wanted
        )
        raise ValueError(f"{problem.name} cannot run as asked: {refusals}")
    best, measured = _best(able, row)
    if measured and tuning.table is not None:
        reason = f"measured: tuned on {tuning.table.machine}"
    else:
        reason = _reason(able, algorithm, backend)
    return Choice(problem, best.algorithm, tuple(candidates), reason)


def _best(able: list[Candidate], row: Row | None) -> tuple[Candidate, bool]:
    """Give the best of those that can, and whether a row of measurements says so.

    A row can name any algorithm; only one that can serve counts, and never the reference
    where another can.
    """
    rivals = [c for c in able if c.algorithm.backend != "reference"] or able
    named = [c for c in rivals if row is not None and str(c.algorithm) == row.algorithm]
    if named and len(able) > 1:
        return named[0], True
    return min(rivals, key=lambda c: c.cost.seconds), False  # type: ignore[union-attr]


def _check_names(
    problem: Problem, every: tuple[Algorithm, ...], algorithm: str | None, backend: str | None
) -> None:
    names = sorted({a.name for a in every if backend in (None, a.backend)})
    backends = sorted({a.backend for a in every})
    if backend is not None and backend not in backends:
        raise ValueError(
            f"backend {backend!r} is not there for {problem.name}; there are {', '.join(backends)}"
        )
    if algorithm is not None and algorithm not in names:
        raise ValueError(
            f"unknown algorithm {algorithm!r} for {problem.name}; there are {', '.join(names)}"
        )


def _ask(
    algorithm: Algorithm,
    problem: Problem,
    limit: int | None,
    row: Row | None,
    without: frozenset[str],
) -> Candidate:
    why_not = algorithm.why_not(problem)
    if why_not is not None:
        return Candidate(algorithm, why_not, None, None)
    cost = algorithm.cost(problem, get_machine())
    bound = algorithm.error_bound(problem)
    rtol = getattr(problem, "rtol", None)
    if rtol is not None and bound > rtol and algorithm.approximates:
        why_not = f"error bound {bound:.1e} is above rtol {rtol:.1e}"
    elif limit is not None and cost.workspace_bytes > limit:
        why_not = f"workspace {cost.workspace_bytes} bytes is above FASTCONV_WORKSPACE_MB"
    elif str(algorithm) in without:
        why_not = _WORKERS
    measured = None if row is None else row.seconds.get(str(algorithm))
    return Candidate(algorithm, why_not, cost, bound, measured)


def _as_its_twin(
    algorithm: Algorithm, twin: Candidate, row: Row | None, without: frozenset[str]
) -> Candidate:
    """Give the answer of an algorithm whose twin of another backend can serve: it is the same."""
    name = str(algorithm)
    why_not = _WORKERS if name in without else None
    measured = None if row is None else row.seconds.get(name)
    return dataclasses.replace(
        twin, algorithm=algorithm, why_not=why_not, measured_seconds=measured
    )


def _reason(able: list[Candidate], algorithm: str | None, backend: str | None) -> str:
    if algorithm is not None or backend is not None:
        return "asked for" if len(able) == 1 else "cheapest of those asked for"
    return "the only one that can" if len(able) == 1 else "lowest predicted cost"
