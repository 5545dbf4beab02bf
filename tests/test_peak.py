"""The machine's limits: how they are measured, kept and read, and that no choice follows them."""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import kept, peak
from fastconv.backends.base import Work
from fastconv.backends.native import peak as programs
from fastconv.dispatch import choose, tuning
from fastconv.dispatch.choose import _choose
from fastconv.machine import cpu_model, get_machine
from fastconv.problem import ConvProblem
from fastconv.settings import cores_allowed
from tests.libraries import LIBRARIES, use

# What the tests' own stand-in replaces.
measured = peak.measured
FIGURES = peak.Figures(2e11, 1e11, 4e11, 2e11, 1e11, 2e10, 3e10, 1)
posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners are looked at on POSIX")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "MEMORY_BYTES", (1 << 20, 1 << 20))


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[peak.Peak]:
    """Keep files in a folder of their own, and count what is measured."""
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path))
    count: list[peak.Peak] = []

    def stand_in(library: Any, **options: Any) -> peak.Peak:
        count.append(of_here())
        return count[-1]

    monkeypatch.setattr(peak, "measure", stand_in)
    peak.forget()
    return count


def of_here(figures: peak.Figures = FIGURES) -> peak.Peak:
    return peak.Peak(cpu_model(), get_machine().isa, cores_allowed(), figures)


