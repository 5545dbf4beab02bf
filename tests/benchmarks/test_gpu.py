"""The GPU report without a GPU: what would be timed, and how figures are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("numba")

from benchmarks.gpu.clock import sets_for
from benchmarks.gpu.layers import BATCHES, MODES, selected
from benchmarks.gpu.report import Card, Figure, text, write

CARD = Card("a GPU", "2026-01-01", "for CUDA 13.0", "torch", 4e12, {"float32": 50e12})


def figure(name: str, seconds: float, rival: float, **more: object) -> Figure:
    given: dict[str, object] = {
        "name": name, "mode": "fp32", "batch": 1, "chosen": "direct", "flops": 2_000_000,
        "bytes": 1_000_000, "ours": {"direct": seconds, "winograd": 3e-6},
        "theirs": {"cudnn": rival, "cudnn_cl": 2 * rival}, "errors": {"direct": 1e-7},
        "missing": {},
    }  # fmt: skip
    return Figure(**{**given, **more})  # type: ignore[arg-type]


def test_layers_are_each_there_once_in_every_mode() -> None:
    layers = list(selected())
    names = [layer.name for layer in layers]
    assert len(set(names)) == len(names)
    assert {layer.mode.name for layer in layers} == {mode.name for mode in MODES}
    assert {layer.batch for layer in layers} == set(BATCHES)
    assert len(list(selected(quick=True))) < len(layers) / 2
    for layer in layers:
        problem = layer.problem()
        assert problem.channels_last
        assert problem.precision == layer.mode.precision
        assert problem.dtype == layer.dtype


def test_sets_of_arrays_do_not_fit_a_cache_nor_fill_the_memory() -> None:
    assert sets_for(1 << 30) == 1
    assert 1 < sets_for(30 << 20) <= 24
    assert sets_for(1) == 24


def test_losses_stand_beside_wins() -> None:
    told = text(CARD, [figure("won", 1e-6, 2e-6), figure("lost", 4e-6, 2e-6)])
    assert "geometric mean 1.00" in told
    assert "1 below 1, the worst lost at 0.50" in told
    assert "| won | 1 | direct | 1.0 | 2.0 |" in told


def test_what_has_no_figure_says_why() -> None:
    none = figure("none", 1e-6, 2e-6, ours={}, missing={"direct": "wrong: inf"})
    assert none.ratio is None
    assert "direct: wrong: inf" in text(CARD, [none])


def test_the_report_and_its_picture_are_written(tmp_path: Path) -> None:
    write(CARD, [figure("won", 1e-6, 2e-6)], tmp_path)
    assert json.loads((tmp_path / "gpu.json").read_text())["figures"][0]["name"] == "won"
    assert (tmp_path / "gpu-roofline.png").stat().st_size > 10_000
    assert (tmp_path / "gpu.md").read_text().startswith("# a GPU, 2026-01-01")
