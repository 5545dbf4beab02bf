"""WHICH: the cheapest algorithm that can, and whose error bound is inside ``rtol``."""

from __future__ import annotations

import dataclasses
import functools

from fastconv import settings
from fastconv.backends.base import Algorithm, Cost
from fastconv.dispatch.registry import algorithms
from fastconv.machine import forced_isa, get_machine
from fastconv.problem import Problem


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One algorithm's answer to a problem: why it cannot, or what it would take."""

    algorithm: Algorithm
    why_not: str | None
    cost: Cost | None
    error_bound: float | None


@dataclasses.dataclass(frozen=True)
class Choice:
    """The algorithm taken for a problem, beside all that were asked, and why it was taken."""

    problem: Problem
    algorithm: Algorithm
    candidates: tuple[Candidate, ...]
    reason: str


def choose(problem: Problem, *, algorithm: str | None = None, backend: str | None = None) -> Choice:
    """Choose an algorithm for ``problem`` by its image alone: batch and threads change nothing.

    Raises
    ------
    ValueError
        For an unknown algorithm or backend, or one that cannot serve, with its reason.
    """
    backend = backend if backend is not None else settings.backend()
    limit = settings.workspace_limit()
    return _choose(problem.for_one_image(), algorithm, backend, forced_isa(), limit)


@functools.lru_cache(maxsize=4096)
def _choose(
    problem: Problem, algorithm: str | None, backend: str | None, isa: str, limit: int | None
) -> Choice:
    every = algorithms(type(problem))
    _check_names(problem, every, algorithm, backend)
    wanted = [a for a in every if algorithm in (None, a.name) and backend in (None, a.backend)]
    candidates = tuple(_ask(a, problem, limit) for a in (every if len(wanted) != 1 else wanted))
    able = [c for c in candidates if c.why_not is None and c.algorithm in wanted]
    if not able:
        refusals = "; ".join(
            f"{c.algorithm}: {c.why_not}" for c in candidates if c.algorithm in wanted
        )
        raise ValueError(f"{problem.name} cannot run as asked: {refusals}")
    best = min(able, key=lambda c: (c.algorithm.backend == "reference", c.cost.seconds))  # type: ignore[union-attr]
    return Choice(problem, best.algorithm, candidates, _reason(able, algorithm, backend))


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


def _ask(algorithm: Algorithm, problem: Problem, limit: int | None) -> Candidate:
    why_not = algorithm.why_not(problem)
    if why_not is not None:
        return Candidate(algorithm, why_not, None, None)
    cost = algorithm.cost(problem, get_machine())
    bound = algorithm.error_bound(problem)
    rtol = getattr(problem, "rtol", None)
    if rtol is not None and bound > rtol and algorithm.name not in ("direct", "reference"):
        why_not = f"error bound {bound:.1e} is above rtol {rtol:.1e}"
    elif limit is not None and cost.workspace_bytes > limit:
        why_not = f"workspace {cost.workspace_bytes} bytes is above FASTCONV_WORKSPACE_MB"
    return Candidate(algorithm, why_not, cost, bound)


def _reason(able: list[Candidate], algorithm: str | None, backend: str | None) -> str:
    if algorithm is not None or backend is not None:
        return "asked for" if len(able) == 1 else "cheapest of those asked for"
    return "the only one that can" if len(able) == 1 else "lowest predicted cost"