@pytest.mark.parametrize("name", LIBRARIES)
def test_what_is_timed_does_its_work(
    name: str, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(name, monkeypatch)
    library = importlib.import_module(f"fastconv.backends.{name.split()[0]}.library")
    machine = get_machine()
    gauges = peak.gauges_of(library, machine, 2)
    assert list(gauges) == ["float32", "float64", "l1", "l2", "l3", "memory", "together"]
    for gauge in gauges.values():
        gauge.run()
    for dtype in ("float32", "float64"):
        # Every chain stays at 1, and their sum is stored.
        lanes = machine.lanes(np.dtype(dtype))
        (sink,) = gauges[dtype].memory
        sums = sink.view(dtype).reshape(2, -1)[:, :lanes]
        assert any((row == programs.CHAINS).all() for row in sums)
        steps = programs.ITEM_STEPS * programs.PARTS * 2
        assert gauges[dtype].amount == 2 * programs.CHAINS * lanes * steps
    for level in ("l1", "l2", "l3", "memory"):
        gauge = gauges[level]
        assert gauge.amount % (machine.figures.vector_bytes * programs.SUMS) == 0
        assert gauge.amount >= gauge.memory[0].nbytes * 0.9


@pytest.mark.parametrize("name", LIBRARIES)
def test_all_that_shall_be_read_is_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(name, monkeypatch)
    library = importlib.import_module(f"fastconv.backends.{name.split()[0]}.library")
    machine = get_machine()
    monkeypatch.setattr(programs, "LEAST_BYTES", 0)
    source = programs.filled(8 << 10)
    words = source.view("u8")
    words[:] = np.random.default_rng(0).integers(0, 2**63, len(words), dtype="u8")
    gauge = programs.reading(library, machine, source, 1)
    gauge.run()
    vector = machine.figures.vector_bytes // 8
    folded = np.bitwise_xor.reduce(words.reshape(-1, vector))
    found = gauge.memory[1][: machine.figures.vector_bytes].view("u8")
    # Several items, each of which stores what it read: the last one's stays.
    items = gauge.program.stages[0, 2]
    parts = np.bitwise_xor.reduce(words.reshape(items, -1, vector), axis=1)
    assert (found == folded).all() or any((found == part).all() for part in parts)


def test_the_best_of_many_samples_counts(small: None) -> None:
    library = peak.library_here()
    seconds = {"float32": 1e-3, "l1": 2e-3, "memory": 4e-3, "together": 3e-3}
    asked: dict[str, int] = {}

    def stopwatch(name: str, run: Callable[[], Any]) -> float:
        asked[name] = asked.get(name, 0) + 1
        # A neighbour is busy but for one sample.
        return seconds.get(name, 5e-3) * (1 if asked[name] == 3 else 50)

    told: list[float] = []
    found = peak.measure(library, stopwatch=stopwatch, progress=told.append)
    gauges = peak.gauges_of(library, get_machine())
    assert found.figures.float32 == gauges["float32"].amount / 1e-3
    assert found.figures.l1 == gauges["l1"].amount / 2e-3
    assert found.figures.memory == gauges["memory"].amount / 4e-3
    assert found.figures.together == gauges["together"].amount / 3e-3
    assert min(asked.values()) > peak.FEWEST_ROUNDS
    assert told == sorted(told)
    assert (found.cpu, found.isa, found.cores) == dataclasses.astuple(of_here())[:3]


def test_slow_machines_take_few_samples(small: None) -> None:
    rounds: list[float] = []
    gauges = peak.gauges_of(peak.library_here(), get_machine())
    peak.best_rates(gauges, stopwatch=lambda name, run: 1.0, progress=rounds.append)
    assert len(rounds) == peak.FEWEST_ROUNDS


def test_memory_seconds_fill_the_caches_first() -> None:
    machine = dataclasses.replace(get_machine(), l1_bytes=1000, l2_bytes=10_000, l3_bytes=50_000)
    here = of_here()

    def seconds(size: float, threads: int = 1) -> float:
        return here.memory_seconds(size, machine, threads)

    assert seconds(800) == pytest.approx(800 / 4e11)
    assert seconds(5000) == pytest.approx(1000 / 4e11 + 4000 / 2e11)
    caches = 1000 / 4e11 + 9000 / 2e11 + 50_000 / 1e11
    assert seconds(60_000) == pytest.approx(caches)
    assert seconds(100_000) == pytest.approx(caches + 40_000 / 2e10)
    # Two threads have caches of their own but one third, and share the way to memory.
    assert seconds(20_000, 2) == pytest.approx(2000 / 8e11 + 18_000 / 4e11)
    assert seconds(1e9, 2) == pytest.approx(1e9 / 3e10, rel=1e-2)
    compute, memory = here.seconds(Work(4e11, 1600, "float32"), machine, threads=2, pieces=2)
    assert (compute, memory) == (1.0, pytest.approx(2 * 800 / 8e11))
    assert here.flops("float64") == here.flops("complex64") == 1e11
    assert here.flops("int8") == here.flops("float16") == 2e11


def test_figures_are_measured_once_and_kept(made: list[peak.Peak]) -> None:
    assert peak.known() is None
    assert not made
    assert measured() == of_here()
    assert measured() == peak.known() == of_here()
    assert len(made) == 1
    peak.forget()
    assert peak.known() == of_here()
    assert measured() == of_here()
    assert len(made) == 1
    path = peak.path_here()
    assert path.parent == tuning.default_path(get_machine().isa).parent
    # The folder is a tuning table's too, which there is none of.
    assert str(tuning.current(get_machine().isa)) in ("none", "off")


def _json(**changes: Any) -> bytes:
    plain = {"what": peak.WHAT, "format": peak.FORMAT, **dataclasses.asdict(of_here())}
    return json.dumps({**plain, **changes}).encode()


FOREIGN: dict[str, Callable[[], bytes]] = {
    "no JSON": lambda: b"{",
    "a list": lambda: b"[1]",
    "nested": lambda: b"[" * 100_000,
    "nothing": lambda: b"",
    "another format": lambda: _json(format=peak.FORMAT + 1),
    "another kind": lambda: _json(what="fastconv tuning table"),
    "another CPU": lambda: _json(cpu="Abacus 9000"),
    "another instruction set": lambda: _json(isa="mmx"),
    "other cores": lambda: _json(cores=4096),
    "no figures": lambda: _json(figures=None),
    "a figure missing": lambda: _json(figures={"float32": 1e11}),
    "a figure of text": lambda: _json(figures={**dataclasses.asdict(FIGURES), "l1": "fast"}),
    "a figure too small": lambda: _json(figures={**dataclasses.asdict(FIGURES), "l2": 0.0}),
    "a figure beyond numbers": lambda: _json(
        figures={**dataclasses.asdict(FIGURES), "l3": float("nan")}
    ),
    "no caches": lambda: _json(figures={**dataclasses.asdict(FIGURES), "l3_count": 0}),
}


@pytest.mark.parametrize("how", FOREIGN)
def test_foreign_files_are_ignored_and_replaced(how: str, made: list[peak.Peak]) -> None:
    kept.write(peak.path_here(), FOREIGN[how]())
    assert peak.known() is None
    assert measured() == of_here()
    assert len(made) == 1
    peak.forget()
    assert peak.known() == of_here()


def test_damaged_files_are_ignored(made: list[peak.Peak]) -> None:
    measured()
    path = peak.path_here()
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole.replace(b"200000000000", b"300000000000"), b"", whole[5:]):
        assert damaged != whole
        path.write_bytes(damaged)
        peak.forget()
        assert peak.known() is None


