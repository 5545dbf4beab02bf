"""Tuning tables: kept, pinned, shipped, damaged; and that no table can choose what cannot serve."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
import fastconv.functional as F
from fastconv import nn
from fastconv.dispatch import Parameter, choose, find_plan, measure, table, tuning
from fastconv.dispatch.table import Fingerprint, Row, Table, TableError, problem_key
from fastconv.machine import forced_isa
from fastconv.network.program import Solve
from fastconv.problem import ConvProblem
from fastconv.tuning import problem_of
from tests.libraries import COMPILED, FIRST

SMALL = "8x8x12x12,k3,p1"
HERE = Fingerprint.here(forced_isa())
ELSEWHERE = Fingerprint("Abacus 9000", "avx2", "0.0.1")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep tables in a folder of the test's own, and choose by the default rules."""
    monkeypatch.setattr(tuning, "_folder", lambda: tmp_path / "tuning")
    monkeypatch.delenv("FASTCONV_TUNING")
    fastconv.set_tuning(None)
    yield
    monkeypatch.undo()
    fastconv.set_tuning(None)


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Return the seconds that every algorithm is said to take; those not named take 1."""
    told: dict[str, float] = {}
    monkeypatch.setattr(measure, "sample", lambda name, run: told.get(name, 1.0))
    return told


def row(text: str, algorithm: str, **seconds: float) -> Row:
    return Row(problem_key(problem_of(text)), algorithm, {algorithm: 1e-3, **seconds})


def written(path: Path, *rows: Row, machine: Fingerprint = HERE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table.as_text(Table.of(machine, rows)), encoding="utf-8")
    return path


def name_of(problem: Any, **options: Any) -> str:
    return str(choose(problem, **options).algorithm)


def other_than_predicted(text: str) -> str:
    choice = choose(problem_of(text), tuning=tuning.UNTUNED)
    able = [c.algorithm for c in choice.candidates if c.why_not is None]
    return next(str(a) for a in able if a is not choice.algorithm and a.backend != "reference")


def test_what_is_measured_fastest_is_taken_from_then_on(stopwatch: dict[str, float]) -> None:
    problem = problem_of(SMALL)
    predicted, wanted = name_of(problem), other_than_predicted(SMALL)
    stopwatch[wanted] = 0.25
    report = fastconv.tune(shapes=[SMALL])
    assert name_of(problem) == wanted != predicted
    assert choose(problem).reason == f"measured: tuned on {HERE}"
    (tuned,) = report.rows
    assert (tuned.predicted, tuned.measured, tuned.gain) == (predicted, wanted, 4.0)
    assert report.geomean_gain == 4.0
    assert report.changed == (tuned,)
    assert "4.00x" in str(report)
    assert json.loads(json.dumps(report.as_dict()))["problems"][0]["problem"] == SMALL
    measured = {str(c.algorithm): c.measured_seconds for c in choose(problem).candidates}
    assert measured[wanted] == 0.25
    assert measured[predicted] == 1.0
    assert report.machine == str(HERE)


def test_a_tuned_choice_is_the_same_for_any_batch_threads_and_epilogue(
    stopwatch: dict[str, float],
) -> None:
    wanted = other_than_predicted(SMALL)
    stopwatch[wanted] = 0.5
    fastconv.tune(shapes=[SMALL])
    w = np.random.default_rng(0).standard_normal((8, 8, 3, 3)).astype("f4")
    x = np.random.default_rng(1).standard_normal((5, 8, 12, 12)).astype("f4")
    for batch in (1, 2, 5):
        for threads in (1, 2):
            with fastconv.settings.threads(threads):
                problem = ConvProblem.of(2, x[:batch], w, w[:, 0, 0, 0], padding=1)
                assert name_of(problem) == wanted
                np.testing.assert_array_equal(
                    F.conv2d(x[:batch], w, padding=1), F.conv2d(x, w, padding=1)[:batch]
                )
    residual = np.zeros((1, 8, 12, 12), "f4")
    epilogue: dict[str, Any] = {"residual": residual, "activation": "relu", "padding": 1}
    assert name_of(ConvProblem.of(2, x[:1], w, **epilogue)) == wanted
    assert name_of(problem_of("8x8x12x12,k3,p1,rtol=1e-3")) == name_of(
        problem_of("8x8x12x12,k3,p1,rtol=1e-3"), tuning=tuning.UNTUNED
    )


def test_plans_follow_a_change_of_table(tmp_path: Path) -> None:
    problem = problem_of(SMALL)
    parameter = Parameter(np.ones((8, 8, 3, 3), "f4"))
    before = find_plan(problem, (parameter, None))
    wanted = other_than_predicted(SMALL)
    fastconv.set_tuning(written(tmp_path / "t.json", row(SMALL, wanted)))
    assert find_plan(problem, (parameter, None)) is not before
    assert find_plan(problem, (parameter, None)) is find_plan(problem, (parameter, None))
    fastconv.set_tuning("off")
    assert name_of(problem) == name_of(problem, tuning=tuning.UNTUNED)


def test_a_network_is_tuned_once_a_problem(
    stopwatch: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
        nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.ConvTranspose2d(8, 4, 2),
    )  # fmt: skip
    seen: list[tuple[int, int, str]] = []
    report = fastconv.tune(
        module, (4, 3, 12, 12), progress=lambda done, total, name: seen.append((done, total, name))
    )
    posed = [("3x8x12x12,k3,p1", 1), (SMALL, 2), ("8x4x6x6,k2,transposed", 1)]
    assert [(t.problem, t.count) for t in report.rows] == [
        *posed,
        # As a compiled network may pose them.
        ("3x8x12x12,k3,p1,nhwc", 1),
        (f"{SMALL},nhwc", 2),
        ("8x4x6x6,k2,transposed,nhwc", 1),
    ]
    names = [t.problem for t in report.rows]
    assert seen == [*((i, 6, name) for i, name in enumerate(names)), (6, 6, "")]
    again = fastconv.tune(fastconv.compile(module, (1, 3, 12, 12)))
    assert [t.problem for t in again.rows] == [t.problem for t in report.rows]
    with pytest.raises(ValueError, match="needs an input_shape"):
        fastconv.tune(module)
    with pytest.raises(TypeError, match="a network, a module or a path"):
        fastconv.tune(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        fastconv.tune(module, (1, 3, 12, 12), rounds=0)


def test_a_tuned_network_turns_where_that_is_measured_faster(
    tmp_path: Path, stopwatch: dict[str, float]
) -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
    shape = (1, 3, 12, 12)

    def turned() -> list[bool]:
        compiled = fastconv.compile(module, shape).compiled(shape)
        assert compiled is not None
        ops = [op for op in compiled.program.ops if isinstance(op, Solve)]
        return [op.problem.channels_last for op in ops if isinstance(op.problem, ConvProblem)]

    report = fastconv.tune(module, shape)
    names = {t.problem: t.measured for t in report.rows}
    texts = ["3x8x12x12,k3,p1", SMALL]
    for first, last, expected in (
        ((1.0, 1.0), (2.0, 2.0), [False, False]),
        ((2.0, 2.0), (1.0, 1.0), [True, True]),
        ((1.0, 2.0), (2.0, 1.0), [False, True]),
    ):
        rows = []
        for text, *seconds in zip(texts, first, last, strict=True):
            for name, second in zip((text, f"{text},nhwc"), seconds, strict=True):
                algorithm = names[name]
                assert algorithm is not None
                rows.append(row(name, algorithm, **{algorithm: second}))
        fastconv.set_tuning(written(tmp_path / "t.json", *rows))
        assert turned() == expected
        # Where one is missing, nothing turns.
        fastconv.set_tuning(written(tmp_path / "t.json", *rows[:-1]))
        assert turned() == [False, False]


def test_what_was_measured_before_an_interruption_is_kept(stopwatch: dict[str, float]) -> None:
    wanted = other_than_predicted(SMALL)
    stopwatch[wanted] = 0.5

    def interrupt(done: int, total: int, name: str) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fastconv.tune(shapes=[SMALL, "8x8x5x5,k3"], progress=interrupt)
    assert name_of(problem_of(SMALL)) == wanted


def test_tables_are_exported_pinned_and_shipped(
    stopwatch: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, wanted = problem_of(SMALL), other_than_predicted(SMALL)
    predicted = name_of(problem)
    stopwatch[wanted] = 0.5
    path = tmp_path / "deep" / "table.json"
    assert fastconv.tune(shapes=[SMALL], output=path).path == path
    assert name_of(problem) == predicted
    fastconv.tune(shapes=["4x4x9x9,k3"], output=path)
    assert len(table.read(path).rows) == 2
    fastconv.set_tuning(path)
    assert name_of(problem) == wanted
    fastconv.set_tuning(None)
    assert name_of(problem) == predicted
    monkeypatch.setenv("FASTCONV_TUNING", str(path))
    fastconv.set_tuning(None)
    assert name_of(problem) == wanted
    shipped = written(tmp_path / "shipped.json", row(SMALL, wanted), machine=ELSEWHERE)
    fastconv.set_tuning(shipped)
    assert choose(problem).reason == f"measured: tuned on {ELSEWHERE}"
    assert "pinned" in fastconv.show_config()["tuning"]


def test_another_machines_table_in_the_default_place_is_ignored(tmp_path: Path) -> None:
    problem, wanted = problem_of(SMALL), other_than_predicted(SMALL)
    path = tuning.default_path(forced_isa())
    for field in ("cpu", "isa", "fastconv"):
        machine = Fingerprint(**{**vars(HERE), field: "other"})
        written(path, row(SMALL, wanted), machine=machine)
        tuning.forget()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert name_of(problem) != wanted
        assert "is ignored: it is of" in str(tuning.current())
    written(path, row(SMALL, wanted))
    tuning.forget()
    assert name_of(problem) == wanted
    assert tuning.default_path("avx2") != tuning.default_path("generic")


def test_explain_tells_of_the_table(tmp_path: Path) -> None:
    arguments: Any = ("conv2d", (1, 8, 12, 12), (8, 8, 3, 3))
    assert fastconv.explain(*arguments, padding=1).tuning == "none"
    wanted = other_than_predicted(SMALL)
    default = written(tuning.default_path(HERE.isa), row(SMALL, wanted), machine=ELSEWHERE)
    tuning.forget()
    told = fastconv.explain(*arguments, padding=1)
    assert told.algorithm != wanted
    assert "is ignored: it is of Abacus 9000 (avx2)" in str(told)
    written(default, row(SMALL, wanted, **{"reference.reference": 2.0}))
    tuning.forget()
    told = fastconv.explain(*arguments, padding=1)
    (report,) = told.reports
    assert report.reason == f"measured: tuned on {HERE}"
    assert report.chosen is not None
    assert (report.chosen.algorithm, report.chosen.measured_seconds) == (wanted, 1e-3)
    assert fastconv.explain(*arguments, padding=1, frozen=True).algorithm == told.algorithm
    assert report.chosen.roof == (report.roof_seconds or 0) / 1e-3
    assert "1.00 ms" in str(told)
    assert str(told).endswith(f"tuning: {default}")
    assert told.seconds == 1e-3


def test_tuning_replaces_a_stale_table_and_refuses_to_write_over_anything_else(
    stopwatch: dict[str, float], tmp_path: Path
) -> None:
    default = written(tuning.default_path(HERE.isa), row(SMALL, f"{FIRST}.x"), machine=ELSEWHERE)
    assert fastconv.tune(shapes=["4x4x9x9,k3"]).path == default
    assert list(table.read(default).rows) == [problem_key(problem_of("4x4x9x9,k3"))]
    foreign = written(tmp_path / "foreign.json", machine=ELSEWHERE)
    text = tmp_path / "model.onnx"
    text.write_bytes(b"weights")
    for path in (foreign, text):
        before = path.read_bytes()
        with pytest.raises(ValueError, match="is not written over"):
            fastconv.tune(shapes=[SMALL], output=path)
        assert path.read_bytes() == before


def test_a_table_never_selects_what_cannot_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ungrouped, exact = "8x8x12x12,k3,s2", "64x64x28x28,k3,p1,rtol=0.0"
    large = "64x64x56x56,k3,p1"
    rows = [
        row(ungrouped, f"{FIRST}.depthwise_planar"),
        row(exact, f"{FIRST}.winograd6"),
        row(large, f"{FIRST}.im2col"),
        row(SMALL, "reference.reference"),
        row("4x4x9x9,k3", f"{FIRST}.__import__('os').system('true')"),
        row("4x4x9x9,k1", "cuda.direct"),
    ]
    fastconv.set_tuning(written(tmp_path / "hostile.json", *rows))
    monkeypatch.setenv("FASTCONV_WORKSPACE_MB", "0.00001")
    assert name_of(problem_of(large)) == name_of(problem_of(large), tuning=tuning.UNTUNED)
    monkeypatch.delenv("FASTCONV_WORKSPACE_MB")
    assert name_of(problem_of(large)) == f"{FIRST}.im2col"
    for text in (ungrouped, exact, SMALL, "4x4x9x9,k3", "4x4x9x9,k1"):
        choice = choose(problem_of(text))
        assert choice.algorithm is choose(problem_of(text), tuning=tuning.UNTUNED).algorithm
        assert "measured" not in choice.reason
    wrong_bound = [c for c in choose(problem_of(exact)).candidates if "rtol" in (c.why_not or "")]
    assert wrong_bound


def test_what_a_caller_asks_for_goes_before_the_table(tmp_path: Path) -> None:
    problem = problem_of(SMALL)
    fastconv.set_tuning(written(tmp_path / "t.json", row(SMALL, f"{FIRST}.im2col")))
    assert name_of(problem) == f"{FIRST}.im2col"
    assert name_of(problem, algorithm="direct") == f"{FIRST}.direct"
    assert name_of(problem, backend="reference") == "reference.reference"
    assert name_of(problem, backend=FIRST) == f"{FIRST}.im2col"


def ignored(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Pin by the environment; give what is said of the table, which must be ignored."""
    monkeypatch.setenv("FASTCONV_TUNING", str(path))
    tuning.forget()
    with pytest.warns(RuntimeWarning, match="is ignored") as caught:
        choose(problem_of(SMALL))
    choose(problem_of("4x4x9x9,k3"))
    assert len(caught) == 1
    assert tuning.current().table is None
    with pytest.raises((ValueError, OSError)):
        fastconv.set_tuning(path)
    return str(tuning.current())


