from __future__ import annotations

import dataclasses
import importlib.util
import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("numba")

from benchmarks import baseline, functional, measure, ours, render, report
from benchmarks.cases import Case, layers
from benchmarks.measure import LOOSE, Result, expect
from benchmarks.peak import Peak
from benchmarks.peers import PEERS, Peer
from benchmarks.peers.pytorch import Torch, array_of, tensor
from benchmarks.rival import Rival
from benchmarks.suites import Plan, Row, run

CASES = functional.cases()
SMALL = [case for case in CASES if prod(case.shape) <= 10000 and case.flops(1) < 10**6]
PEAK = Peak(1, 1e11, 3e10, 1e11)
CALLED = (
    "linear relu gelu sigmoid softmax log_softmax max_pool2d avg_pool2d adaptive_avg_pool2d "
    "batch_norm layer_norm group_norm instance_norm conv_transpose2d conv_transpose1d conv1d "
    "conv3d interpolate pad unfold fold pixel_shuffle prelu conv2d"
)


def in_torch(case: Case) -> Any:
    """Return what PyTorch says in float64, of the same numbers."""
    torch = pytest.importorskip("torch")
    arrays, named = case.arguments()
    tensors = [torch.from_numpy(measure.wide(array)) for array in arrays]
    others = {name: torch.from_numpy(measure.wide(array)) for name, array in named.items()}
    function = getattr(torch.nn.functional, case.op)
    return function(*tensors, **others, **case.options).numpy()


def named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def test_every_function_is_there_small_and_larger() -> None:
    for op in CALLED.split():
        sizes = [prod(case.shape) for case in CASES if case.op == op]
        assert 4 * min(sizes) < max(sizes), op


def test_the_layers_are_those_of_the_table_with_a_bias() -> None:
    found = [case for case in CASES if case.group == "layers"]
    assert [case.name for case in found] == [case.name for case in layers()]
    for case, layer in zip(found, layers(), strict=True):
        assert (case.shape, case.weight_shape) == (layer.shape, layer.weight_shape)
        assert case.options == layer.options
        assert case.extra == {"bias": (layer.out_channels,)}
    assert max(case.each("dilation")[0] for case in found) == 2


def test_the_groups_and_dtypes() -> None:
    groups = {case.group for case in CASES}
    assert groups == {"layers", "small", "other functions", "dtypes", "channels last"}
    dtypes = {case.dtype for case in CASES}
    bfloat16 = {"bfloat16"} if importlib.util.find_spec("ml_dtypes") else set()
    assert dtypes == {"float32", "float64", "float16", *bfloat16}
    assert len([case for case in CASES if case.group == "small"]) == 17


@pytest.mark.parametrize("case", [*CASES, *functional.OVERHEAD], ids=lambda case: case.name)
def test_a_case_is_legal_and_counts_what_fastconv_counts(case: Case) -> None:
    problem = ours.explained(case).steps[0].problem
    assert problem.dtype == np.dtype(case.dtype)
    outputs = int(np.prod(problem.output_shape))
    assert case.flops(outputs) > 0
    assert case.bytes(outputs) > 0
    if case.weight_shape is not None:
        assert problem.output_shape[-1 if case.last else 1] == case.out_channels


@pytest.mark.parametrize("case", [*SMALL, *functional.OVERHEAD], ids=lambda case: case.name)
def test_small_cases_agree_with_pytorch(case: Case) -> None:
    expected = in_torch(case)
    assert np.allclose(expect(case), expected, rtol=1e-9, atol=1e-9)
    assert ours.Call(packed=False).build(case, 1).check(expected) <= LOOSE[case.dtype]


@pytest.mark.parametrize("peer", [p for p in PEERS if p.plain], ids=lambda peer: peer.name)
def test_peers_agree_wherever_they_say_that_they_can(peer: Peer) -> None:
    if peer.missing():
        pytest.skip(str(peer.missing()))
    able = [case for case in SMALL if peer.can(case) is None]
    assert able
    for case in able:
        assert peer.build(case, 1).check(in_torch(case)) <= LOOSE[case.dtype], case.name


def test_answers_without_pytorch_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with_torch = {name: in_torch(named(name)) for name in ("batch_norm.small", "fold.small")}
    monkeypatch.setattr(measure.importlib.util, "find_spec", lambda name: None)
    for name, expected in with_torch.items():
        assert np.allclose(expect(named(name)), expected, rtol=1e-9, atol=1e-9)


def test_nothing_is_packed_in_a_plain_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(array: Any) -> Any:
        raise AssertionError("a Parameter was made")

    monkeypatch.setattr(ours, "Parameter", never)
    case = named("8.8x8")
    assert ours.Call(packed=False).build(case, 1).check(expect(case)) <= LOOSE["float32"]
    with pytest.raises(AssertionError, match="Parameter"):
        ours.Call().build(case, 1)