@posix
def test_files_that_others_may_write_are_ignored(made: list[peak.Peak]) -> None:
    measured()
    peak.path_here().chmod(0o666)
    peak.forget()
    assert peak.known() is None


def test_a_folder_that_cannot_be_written_is_no_error(made: list[peak.Peak], tmp_path: Path) -> None:
    (tmp_path / "tuning").write_text("a file")
    assert measured() == of_here()
    assert measured() == of_here()
    assert len(made) == 1
    peak.forget()
    assert measured() == of_here()
    assert len(made) == 2


def test_each_instruction_set_has_figures_of_its_own(
    made: list[peak.Peak], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = peak.path_here()
    measured()
    monkeypatch.setenv("FASTCONV_ISA", "generic")
    if get_machine().isa != "generic" or first == peak.path_here():
        pytest.skip("there is one instruction set")
    assert peak.known() is None


def test_nothing_is_measured_where_nothing_can_run(
    made: list[peak.Peak], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peak, "library_here", lambda: None)
    assert measured() is None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_terminal_is_told(
    stream: type[io.StringIO], made: list[peak.Peak], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = stream()
    monkeypatch.setattr(sys, "stderr", shown)
    measured()
    assert ("measuring this machine's limits" in shown.getvalue()) == shown.isatty()


def test_show_config_tells_and_never_measures(made: list[peak.Peak]) -> None:
    assert "not measured yet" in fastconv.show_config()["limits"]
    assert not made
    measured()
    told = fastconv.show_config()["limits"]
    assert told == str(of_here())
    assert told.startswith("200 GFLOP/s float32, 100 float64 a core; reads L1 400, L2 200, L3 100")


@pytest.mark.parametrize("rate", [1.1e6, 0.9e16])
def test_choices_never_follow_what_was_measured(rate: float, made: list[peak.Peak]) -> None:
    problems = [
        ConvProblem.of(
            2, np.zeros((1, c, size, size), "f4"), np.zeros((c, c // g, k, k), "f4"),
            padding=k // 2, groups=g,
        )
        for c, size, k, g in (
            (64, 56, 3, 1), (512, 7, 3, 1), (16, 112, 1, 1), (96, 28, 7, 96), (8, 224, 31, 8),
        )
    ]  # fmt: skip

    def choices() -> list[tuple[str, float | None]]:
        _choose.cache_clear()
        found = [choose(problem) for problem in problems]
        return [(str(c.algorithm), o.cost and o.cost.seconds) for c in found for o in c.offers]

    before = choices()
    figures = peak.Figures(**{**dict.fromkeys(dataclasses.asdict(FIGURES), rate), "l3_count": 1})
    kept.write(peak.path_here(), _json(figures=dataclasses.asdict(figures)))
    assert peak.known() == of_here(figures)
    assert choices() == before


def test_what_chooses_cannot_ask() -> None:
    # The floors forbid what is below `peak` to import it; nor is it asked by another way.
    folder = Path(fastconv.__file__).parent
    files = [*(folder / "dispatch").rglob("*.py"), *(folder / "backends").rglob("*.py")]
    assert not [f for f in files if "fastconv.peak" in f.read_text(encoding="utf-8")]
