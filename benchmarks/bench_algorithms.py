from __future__ import annotations

import pytest

from benchmarks import ours
from benchmarks.cases import Case, suites
from benchmarks.conftest import Run
from benchmarks.rival import Maker

PAIRS = [
    pytest.param(case, call, id=f"{case.name}-{call.name}")
    for case in suites()["algorithms"]
    for call in ours.candidates(case)
]


@pytest.mark.parametrize(("case", "call"), PAIRS)
def test_algorithms(case: Case, call: Maker, time_case: Run) -> None:
    time_case(case, call)