def test_channels_last_meets_channels_last_alone() -> None:
    case = named("8.8x8.nhwc")
    assert Torch().can(case) == "the data is channels last"
    assert Torch(last=True).can(case) is None
    assert Torch(last=True).can(named("linear.small"))


def test_filters_stand_without_a_bias() -> None:
    opencv = next(peer for peer in PEERS if peer.name == "opencv")
    assert opencv.can(named("filter5.32x32")) is None
    assert opencv.can(named("lenet.1")) == "no bias"


def test_bfloat16_goes_to_pytorch_and_back() -> None:
    pytest.importorskip("torch")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.array([1.0, -2.5, 3e38], ml_dtypes.bfloat16)
    found = tensor(array)
    assert str(found.dtype) == "torch.bfloat16"
    assert np.array_equal(array_of(found), array.astype(np.float32))


def test_the_overhead_is_that_of_calls_layers_and_a_network() -> None:
    assert [case.name for case in functional.OVERHEAD] == [
        "conv2d", "linear", "relu", "max_pool2d", "softmax", "batch_norm", "nn.Conv2d", "Network",
    ]  # fmt: skip
    assert all(prod(case.shape) <= 8 and case.calls > 1 for case in functional.OVERHEAD)


def test_several_calls_may_be_one_run() -> None:
    count: list[int] = []
    rival = Rival(lambda: count.append(1), lambda: np.zeros(1), calls=5)
    assert len(rival.turn(3)) == 3
    # One that is not timed comes first.
    assert len(count) == 16


def row(case: str, group: str, **seconds: float) -> Row:
    results = {name: Result(s, (s, s), 9, 0.0) for name, s in seconds.items()}
    return Row("functional", case, "float32", "c.planar", 1, 1, results, {}, group)


def test_ratios_are_against_the_better_pytorch() -> None:
    rows = [
        row("a", "small", fastconv=2e-6, torch=4e-6, torch_cl=3e-6, opencv=1e-6),
        row("b", "small", fastconv=2e-6, torch=1e-6, torch_cl=3e-6),
        row("c", "layers", fastconv=1e-6, torch=6e-6),
    ]
    text = render.suite_text("functional", rows, PEAK)
    assert "| a | c.planar | 2.00 | 4.00 | 3.00 | 1.00 | torch_cl | 1.50 | opencv 0.50 |" in text
    assert "| small | 2 | 0.87 | 0.50 | b | 1 |" in text
    assert "| layers | 1 | 6.00 | 6.00 | c | 0 |" in text
    assert "| all | 3 | 1.65 | 0.50 | b | 1 |" in text
    assert "1 of 2 lost: b 0.50 (torch)" in text


def test_without_pytorch_there_is_a_table_but_no_mean() -> None:
    text = render.suite_text("overhead", [row("a", "", fastconv=2e-6)], PEAK)
    assert "| a | c.planar | 2.00 |" in text
    assert "geometric mean" not in text


def test_the_plans_layout_is_left_aside() -> None:
    plan = Plan(seconds=0.01, layout="NHWC", filter="8.8x8.nhwc", peers=("torch_cl",))
    (found,) = run("functional", plan)
    assert "fastconv" in found.results
    assert found.group == "channels last"


def run_report(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(report, "FOLDER", folder)
    monkeypatch.setattr(report.peak, "measure_peak", lambda threads: PEAK)
    done = CliRunner().invoke(report.main, words)
    assert done.exit_code == 0, done.output
    return json.loads((folder / "report.json").read_text())["rows"]


def test_the_report_names_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "--suite functional --suite overhead --filter batch_norm --seconds 0.01 --peers torch"
    rows = run_report(words.split(), tmp_path, monkeypatch)
    assert [found["case"] for found in rows] == ["batch_norm.small", "batch_norm.mid", "batch_norm"]
    text = (tmp_path / "report.md").read_text()
    assert f"1 thread, on {ours.fastconv.show_config().facts['cpu']}" in text


def test_old_and_new_are_called_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--suite", "overhead", "--filter", "Network", "--seconds", "0.01"]
    (found,) = run_report([*words, "--baseline", str(baseline.ROOT)], tmp_path, monkeypatch)
    assert set(found["results"]) == {"new", "old"}


def test_names_of_cases_do_not_change_their_numbers() -> None:
    case = named("layer_norm.small")
    arrays, others = case.arguments()
    again, same = dataclasses.replace(case, name="other").arguments()
    assert all(np.array_equal(a, b) for a, b in zip(arrays, again, strict=True))
    assert all(np.array_equal(others[name], same[name]) for name in others)
