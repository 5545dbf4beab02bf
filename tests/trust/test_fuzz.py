"""Drawn problems: every operation, algorithm, dtype and form of array against float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.trust import fuzz

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


def test_the_same_problem_is_drawn_again() -> None:
    for index in (0, 7, 19):
        assert str(fuzz.draw(3, index)) == str(fuzz.draw(3, index))
