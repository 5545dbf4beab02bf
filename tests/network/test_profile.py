"""Profiles: every operation's time, and what is written of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from fastconv import models
from fastconv.network import Network, Port, compile_module
from fastconv.network.profile import Profile
from fastconv.settings import threads


@pytest.fixture(scope="module")
def taken() -> Profile:
    network = compile_module(models.convnet1(), (1, 1, 28, 28))
    with threads(1):
        return network.profile(np.ones((2, 1, 28, 28), "f4"), runs=3)


def test_every_operation_has_its_time(taken: Profile) -> None:
    assert [row.layer for row in taken.rows if row.flops] == ["layer1.0", "layer2.0", "fc"]
    first = next(row for row in taken.rows if row.layer == "layer1.0")
    assert first.fused == ("layer1.1 (BatchNorm2d)", "layer1.2 (ReLU)")
    assert first.flops == 2 * 2 * 28 * 28 * 16 * 25
    assert first.flops_per_second == first.flops / first.seconds
    assert taken.peak is not None
    # By the tests' own figures, at which cells outlast operations.
    moved = 2 * 28 * 28 * 17 * 4 + 16 * 26 * 4
    compute, memory = (first.flops / taken.peak.flops("float32"), moved / 1e15)
    assert first.roof_seconds == pytest.approx(max(compute, memory), rel=1e-6)
    assert first.roof == pytest.approx(first.roof_seconds / first.seconds)
    assert sum(row.share for row in taken.rows) == pytest.approx(1)
    begins = [row.begin_seconds for row in taken.rows]
    assert begins == sorted(begins)
    assert all(row.seconds > 0 for row in taken.rows)
    assert taken.seconds > 0
    assert (taken.runs, taken.threads, taken.input_shapes) == (3, 1, ((2, 1, 28, 28),))
    assert taken.roof == pytest.approx(
        sum(row.roof_seconds or 0 for row in taken.rows) / taken.seconds
    )


def test_the_table_has_a_line_an_operation(taken: Profile) -> None:
    title, header, rule, *lines, limits, last = str(taken).splitlines()
    assert limits == f"roof as measured here: {taken.peak}"
    assert title == taken.title
    assert title.startswith("ConvNet1 2x1x28x28, 1 thread: ")
    assert title.endswith("% of roof")
    assert header.split() == ["layer", "kind", "algorithm", "time", "FLOP/s", "share", "roof"]
    assert set(rule) == {"-", " "}
    assert len(lines) == len(taken.rows)
    assert last.endswith("; medians of 3 runs")


def test_plain_values_are_json(taken: Profile) -> None:
    plain = json.loads(json.dumps(taken.as_dict()))
    assert plain["seconds"] == taken.seconds
    assert len(plain["rows"]) == len(taken.rows)
    assert {"layer", "kind", "algorithm", "seconds", "share", "flops_per_second", "roof"} <= set(
        plain["rows"][0]
    )


def test_traces_are_chromes(taken: Profile, tmp_path: Path) -> None:
    taken.save_trace(tmp_path / "trace.json")
    told = json.loads((tmp_path / "trace.json").read_text())
    events = [event for event in told["traceEvents"] if event["ph"] == "X"]
    assert len(events) == len(taken.rows)
    for event, row in zip(events, taken.rows, strict=True):
        assert event["name"] == (row.layer or row.kind)
        assert event["dur"] == pytest.approx(row.seconds * 1e6)
        assert event["ts"] == pytest.approx(row.begin_seconds * 1e6)
        assert {"pid", "tid", "cat"} <= event.keys()
    ends = [event["ts"] + event["dur"] for event in events]
    assert all(later["ts"] >= end - 1e-6 for end, later in zip(ends, events[1:], strict=False))


def test_timelines_are_pictures(taken: Profile, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    taken.save_timeline(tmp_path / "timeline.png")
    assert (tmp_path / "timeline.png").read_bytes().startswith(b"\x89PNG")
    from fastconv.network.drawing import draw_timeline

    bars, roofs = draw_timeline(taken).axes
    assert bars.get_title() == taken.title
    labels = [text.get_text().rsplit(" ", 1)[0] for text in bars.get_legend().get_texts()]
    assert sorted(labels) == sorted({row.kind for row in taken.rows})
    assert "roof" in roofs.get_ylabel()


def test_pythons_operations_are_timed_too() -> None:
    def forward(x: Any) -> Any:
        return np.cos(F.relu(x))

    network = compile_module(forward, (1, 4))
    rows = network.profile(np.ones((1, 4), "f4"), runs=1).rows
    assert [(row.kind, row.algorithm == "numpy") for row in rows] == [
        ("relu", False), ("cos", True),
    ]  # fmt: skip
    assert (rows[1].roof, rows[1].flops_per_second) == (None, 0)


def test_what_cannot_be_profiled_says_so() -> None:
    network = compile_module(models.convnet1(), (1, 1, 28, 28))
    with pytest.raises(ValueError, match="one run or more, but got 0"):
        network.profile(np.ones((1, 1, 28, 28), "f4"), runs=0)
    with pytest.raises(TypeError, match="takes float32, but got float64"):
        network.profile(np.ones((1, 1, 28, 28)))
    port = Port("x", ("n", 3), "float32")
    network = Network(np.sort, [port], [port], "sorting")
    with pytest.raises(ValueError, match="'sorting' looks at data"):
        network.profile(np.ones((1, 3), "f4"))
