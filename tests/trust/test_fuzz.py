"""Drawn problems: every operation, algorithm, dtype and form of array against float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import fastconv.functional as F
from fastconv.problem import ConvProblem
from tests.libraries import COMPILED
from tests.trust import fuzz
from tests.trust.calls import able

# Of the short form's, those that C or NumPy runs: about 500. `make fuzz` draws 20,000.
SHORT, FULL = 1000, 6000
PARTS = 10


@pytest.mark.parametrize("part", range(PARTS))
def test_drawn_problems(
    part: int,
    scale: Callable[[int, int], int],
    told: Callable[[str, str, str], None],
) -> None:
    count = scale(SHORT, FULL) // PARTS
    numba: tuple[str, ...] = ()
    if count * PARTS == SHORT:
        # Numba compiles a kernel for each dtype: one, and in one part.
        numba = ("float32",) if part == 0 else ("none",)
    tally = fuzz.run(0, range(part * count, (part + 1) * count), numba=numba)
    assert not tally.failures, "\n".join(tally.failures)
    told(
        "every algorithm stays inside its bound; whole numbers are exact",
        f"drawn problems {part * count} to {(part + 1) * count - 1} of seed 0",
        f"{tally.count} held, {len(tally.reached)} pairs of function and algorithm, at most "
        f"{tally.worst:.2f} of a bound",
    )


@pytest.mark.parametrize("backend", COMPILED)
def test_bounds_are_held_and_say_something(backend: str, told: Callable[..., None]) -> None:
    """An error is below what its algorithm states, and not far below it."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 48, 40, 40)), rng.standard_normal((32, 48, 3, 3))
    exact = F.conv2d(x, w, backend="reference")
    problem = ConvProblem.of(2, x.astype("f4"), w.astype("f4"), rtol=10.0)
    parts = {}
    for algorithm in able(problem):
        if algorithm.backend != backend or not algorithm.approximates:
            continue
        result = algorithm.plan(problem, w.astype("f4"), None).run(x.astype("f4"), None)
        error = np.abs(result - exact).max() / np.sqrt(problem.sum_length)
        parts[algorithm.name] = error / algorithm.error_bound(problem)
    assert min(parts.values()) > 0.15, parts
    assert max(parts.values()) < 1, parts
    told(
        "every algorithm stays inside its bound; whole numbers are exact",
        f"{', '.join(parts)} of backend {backend}, 3 x 3 over 48 channels",
        f"{min(parts.values()):.2f} to {max(parts.values()):.2f} of their bounds",
    )


def test_the_same_problem_is_drawn_again() -> None:
    for index in (0, 7, 19):
        assert str(fuzz.draw(3, index)) == str(fuzz.draw(3, index))
