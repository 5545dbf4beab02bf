"""WHICH: of the algorithms that can, inside ``rtol``, the fastest measured or the cheapest."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from fastconv import settings
from fastconv.backends.base import Algorithm, Cost
from fastconv.dispatch.registry import algorithms, why_not_installed
from fastconv.dispatch.tuning import Tuning, current
from fastconv.forks import cached_property
from fastconv.machine import forced_isa, get_machine
from fastconv.problem import Problem
from fastconv.problem.addresses import check_addresses
from fastconv.problem.record import record, replaced

if TYPE_CHECKING:
    from fastconv.dispatch.table import Row


# Algorithms that are not to be taken, by name, and why.
Without = frozenset[tuple[str, str]]

WORKERS = "its workers' memory is above FASTCONV_WORKSPACE_MB"


@record(frozen=True)
class Candidate:
    """One algorithm's answer to a problem: why it cannot, or what it would take."""

    algorithm: Algorithm
    why_not: str | None
    cost: Cost | None
    error_bound: float | None
    measured_seconds: float | None = None

    def seconds(self, frozen: bool, measured: float | None = None) -> float:
        """Predict a call of one image: with the packing of weights that are not ``frozen``.

        ``measured`` goes before the prediction of the rest.
        """
        assert self.cost is not None
        own = self.cost.seconds if measured is None else measured
        return own + (0.0 if frozen else self.cost.packing_seconds)


@record(frozen=True)
class Choice:
    """The algorithm taken for a problem; with it, when looked at, all that were asked, and why.

    ``offers`` are not yet held against ``rtol``: a bound takes longer to find than a cost, and only
    those of the cheapest are needed to choose.
    """

    problem: Problem
    algorithm: Algorithm
    offers: tuple[Candidate, ...]
    wanted: tuple[Algorithm, ...]
    named: bool
    tuning: Tuning
    frozen: bool = True

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every algorithm's answer, its error bound with it."""
        return tuple(_bounded(offer, self.problem) for offer in self.offers)

    @cached_property
    def reason(self) -> str:
        """Why this algorithm was taken."""
        able = [c for c in self.candidates if c.why_not is None and c.algorithm in self.wanted]
        alone = len(able) == 1
        table = self.tuning.table
        row = None if table is None else table.row(self.problem)
        if table and row and _is_followed(row, self.algorithm, self.frozen) and not alone:
            return f"measured: tuned on {table.machine}"
        if self.named:
            return "asked for" if alone else "cheapest of those asked for"
        return "the only one that can" if alone else "lowest predicted cost"


def choose(
    problem: Problem,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    tuning: Tuning | None = None,
    without: Without = frozenset(),
    frozen: bool = True,
) -> Choice:
    """Choose an algorithm for ``problem`` by its image alone: batch and threads change nothing.

    ``tuning`` is the table to follow; None: the one in force. ``without`` names algorithms that
    are not to be taken, each with the reason. Weights that are not ``frozen`` are packed at the
    call, which counts on top of what tables say, for they are of frozen ones.

    Raises
    ------
    ValueError
        For an unknown algorithm or backend, or one that cannot serve, with its reason.
    """
    backend = backend if backend is not None else settings.backend()
    limit = settings.workspace_limit()
    isa = forced_isa()
    tuning = tuning if tuning is not None else current(isa)
    return _choose(_asked(problem), algorithm, backend, isa, limit, tuning, without, frozen)


@functools.lru_cache(maxsize=4096)
def _asked(problem: Problem) -> Problem:
    """Return the problem that algorithms are asked about."""
    check_addresses(problem)
    return problem.for_one_image().without_idle()


