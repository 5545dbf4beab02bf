from __future__ import annotations

import pytest

from benchmarks.cases import Case, suites
from benchmarks.conftest import Run, against_all
from benchmarks.rival import Maker
from benchmarks.suites import thread_counts


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize(("case", "maker"), against_all(suites()["threads"]))
def test_threads(case: Case, maker: Maker, threads: int, time_case: Run) -> None:
    time_case(case, maker, threads)