def test_a_truncated_table_is_ignored_wherever_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "t.json", row(SMALL, f"{FIRST}.im2col"))
    whole = path.read_bytes().rstrip()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(TableError):
            table.read(path)
    path.write_bytes(whole[:-1])
    assert "is not JSON" in ignored(path, monkeypatch)


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 10**6), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_harmless(
    place: int, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.json"
    written(path, row(SMALL, f"{FIRST}.im2col"), row("8x8x12x12,k3,s2", f"{FIRST}.direct"))
    data = bytearray(path.read_bytes())
    data[place % len(data)] = value
    path.write_bytes(data)
    try:
        read = table.read(path)
    except TableError:
        return
    told = tuning.Tuning(path, read)
    for text in (SMALL, "8x8x12x12,k3,s2"):
        choice = choose(problem_of(text), tuning=told)
        taken = next(c for c in choice.candidates if c.algorithm is choice.algorithm)
        assert taken.why_not is None
        assert taken.algorithm.backend != "reference"


def good() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(
        table.as_text(Table.of(HERE, [row(SMALL, f"{FIRST}.im2col")]))
    )
    return loaded


def change(*path: Any, to: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        loaded = good()
        at = loaded
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = to
        return json.dumps(loaded).encode()

    return make


HOSTILE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no text": lambda: bytes(range(256)),
    "pickle": lambda: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "a number": lambda: b"3",
    "a list": lambda: b"[]",
    "null": lambda: b"null",
    "other json": lambda: b'{"format": 1}',
    "nested lists": lambda: b"[" * 200_000,
    "nested objects": lambda: b'{"a":' * 200_000,
    "nested rows": lambda: b'{"what": "fastconv tuning table", "rows": ' + b"[" * 100_000,
    "huge": lambda: b" " * (table.LIMIT_BYTES + 1),
    "huge number": change("rows", 0, "seconds", f"{FIRST}.im2col", to=10**400),
    "endless digits": lambda: b"9" * 100_000,
    "older format": change("format", to=0),
    "newer format": change("format", to=2),
    "true as format": change("format", to=True),
    "text as format": change("format", to="1"),
    "no machine": change("machine", to=None),
    "machine of numbers": change("machine", "cpu", to=7),
    "escape codes": change("machine", "cpu", to="\x1b[2Jgone"),
    "lone surrogate": change("machine", "cpu", to="\ud800"),
    "endless name": change("machine", "cpu", to="x" * 10_000),
    "rows as object": change("rows", to={}),
    "row of text": change("rows", 0, to=f"{FIRST}.im2col"),
    "algorithm of list": change("rows", 0, "algorithm", to=[f"{FIRST}.im2col"]),
    "not measured": change("rows", 0, "algorithm", to=f"{FIRST}.direct"),
    "no problem": change("rows", 0, "problem", to=None),
    "seconds of list": change("rows", 0, "seconds", to=[1.0]),
    "negative time": change("rows", 0, "seconds", f"{FIRST}.im2col", to=-1.0),
    "zero time": change("rows", 0, "seconds", f"{FIRST}.im2col", to=0),
    "time as text": change("rows", 0, "seconds", f"{FIRST}.im2col", to="1e-3"),
    "true as time": change("rows", 0, "seconds", f"{FIRST}.im2col", to=True),
    "NaN": change("rows", 0, "seconds", f"{FIRST}.im2col", to=float("nan")),
    "infinity": change("rows", 0, "seconds", f"{FIRST}.im2col", to=float("inf")),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tables_are_ignored_with_one_warning(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hostile.json"
    path.write_bytes(HOSTILE[name]())
    assert str(path) in ignored(path, monkeypatch)


def test_what_is_no_file_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No such file" in ignored(tmp_path / "nowhere.json", monkeypatch)
    assert "not a regular file" in ignored(tmp_path, monkeypatch)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert "not a regular file" in ignored(tmp_path / "pipe", monkeypatch)


def test_a_damaged_table_in_the_default_place_warns_once_and_is_replaced(
    stopwatch: dict[str, float],
) -> None:
    path = tuning.default_path(HERE.isa)
    path.parent.mkdir()
    path.write_text("{")
    tuning.forget()
    with pytest.warns(RuntimeWarning, match="is ignored"):
        choose(problem_of(SMALL))
    assert choose(problem_of(SMALL)).algorithm
    fastconv.tune(shapes=[SMALL])
    assert tuning.current().table is not None


def test_a_place_that_cannot_be_written_is_said_before_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("measured")

    monkeypatch.setattr("fastconv.tuning.run.measure", never)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError, match="file"):
        fastconv.tune(shapes=[SMALL], output=blocked / "table.json")
    with pytest.raises(IsADirectoryError):
        fastconv.tune(shapes=[SMALL], output=tmp_path)
    if os.name == "posix" and os.geteuid() != 0:
        tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
        with pytest.raises(PermissionError):
            fastconv.tune(shapes=[SMALL], output=tmp_path / "table.json")
        tmp_path.chmod(stat.S_IRWXU)


def test_a_table_that_cannot_be_read_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> Table:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(table, "read", refuse)
    assert "Permission denied" in ignored(tmp_path / "t.json", monkeypatch)


WRITER = """
import sys
from pathlib import Path
from fastconv.dispatch.table import Fingerprint, Row, Table, merge
path, name = Path(sys.argv[1]), sys.argv[2]
machine = Fingerprint("Abacus 9000", "avx2", "0.0.1")
for count in range(25):
    row = Row(f"{name} {count}", "numba.direct", {"numba.direct": 1.0})
    merge(path, Table.of(machine, [row]), replace_others=False)
"""


def test_two_processes_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "shared.json"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in ("a", "b")
    ]
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            table.read(path)  # never half a table
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(table.read(path).rows) == 50
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_write_that_fails_leaves_the_old_table_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "t.json", row(SMALL, f"{FIRST}.im2col"))
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        table.merge(path, Table.of(HERE, [row("4x4x9x9,k3", f"{FIRST}.x")]), replace_others=False)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob(".*.tmp"))


