"""Parts of roofs: of what an algorithm executes, and never above 100 % without the reason."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv import nn, peak
from fastconv.dispatch import choose
from fastconv.dispatch.registry import algorithms
from fastconv.machine import get_machine
from fastconv.network import Network, compile_module, explain, explanation
from fastconv.network.profile import Profile
from fastconv.network.roofs import percent, roof_of, why_above
from fastconv.problem import ConvProblem, ConvTransposeProblem, PoolProblem
from fastconv.settings import threads
from tests.libraries import FIRST

MACHINE = get_machine()


def peak_of(rate: float) -> peak.Peak:
    names = [field.name for field in dataclasses.fields(peak.Figures)]
    return peak.Peak(
        "made up", "avx512", 1, peak.Figures(**{**dict.fromkeys(names, rate), "l3_count": 1})
    )


class Named(nn.Conv2d):
    """A layer by an algorithm that is named."""

    def __init__(self, inputs: int, outputs: int, size: int, name: str) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2)
        self.how = name

    def forward(self, x: Any) -> Any:
        return F.conv2d(x, self.weight, self.bias, padding=self.padding, algorithm=self.how)


class Layers(nn.Module):
    """A 1x1 layer, a Winograd, a depthwise and a Fourier one, a join in place, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.point = nn.Conv2d(16, 16, 1)
        self.minimal = Named(16, 16, 3, "winograd4")
        self.depth = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.fourier = nn.Conv2d(32, 32, 31, padding=15, groups=32)
        self.flat = nn.Flatten()
        self.last = nn.Linear(32, 100)

    def forward(self, x: Any) -> Any:
        joined = np.concatenate([self.point(x), self.minimal(x)], axis=1)
        return self.last(self.flat(F.global_avg_pool(self.fourier(self.depth(joined)))))


@pytest.fixture(scope="module")
def network() -> Network:
    return compile_module(Layers(), (1, 16, 64, 64))


def taken(network: Network, rate: float, monkeypatch: pytest.MonkeyPatch) -> Profile:
    monkeypatch.setattr(peak, "measured", lambda: peak_of(rate))
    with threads(1):
        return network.profile(np.ones((1, 16, 64, 64), "f4"), runs=1)


def percents(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"(\d+)%", text)]


