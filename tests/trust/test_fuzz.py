"""Drawn problems: every operation, algorithm, dtype and form of array against float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.trust import fuzz

# In the short form Numba has the dtype whose kernels other tests compile too.
SHORT, FULL = 500, 20_000
PARTS = 10


@pytest.mark.parametrize("part", range(PARTS))
def test_drawn_problems(
    part: int,
    scale: Callable[[int, int], int],
    told: Callable[[str, str, str], None],
) -> None:
    count = scale(SHORT, FULL) // PARTS
    short = count * PARTS == SHORT
    tally = fuzz.run(
        0, range(part * count, (part + 1) * count), numba=("float32",) if short else ()
    )
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