def test_an_algorithm_with_a_wrong_answer_or_an_error_is_left_out(
    stopwatch: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastconv.backends.native.conv.direct import Direct
    from fastconv.backends.native.conv.im2col import Im2col

    problem = problem_of(SMALL)
    sound = Im2col.plan

    def wrong(self: Im2col, problem: Any, weight: Any, bias: Any) -> Any:
        return sound(self, problem, weight * np.float32(1.001), bias)

    def broken(self: Direct, *_: Any) -> Any:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(Im2col, "plan", wrong)
    monkeypatch.setattr(Direct, "plan", broken)
    wrongs, failures = ([f"{b}.{name}" for b in COMPILED] for name in ("im2col", "direct"))
    stopwatch.update(dict.fromkeys((*wrongs, *failures), 0.1))
    report = fastconv.tune(shapes=[problem])
    (tuned,) = report.rows
    assert tuned.measurement.failed == {
        **dict.fromkeys(wrongs, "its answer is wrong"),
        **dict.fromkeys(failures, "failed: out of luck"),
    }
    assert name_of(problem) not in (*wrongs, *failures)
    assert "left out: its answer is wrong" in str(report)


def test_the_median_of_interleaved_samples_counts() -> None:
    order: list[str] = []
    times = {f"{FIRST}.direct": [9.0, 1.0, 2.0], f"{FIRST}.im2col": [1.5, 1.5, 90.0]}

    def told(name: str, run: Callable[[], Any]) -> float:
        order.append(name)
        run()
        return times[name].pop(0) if name in times else 50.0

    found = measure.measure(problem_of(SMALL), rounds=3, stopwatch=told)
    names = list(found.seconds)
    assert order == names * 3
    assert found.seconds[f"{FIRST}.direct"] == 2.0
    assert found.fastest == f"{FIRST}.im2col"


def test_slow_problems_take_fewer_rounds() -> None:
    calls: list[str] = []

    def slow(name: str, run: Callable[[], Any]) -> float:
        calls.append(name)
        return 10.0

    found = measure.measure(problem_of(SMALL), rounds=50, stopwatch=slow)
    assert len(calls) == measure.FEWEST_ROUNDS * len(found.seconds)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int8", "complex64"])
def test_every_dtype_can_be_measured(dtype: str, stopwatch: dict[str, float]) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="bfloat16 is its type")
    report = fastconv.tune(shapes=[f"4x4x6x6,k3,{dtype}"])
    assert report.rows[0].measured is not None
    assert not report.rows[0].measurement.failed


def test_a_sample_runs_at_least_once() -> None:
    runs: list[int] = []
    assert measure.sample("any", lambda: runs.append(1)) > 0
    assert runs


def test_only_convolutions_are_tuned() -> None:
    from fastconv.problem import PoolProblem

    pool = PoolProblem.of("max", 2, np.zeros((1, 1, 4, 4), "f4"), 2)
    with pytest.raises(TypeError, match="shapes takes texts and convolution problems"):
        fastconv.tune(shapes=[pool])