def test_parts_of_a_high_roof_need_no_reason(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = taken(network, 9e15, monkeypatch)
    assert all(row.roof is None or 0 < row.roof <= 1 for row in found.rows)
    assert found.why_above is None
    assert "> 100%" not in str(found)
    assert "roof as measured here: " in str(found)


def test_nothing_is_above_the_roof_without_a_reason(
    network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = taken(network, 1.1e6, monkeypatch)
    text = str(found)
    assert "> 100% of roof (the clock is above the measurement's" in found.title
    assert "\n> 100%: the clock is above the measurement's" in text
    assert max(percents(text)) <= 100
    plain = json.loads(json.dumps(found.as_dict()))
    assert all((row["roof"] or 0) <= 1 or row["why_above"] for row in plain["rows"])
    assert plain["peak"]["figures"]["l1"] == 1.1e6
    found.save_trace(tmp_path / "trace.json")
    for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"][1:]:
        arguments = event["args"]
        assert (arguments["roof"] == "> 100%") == bool(arguments["why_above"])
    pytest.importorskip("matplotlib")
    from fastconv.network.drawing import draw_timeline

    _, roofs = draw_timeline(found).axes
    assert max(bar.get_height() for bar in roofs.patches) == 100
    assert roofs.get_ylim()[1] < 110
    assert "the clock" in roofs.get_title(loc="right")


def test_what_runs_no_kernel_has_no_part(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    found = taken(network, 1e9, monkeypatch)
    (row,) = [row for row in found.rows if row.kind == "concatenate"]
    assert (row.algorithm, row.roof, row.flops) == ("in place", None, 0)
    named = {row.layer: row.algorithm for row in found.rows}
    assert named["minimal"] == f"{FIRST}.winograd4"
    assert named["fourier"] == f"{FIRST}.fft"
    assert all(row.roof for row in found.rows if row.kind != "concatenate")


def test_a_join_in_part_counts_what_it_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    # The input is elsewhere.
    layer = nn.Conv2d(24, 8, 1)
    network = compile_module(lambda x: F.relu(np.concatenate([x, layer(x)], axis=1)), (1, 24, 8, 8))
    monkeypatch.setattr(peak, "measured", lambda: peak_of(1e9))
    with threads(1):
        rows = network.profile(np.ones((1, 24, 8, 8), "f4"), runs=1).rows
    (row,) = [row for row in rows if row.kind == "concatenate"]
    assert row.roof_seconds == pytest.approx(2 * 24 * 64 * 4 / 1e9)


def conv(c: int, size: int, k: int, g: int = 1, **options: Any) -> ConvProblem:
    x, w = np.zeros((1, c, size, size), "f4"), np.zeros((c, c // g, k, k), "f4")
    return ConvProblem.of(2, x, w, **{"padding": k // 2, "groups": g, **options})


def work_of(problem: Any, name: str) -> Any:
    (algorithm,) = [a for a in algorithms(type(problem)) if str(a) == f"{FIRST}.{name}"]
    assert algorithm.why_not(problem) is None
    return algorithm.work(problem, MACHINE)


def test_minimal_filters_count_their_own_multiplications() -> None:
    problem = conv(64, 56, 3)
    assert work_of(problem, "direct").flops == problem.flops
    # Tiles of m x m outputs take (m + 2)^2 multiplications each.
    for name, m in (("winograd", 2), ("winograd4", 4)):
        work = work_of(problem, name)
        assert work.flops == 2 * (56 // m) ** 2 * (m + 2) ** 2 * 64 * 64
        images = 2 * 64 * 56 * 56
        assert work.bytes == 4 * (images + (m + 2) ** 2 * 64 * 64)
    batch = dataclasses.replace(problem, batch=3)
    assert work_of(batch, "winograd").flops == 3 * work_of(problem, "winograd").flops


def test_fourier_transforms_count_their_passes() -> None:
    problem = conv(64, 250, 31, 64, rtol=1e-3)
    work = work_of(problem, "fft")
    # One block of 288 x 288 at most, half a complex matrix: forward and back, and a product.
    cells = 288 * 288
    most = 64 / 2 * (2 * 5 * cells * np.log2(cells) + 6 * cells) * 1.5
    assert most / 8 < work.flops < most
    assert work.flops < problem.flops / 5
    assert work.bytes > problem.bytes


def test_outer_products_count_two_lines() -> None:
    problem = dataclasses.replace(conv(8, 64, 31, 8), separable=True)
    work = work_of(problem, "separable")
    assert work.flops == problem.flops * 62 / 31**2
    plane = 8 * 64 * 64 * 4
    assert work.bytes == pytest.approx(4 * plane, rel=0.05)


def test_transposed_convolutions_count_what_lies_inside() -> None:
    x, w = np.zeros((1, 8, 5, 5), "f4"), np.zeros((8, 8, 3, 3), "f4")
    whole, cut = (ConvTransposeProblem.of(2, x, w, padding=pad) for pad in (0, 2))
    assert work_of(whole, "direct").flops == whole.flops
    # Of each line of 15 products, those that fall on the 3 cells that are left.
    assert work_of(cut, "direct").flops == whole.flops * (3 * 3) ** 2 / 15**2


def test_cells_between_windows_are_not_read() -> None:
    x = np.zeros((1, 64, 32, 32), "f4")
    problem = PoolProblem.of("max", 2, x, 1, stride=4)
    read, written = x.nbytes / 16, 64 * 8 * 8 * 4
    assert choose(problem).algorithm.work(problem, MACHINE).bytes == read + written


def test_carried_dtypes_count_what_is_computed() -> None:
    layer = {"padding": 1, "algorithm": "direct", "backend": "numba"}
    pytest.importorskip("numba")
    for dtype, computed, times in (("f2", "float32", 1), ("c8", "float32", 4)):
        x, w = np.zeros((1, 8, 9, 9), dtype), np.zeros((8, 8, 3, 3), dtype)
        (report,) = explain("conv2d", x, w, **layer).reports
        (choice,) = explain("conv2d", x, w, **layer).choices
        assert choice is not None
        work = choice.algorithm.work(choice.problem, MACHINE)
        assert (work.dtype, work.flops) == (computed, times * report.flops)


def test_weights_in_a_cache_are_held_against_it() -> None:
    figures = peak.Figures(1e12, 1e12, 8e11, 4e11, 1e11, 1e10, 1e10, 1)
    here = peak.Peak("made up", "avx512", 1, figures)
    (choice,) = explain("linear", (1, 256), np.zeros((256, 256), "f4")).choices
    assert choice is not None
    roof = roof_of(choice.algorithm, choice.problem, here)
    size = choice.problem.bytes
    if not MACHINE.l1_bytes < size < MACHINE.l2_bytes:
        pytest.skip("the caches are of other sizes")
    first = MACHINE.l1_bytes
    assert roof.seconds == pytest.approx(first / 8e11 + (size - first) / 4e11)
    assert roof.bound_by == "memory"
    fixed = roof_of(choice.algorithm, choice.problem, None)
    assert fixed.seconds == max(
        choice.problem.flops / MACHINE.peak_flops(np.dtype("f4")), size / MACHINE.memory_bandwidth
    )


LAYERS: dict[str, tuple[Any, ...]] = {
    "1x1": ("conv2d", (1, 32, 14, 14), (32, 32, 1, 1), {}),
    "winograd": ("conv2d", (1, 32, 14, 14), (32, 32, 3, 3), {"padding": 1}),
    "fft": ("conv2d", (1, 8, 64, 64), (8, 1, 21, 21), {"padding": 10, "groups": 8, "rtol": 1e-3}),
    "linear": ("linear", (1, 64), np.zeros((100, 64), "f4"), {}),
    "relu": ("relu", (1, 3, 100), {}),
}


def timed(
    able: Any, *operands: Any, frozen: bool = True
) -> tuple[dict[str, float], dict[str, str]]:
    """Stand in for a race: every compiled algorithm takes 0.1 ms."""
    names = [str(c.algorithm) for c in able if c.algorithm.backend != "reference"]
    return dict.fromkeys(names, 1e-4), {}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rate", [1.1e6, 9e15])
def test_explanations_give_a_reason_too(
    name: str, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peak, "measured", lambda: peak_of(rate))
    monkeypatch.setattr(explanation, "race", timed)
    *arguments, options = LAYERS[name]
    told = explain(*arguments, measure=True, **options)
    (report,) = told.reports
    assert report.limits == "as measured here"
    text = str(told)
    assert max(percents(text), default=0) <= 100
    above = any((c.roof or 0) > 1.005 for c in report.contenders)
    assert above == (rate < 1e9)
    assert ("> 100%: the clock is above" in text) == above
    # What was not measured has no part: it would be of figures that it is not predicted from.
    assert all((c.roof is None) == (c.measured_seconds is None) for c in report.contenders)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", LAYERS)
def test_predictions_are_held_against_the_fixed_figures(name: str) -> None:
    *arguments, options = LAYERS[name]
    told = explain(*arguments, **options)
    (report,), text = told.reports, str(told)
    assert report.limits == "by the fixed figures"
    assert ", by the fixed figures" in text
    above = any((c.roof or 0) > 1.005 for c in report.contenders)
    assert ("> 100%: these are figures of a common machine" in text) == above
    assert max(percents(text), default=0) <= 100
    assert max(map(len, text.splitlines())) <= 80


def test_nothing_is_measured_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AssertionError

    monkeypatch.setattr(peak, "measured", fail)
    fastconv.show_config()
    explain("relu", (1, 3, 100))
    nn.Conv2d(3, 4, 3).summary((1, 3, 9, 9))


def test_percents() -> None:
    assert [percent(part) for part in (None, 0.5, 1.0, 1.004, 1.006, 24.0)] == [
        "-", "50%", "100%", "100%", "> 100%", "> 100%",
    ]  # fmt: skip
    assert why_above(1.004, "as measured here") is None
