"""Which backends have which algorithms: what a test of both is parametrized over."""

from __future__ import annotations

from fastconv.dispatch import algorithms
from fastconv.problem import ConvProblem, Problem


def pairs(*names: str, problem: type[Problem] = ConvProblem) -> list[tuple[str, str]]:
    """Return (backend, algorithm) for each backend's algorithm of one of ``names``."""
    return [(a.backend, a.name) for a in algorithms(problem) if a.name in names]
