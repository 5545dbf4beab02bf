"""What the files for pytest-benchmark share: options, and one contestant on one case.

`pytest benchmarks --benchmark-only`; to compare contestants, `--benchmark-group-by=group`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from benchmarks import ours
from benchmarks.cases import Case
from benchmarks.measure import WRONG, expect
from benchmarks.peers import PEERS
from benchmarks.rival import Maker, refusal

MAKERS: tuple[Maker, ...] = (ours.Call(), ours.InNetwork(), *PEERS)
Run = Callable[..., None]


def pytest_addoption(parser: Any) -> None:
    group = parser.getgroup("fastconv")
    group.addoption("--threads", type=int, default=1, help="threads of every contestant")
    group.addoption("--layout", choices=["NCHW", "NHWC"], default="NCHW", help="of fastconv")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: Any) -> None:
    """Let pytest-benchmark measure here, though the tests' settings turn it off."""
    if "--benchmark-disable" not in config.invocation_params.args:
        config.option.benchmark_disable = False


def against_all(cases: Iterable[Case]) -> list[Any]:
    """Pair every case with every contestant that may run it, for parametrize."""
    return [
        pytest.param(case, maker, id=f"{case.name}-{maker.name}")
        for case in cases
        for maker in MAKERS
        if maker.can(case) is None
    ]


@pytest.fixture
def time_case(benchmark: Any, request: Any) -> Run:
    """Return a function that builds, checks and times one contestant on one case."""

    def run(case: Case, maker: Maker, threads: int | None = None) -> None:
        if (why_not := refusal(maker, case)) is not None:
            pytest.skip(why_not)
        if maker.name == "fastconv" and request.config.getoption("--layout") == "NHWC":
            maker = ours.Call(last=True)
        threads = threads or request.config.getoption("--threads")
        expected = expect(case)
        rival = maker.build(case, threads)
        assert rival.check(expected) <= WRONG.get(case.dtype, 0.0)
        benchmark.group = case.name
        benchmark.extra_info |= {"threads": threads, "flops": case.flops(expected.size)}
        with rival.context():
            benchmark(rival.run)

    return run
