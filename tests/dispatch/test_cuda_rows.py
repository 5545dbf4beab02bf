"""Every type of problem has an algorithm on the card; none is forgotten when one is added."""

from __future__ import annotations

import fastconv.problem
from fastconv.dispatch.registry import ROWS

# Products of two computed values: a network with one is refused for the card, as it was before.
WITHOUT = {"AttentionProblem", "MatmulProblem"}


def test_every_problem_has_a_row() -> None:
    names = {name for name, *_ in ROWS}
    on_card = {name for name, backend, *_ in ROWS if backend == "cuda"}
    assert names == on_card | WITHOUT
    assert not on_card & WITHOUT
    public = {name for name in fastconv.problem.__all__ if name.endswith("Problem")}
    assert public - {"Problem"} <= names
