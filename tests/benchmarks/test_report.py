from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("numba")

from benchmarks import baseline, render, report
from benchmarks.cases import CLIFFS, Case
from benchmarks.measure import Result, measure
from benchmarks.peak import Peak, measure_peak
from benchmarks.rival import Time
from benchmarks.suites import Plan, Row, thread_counts

CASE = Case("c", "conv1d", (1, 1, 4), (1, 1, 1))
EXPECTED = np.array([1.0, -1.0, 1.0, -1.0])
PEAK = Peak(1, 1e11, 3e10, 1e11)


class Fake:
    """A contestant that takes a given time and has a given error."""

    def __init__(self, seconds: float, wrong: Any = 0.0) -> None:
        self.seconds, self.wrong, self.runs = seconds, wrong, 0

    def check(self, expected: Any) -> float:
        if isinstance(self.wrong, Exception):
            raise self.wrong
        return float(self.wrong)

    def turn(self, runs: int) -> list[Time]:
        self.runs += runs
        return [(self.seconds, False)] * runs


def row(suite: str = "layers", algorithm: str = "numba.direct", **seconds: float) -> Row:
    results = {name.replace("_at_", "@"): Result(s, (s, s), 9, 0.0) for name, s in seconds.items()}
    return Row(suite, "case", "float32", algorithm, 2_000_000, 1000, results, {"gone": "no kernel"})


def test_the_slow_run_less_often_than_the_fast() -> None:
    fast, slow = Fake(1e-4), Fake(0.05)
    results = measure(CASE, {"fast": fast, "slow": slow}, EXPECTED, budget=0.2)
    assert results["fast"].seconds == pytest.approx(1e-4)
    assert results["slow"].seconds == pytest.approx(0.05)
    assert fast.runs > 50 * slow.runs > 0


def test_a_very_slow_one_runs_once() -> None:
    slow = Fake(5.0)
    assert measure(CASE, {"slow": slow}, EXPECTED, budget=0.1)["slow"].seconds == 5.0
    assert slow.runs == 1


@pytest.mark.parametrize(
    ("wrong", "word"),
    [(0.5, "wrong: error 5.0e-01"), (float("nan"), "wrong"), (KeyError("no kernel"), "no kernel")],
)
def test_wrong_answers_are_never_timed(wrong: Any, word: str) -> None:
    rival = Fake(1e-3, wrong)
    result = measure(CASE, {"rival": rival}, EXPECTED, budget=0.01)["rival"]
    assert word in str(result.why_not)
    assert result.seconds is None
    assert rival.runs == 0


def test_coarse_answers_are_timed_but_do_not_count() -> None:
    results = measure(CASE, {"coarse": Fake(1e-3, 5e-3)}, EXPECTED, budget=0.01)
    assert results["coarse"].loose
    found = Row("layers", "c", "float32", "a", 1, 1, results, {})
    assert found.seconds("coarse") is not None
    assert found.best() is None


def test_disturbed_runs_do_not_count_where_there_are_others() -> None:
    class Disturbed(Fake):
        def turn(self, runs: int) -> list[Time]:
            return [(1e-3, False), (1.0, True)] * runs

    found = measure(CASE, {"rival": Disturbed(1e-3)}, EXPECTED, budget=0.1)["rival"]
    assert found.seconds == pytest.approx(1e-3)
    assert 0.4 < found.disturbed < 0.6


def test_ratios_are_against_the_best_peer() -> None:
    found = row(fastconv=2e-3, network=1e-3, torch=4e-3, ncnn=1.5e-3)
    assert found.best() == ("ncnn", 1.5e-3)
    assert found.ratio() == pytest.approx(0.75)
    assert found.ratio("network") == pytest.approx(1.5)


def test_losses_stand_in_the_text() -> None:
    text = render.suite_text("layers", [row(fastconv=2e-3, network=1e-3, ncnn=1.5e-3)], PEAK)
    assert "1 of 1 lost: case 0.75 (ncnn)" in text
    assert "0 of 1 lost" in text
    assert "gone, in no case: no kernel" in text


def test_a_wrong_choice_stands_in_the_text() -> None:
    rows = [
        row("algorithms", "numba.direct", **{"numba.direct": 2e-3, "numba.winograd4": 1e-3}),
        row("algorithms", "numba.direct", **{"numba.direct": 1.05e-3, "numba.winograd4": 1e-3}),
    ]
    text = render.suite_text("algorithms", rows, PEAK)
    assert "in 1 of 2 cases (50%)" in text
    assert text.count("wrong choice") == 1


def test_threads_are_told_as_gains() -> None:
    times = {"fastconv_at_1": 4e-3, "fastconv_at_2": 2e-3, "torch_at_1": 4e-3, "torch_at_2": 3e-3}
    text = render.suite_text("threads", [row("threads", **times)], PEAK)
    assert "| case | fastconv | 4.000 | 2.000 | 2.00 |" in text
    assert "geometric mean 1.50" in text


def test_old_and_new_are_told_as_a_ratio() -> None:
    text = render.baseline_text("layers", [row(old=3e-3, new=2e-3)])
    assert "| 3.000 | 2.000 | 1.50 |" in text


def test_thread_counts_begin_with_one() -> None:
    assert thread_counts()[0] == 1
    assert thread_counts() == sorted(set(thread_counts()))


def test_a_quick_plan_keeps_the_quick_cases() -> None:
    quick = Plan(quick=True).cases("cliffs")
    assert quick == [case for case in CLIFFS if case.quick]
    assert [case.name for case in Plan(filter="dw31").cases("cliffs")] == ["dw31x31"]


def test_peaks_are_positive() -> None:
    found = measure_peak(1, repeat=1)
    assert min(found.flops, found.memory_bandwidth, found.cache_bandwidth) > 0


def run_report(arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(report, "FOLDER", folder)
    monkeypatch.setattr(report.peak, "measure_peak", lambda threads: PEAK)
    return CliRunner().invoke(report.main, arguments)


def test_the_report_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "--suite layers --suite algorithms --filter lenet --seconds 0.01 --peers torch"
    done = run_report([*words.split(), "--save", "mine"], tmp_path, monkeypatch)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "mine"
    text = (folder / "report.md").read_text()
    assert "## layers" in text
    assert "lenet.1" in text
    data = json.loads((folder / "report.json").read_text())
    assert [found["suite"] for found in data["rows"]] == ["layers", "algorithms"]
    assert data["rows"][0]["results"]["fastconv"]["seconds"] > 0
    assert (folder / "roofline.png").stat().st_size > 1000
    assert (folder / "roofline.svg").stat().st_size > 1000


def test_the_report_against_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--baseline", str(baseline.ROOT), "--filter", "lenet", "--seconds", "0.01"]
    done = run_report(words, tmp_path, monkeypatch)
    assert done.exit_code == 0, done.output
    data = json.loads((tmp_path / "report.json").read_text())
    assert set(data["rows"][0]["results"]) == {"new", "old", "new network", "old network"}


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--peers", "caffe"], "there are torch"), (["--baseline", "no/such"], "neither a folder")],
)
def test_what_is_not_known_is_refused(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run_report([*words, "--filter", "none"], tmp_path, monkeypatch)
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", " ").split())
