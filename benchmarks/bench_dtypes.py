from __future__ import annotations

import pytest

from benchmarks.cases import Case, suites
from benchmarks.conftest import Run, against_all
from benchmarks.rival import Maker


@pytest.mark.parametrize(("case", "maker"), against_all(suites()["dtypes"]))
def test_dtypes(case: Case, maker: Maker, time_case: Run) -> None:
    time_case(case, maker)
