"""Settings: those that README lists are all there are, and mean what it says."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv import machine, settings
from fastconv.dispatch import Parameter, choose
from tests.libraries import COMPILED

Told = Callable[[str, str, str], None]
ROOT = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"FASTCONV_[A-Z_]+[A-Z]")


def test_every_variable_stands_in_the_readme(told: Told) -> None:
    sources = [*(ROOT / "fastconv").rglob("*.py"), ROOT / "setup.py"]
    read = set().union(*(VARIABLE.findall(path.read_text("utf-8")) for path in sources))
    table = (ROOT / "README.md").read_text("utf-8").partition("## Settings")[2]
    listed = set(VARIABLE.findall(table))
    assert read == listed
    told("README lists every setting", "variables that the source reads", f"{len(read)}, all there")


@pytest.mark.parametrize("there", machine.ISAS)
@pytest.mark.parametrize("wanted", machine.ISAS)
def test_no_instruction_set_above_the_cpu_s_is_used(
    there: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "detected_isa", lambda: there)
    monkeypatch.setenv("FASTCONV_ISA", wanted)
    assert machine.ISAS.index(machine.forced_isa()) == max(map(machine.ISAS.index, (there, wanted)))


def test_threads_of_ours_go_before_those_of_openmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_threads", None)
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    settings._default_threads.cache_clear()
    monkeypatch.delenv("FASTCONV_NUM_THREADS", raising=False)
    assert fastconv.get_num_threads() == 3
    settings._default_threads.cache_clear()
    monkeypatch.setenv("FASTCONV_NUM_THREADS", "5")
    assert fastconv.get_num_threads() == 5
    settings._default_threads.cache_clear()


@pytest.mark.parametrize("backend", COMPILED)
def test_a_call_leaves_the_gil_to_others(backend: str, told: Told) -> None:
    """Another thread of Python takes its turns while a call runs."""
    x = np.ones((24, 64, 96, 96), "f4")
    weight = Parameter(np.ones((64, 64, 3, 3), "f4"))
    out = np.empty_like(x)
    longest, turns, stop = [0.0], [0], threading.Event()

    def take_turns() -> None:
        last = time.perf_counter()
        while not stop.is_set():
            now = time.perf_counter()
            longest[0], last = max(longest[0], now - last), now
            turns[0] += 1

    def part_without_a_turn() -> float:
        longest[0], start = 0.0, time.perf_counter()
        # With `out` it is one native call: nothing else gives the GIL away meanwhile.
        F.conv2d(x, weight, padding=1, algorithm="direct", backend=backend, out=out)
        took, before = time.perf_counter() - start, turns[0]
        while turns[0] < before + 2:  # the other tells of the time of the call
            time.sleep(0.001)
        return longest[0] / took

    other = threading.Thread(target=take_turns)
    other.start()
    try:
        with settings.threads(1):
            part_without_a_turn()  # which may compile
            part = min(part_without_a_turn() for _ in range(5))
    finally:
        stop.set()
        other.join()
    # Where the GIL is kept, the other has no turn from the call's beginning to its end.
    assert part < 0.5
    told("a call releases the GIL", f"another thread's turns during a call on {backend}", "it did")


def test_a_backend_that_is_forced_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for backend in (*COMPILED, "reference"):
        monkeypatch.setenv("FASTCONV_BACKEND", backend)
        assert fastconv.explain("relu", np.ones(3, "f4")).backend == backend


def test_what_a_plan_needs_stays_below_the_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.dispatch.test_choose import problem

    monkeypatch.setenv("FASTCONV_WORKSPACE_MB", "0.5")
    choice = choose(problem())
    (cost,) = [c.cost for c in choice.offers if c.algorithm is choice.algorithm]
    assert cost is not None
    assert cost.workspace_bytes <= 2**19


@pytest.mark.parametrize(
    ("variable", "value"),
    [("FASTCONV_BACKEND", "abacus"), ("FASTCONV_ISA", "mmx"), ("FASTCONV_WORKSPACE_MB", "much")],
)
def test_a_setting_that_says_nothing_is_refused(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=rf"{variable} must be .*{value}"):
        F.conv2d(np.ones((1, 1, 5, 5), "f4"), np.ones((1, 1, 3, 3), "f4"))