@functools.lru_cache(maxsize=4096)
def _choose(
    problem: Problem,
    algorithm: str | None,
    backend: str | None,
    isa: str,
    limit: int | None,
    tuning: Tuning,
    without: Without,
    frozen: bool,
) -> Choice:
    every = algorithms(type(problem), backend)
    _check_names(problem, every, algorithm, backend)
    wanted = tuple(a for a in every if algorithm in (None, a.name) and backend in (None, a.backend))
    row = tuning.row(problem)
    offers: list[Candidate] = []
    for a in every if len(wanted) != 1 else wanted:
        last = offers[-1] if offers else None
        is_twin = last is not None and a.twin is last.algorithm
        if last is not None and is_twin and last.why_not is None:
            offers.append(_as_its_twin(a, last, row, without))
        elif last is not None and is_twin and last.cost is None and a.objects_as_twin(problem):
            offers.append(Candidate(a, last.why_not, None, None))
        else:
            offers.append(_ask(a, problem, limit, row, without))
    asked = offers if len(wanted) == len(offers) else [c for c in offers if c.algorithm in wanted]
    best = _best(asked, problem, row, frozen)
    if best is None:
        refusals = "; ".join(
            f"{c.algorithm}: {_bounded(c, problem).why_not}"
            for c in offers
            if c.algorithm in wanted
        )
        raise ValueError(f"{problem.name} cannot run as asked: {refusals}")
    named = algorithm is not None or backend is not None
    return Choice(problem, best, tuple(offers), wanted, named, tuning, frozen)


def _best(
    offers: list[Candidate], problem: Problem, row: Row | None, frozen: bool
) -> Algorithm | None:
    """Return the best of those that can: what a row of measurements names, else the cheapest.

    A row can name any algorithm; only one that can serve counts, and never the reference
    where another can.
    """

    def rank(offer: Candidate) -> tuple[bool, bool, float]:
        followed = row is not None and _is_followed(row, offer.algorithm, frozen)
        measured = None if frozen else offer.measured_seconds
        is_reference = offer.algorithm.backend == "reference"
        return is_reference, not followed, offer.seconds(frozen, measured)

    able = sorted((c for c in offers if c.why_not is None), key=rank)
    return next((c.algorithm for c in able if _bounded(c, problem).why_not is None), None)


def _is_followed(row: Row, algorithm: Algorithm, frozen: bool) -> bool:
    """Return whether a row speaks for an algorithm: the one it names, or all it has measured."""
    name = str(algorithm)
    return name == row.algorithm if frozen else name in row.seconds


def _check_names(
    problem: Problem, every: tuple[Algorithm, ...], algorithm: str | None, backend: str | None
) -> None:
    missing = why_not_installed(backend)
    if missing is not None:
        raise ValueError(f"backend {backend!r} is not there: {missing}")
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
    without: Without,
) -> Candidate:
    why_not = algorithm.why_not(problem)
    if why_not is not None:
        return Candidate(algorithm, why_not, None, None)
    cost = algorithm.cost(problem, get_machine())
    if limit is not None and cost.workspace_bytes > limit:
        why_not = f"workspace {cost.workspace_bytes} bytes is above FASTCONV_WORKSPACE_MB"
    else:
        why_not = dict(without).get(str(algorithm))
    measured = None if row is None else row.seconds.get(str(algorithm))
    return Candidate(algorithm, why_not, cost, None, measured)


def _bounded(offer: Candidate, problem: Problem) -> Candidate:
    """Return an offer with its error bound, refused where that is above ``rtol``."""
    if offer.cost is None:
        return offer
    bound, why_not = offer.algorithm.error_bound(problem), offer.why_not
    rtol = getattr(problem, "rtol", None)
    if rtol is not None and bound > rtol and offer.algorithm.approximates:
        why_not = f"error bound {bound:.1e} is above rtol {rtol:.1e}"
    return replaced(offer, why_not=why_not, error_bound=bound)


def _as_its_twin(
    algorithm: Algorithm, twin: Candidate, row: Row | None, without: Without
) -> Candidate:
    """Return the answer of an algorithm whose twin of another backend can serve: it is the same."""
    name = str(algorithm)
    why_not = dict(without).get(name)
    measured = None if row is None else row.seconds.get(name)
    return replaced(twin, algorithm=algorithm, why_not=why_not, measured_seconds=measured)
