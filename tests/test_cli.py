"""The command line: what it prints, and that bad input is one line and exit status 2."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.libraries import FIRST

pytest.importorskip("onnx", reason="the command line reads ONNX files here")
PIL = pytest.importorskip("PIL.Image", reason="the command line reads pictures here")

DIGITS = Path(__file__).resolve().parent.parent / "examples" / "digits"
LENET = str(DIGITS / "lenet5.onnx")
PICTURES = sorted(str(path) for path in (DIGITS / "images").glob("*.png"))


def fastconv(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "fastconv", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, **environment},
    )


def good(*arguments: str) -> str:
    done = fastconv(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*arguments: str, **environment: str) -> str:
    done = fastconv(*arguments, **environment)
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("fastconv: error: ")
    return lines[0]


def true_label(picture: str) -> int:
    return int(Path(picture).name.split("_")[1])


def test_run_classifies_pictures() -> None:
    labels = str(DIGITS / "labels.txt")
    lines = good("run", LENET, *PICTURES, "--labels", labels, "--top", "2").splitlines()
    assert len(lines) == len(PICTURES)
    names = Path(labels).read_text().split()
    for line, picture in zip(lines, PICTURES, strict=True):
        path, best, _ = line.split("  ")
        assert path == picture
        assert best.split()[0] == names[true_label(picture)]


def test_run_prints_json_for_programs(tmp_path: Path) -> None:
    data = np.load(DIGITS / "test_images.npz")
    np.save(tmp_path / "some.npy", data["images"][:40])
    shown = json.loads(
        good("run", LENET, str(tmp_path / "some.npy"), "--json", "--batch-size", "7", "--top", "1")
    )
    images = shown["images"]
    assert len(images) == 40
    predicted = [image["classes"][0]["index"] for image in images]
    assert predicted == data["lenet5_logits"][:40].argmax(1).tolist()
    scores = [image["classes"][0]["score"] for image in images]
    np.testing.assert_allclose(scores, data["lenet5_logits"][:40].max(1), atol=1e-4)
    assert images[3]["image"].endswith("some.npy[3]")


def test_pictures_are_resized_and_made_grey_and_arrays_are_read_in_every_form(
    tmp_path: Path,
) -> None:
    picture = PICTURES[5]
    grey = PIL.open(picture)
    grey.resize((56, 56)).convert("RGB").save(tmp_path / "large.png")
    pixels = np.asarray(grey)
    np.save(tmp_path / "flat.npy", pixels)
    np.savez(tmp_path / "many.npz", images=pixels[None], labels=np.arange(3))
    np.save(tmp_path / "floats.npy", (pixels / np.float32(255))[None, None])
    files = [str(tmp_path / n) for n in ("large.png", "flat.npy", "many.npz", "floats.npy")]
    shown = json.loads(good("run", LENET, picture, *files, "--json", "--top", "1"))["images"]
    assert {image["classes"][0]["index"] for image in shown} == {true_label(picture)}
    exact = [shown[i]["classes"][0]["score"] for i in (0, 2, 3, 4)]
    np.testing.assert_allclose(exact, exact[0], rtol=1e-6)


def test_summary_explain_info_and_bench() -> None:
    summary = good("summary", LENET)
    assert "total: 61,706 parameters" in summary
    assert f"{FIRST}." in good("explain", LENET, "--input-shape", "2,1,28,28")
    assert "instruction set" in good("info")
    shown = json.loads(good("bench", LENET, "--repeat", "2", "--batch-size", "3", "--json"))
    assert shown["batch"] == 3
    assert shown["median_ms"] > 0
    assert "1 jobs done" in good("warmup", LENET)
    assert good("--version").strip().endswith("0.1.0")


def test_profile_tells_times_and_draws_them(tmp_path: Path) -> None:
    trace, picture = tmp_path / "trace.json", tmp_path / "timeline.png"
    told = good("profile", LENET, "--runs", "2", "--trace", str(trace))
    assert "% of roof" in told.splitlines()[0]
    assert json.loads(trace.read_text())["traceEvents"]
    drawn = ("--timeline", str(picture)) if importlib.util.find_spec("matplotlib") else ()
    shown = json.loads(good("profile", LENET, "--runs", "1", "--batch-size", "3", "--json", *drawn))
    assert shown["input_shapes"] == [[3, 1, 28, 28]]
    assert picture.exists() == bool(drawn)
    assert "pass fold_affine: " in good("explain", LENET, "--passes")


def test_values_of_inputs_choose_the_branch_that_is_told_of(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from tests.network.test_sizes import branching

    model = str(tmp_path / "model.onnx")
    onnx.save(branching(onnx, nested=False), model)
    shape = ("--input-shape", "1,3,40")
    assert "conv" in good("explain", model, *shape, "--value", "rate=16000").lower()
    assert "conv" not in good("profile", model, *shape, "--value", "rate=8000", "--runs", "1")
    assert "decides which branch" in refused("explain", model, *shape)


def test_tune_keeps_a_table_that_later_commands_follow(tmp_path: Path) -> None:
    table = str(tmp_path / "table.json")
    shown = json.loads(
        good("tune", LENET, "--conv", "4x4x9x9,k3", "--rounds", "1", "--output", table, "--json")
    )
    assert [row["problem"] for row in shown["problems"]] == [
        "1x6x28x28,k5,p2",
        "6x16x14x14,k5",
        "1x6x28x28,k5,p2,nhwc",
        "6x16x14x14,k5,nhwc",
        "4x4x9x9,k3",
    ]
    csv = tmp_path / "layers.csv"
    csv.write_text("in_channels,out_channels,height,width,kernel_h,kernel_w\n3,4,7,7,1,1\n")
    printed = good("tune", "--csv", str(csv), "--rounds", "1", "--output", table).splitlines()
    assert printed[0].split() == ["problem", "predicted", "measured", "us", "gain"]
    assert printed[2].startswith("3x4x7x7,k1 ")
    assert "geometric mean of the gains" in printed[-2]
    assert printed[-1].endswith("table.json")
    kept = json.loads(Path(table).read_text())
    assert len(kept["rows"]) == 6
    done = fastconv("explain", LENET, "--json", FASTCONV_TUNING=table)
    told = json.loads(done.stdout)
    conv = next(step for step in told["steps"] if step["reason"].startswith("measured: tuned on "))
    taken = next(c for c in conv["contenders"] if c["chosen"])
    # It is laid out as was measured to be faster.
    first, turned = shown["problems"][0], shown["problems"][2]
    assert any(
        taken["algorithm"] == row["measured"]
        and taken["measured_seconds"] == row["measured_seconds"][taken["algorithm"]]
        for row in (first, turned)
    )
    assert "pinned" in fastconv("info", FASTCONV_TUNING=table).stdout
    damaged = subprocess.run(
        [sys.executable, "-m", "fastconv", "info"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "FASTCONV_TUNING": str(csv)},
    )
    assert damaged.returncode == 0
    assert "RuntimeWarning: the tuning table" in damaged.stderr
    assert "is ignored: it is not JSON" in damaged.stdout
    assert "all steps: " in good("explain", LENET, "--measure")


BAD: list[tuple[str, list[str]]] = [
    ("there is no file", ["run", LENET, "nowhere.png"]),
    ("nowhere.onnx", ["run", "nowhere.onnx", PICTURES[0]]),
    ("labels.txt as an image", ["run", LENET, str(DIGITS / "labels.txt")]),
    ("labels.txt", ["summary", str(DIGITS / "labels.txt")]),
    ("contradicts the network's input", ["run", LENET, PICTURES[0], "--size", "32x32"]),
    ("is not a size such as 224x224", ["run", LENET, PICTURES[0], "--size", "big"]),
    ("--mean needs 1 or 1 numbers", ["run", LENET, PICTURES[0], "--mean", "1,2,3"]),
    ("is not a list of numbers", ["run", LENET, PICTURES[0], "--std", "a"]),
    ("there is no array 'x'", ["run", LENET, str(DIGITS / "test_images.npz"), "--key", "x"]),
    ("No such command", ["walk"]),
    ("Missing argument", ["run", LENET]),
    ("--input-shape takes numbers", ["summary", LENET, "--input-shape", "a,b"]),
    ("there is nothing to tune", ["tune"]),
    ("'z' is not understood", ["tune", "--conv", "4x4x9x9,k3,z"]),
    ("columns", ["tune", "--csv", str(DIGITS / "labels.txt")]),
    ("is not written over", ["tune", "--conv", "4x4x9x9,k3", "--output", LENET]),
    ("x>=1", ["run", LENET, PICTURES[0], "--threads", "0"]),
]


@pytest.mark.parametrize(("message", "arguments"), BAD, ids=[m for m, _ in BAD])
def test_bad_input_is_one_line_and_status_2(message: str, arguments: list[str]) -> None:
    assert message in refused(*arguments)


def test_broken_files_and_bad_settings_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(PICTURES[0]).read_bytes()[:60])
    assert "cannot read" in refused("run", LENET, str(broken))
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(Path(LENET).read_bytes()[:5000])
    assert "cut.onnx" in refused("run", str(cut), PICTURES[0])
    hostile = tmp_path / "hostile.npy"
    np.save(hostile, np.array([object()]), allow_pickle=True)
    assert "cannot read" in refused("run", LENET, str(hostile))
    wrong = tmp_path / "wrong.npy"
    np.save(wrong, np.zeros((2, 2, 2, 2, 2)))
    assert "images are (H, W)" in refused("run", LENET, str(wrong))
    assert "FASTCONV_BACKEND must be" in refused(
        "run", LENET, PICTURES[0], FASTCONV_BACKEND="abacus"
    )


def test_the_demo_holds_what_it_promises() -> None:
    done = subprocess.run(
        [sys.executable, str(DIGITS / "demo.py")],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "same class as torch  450 of 450" in done.stdout


def run_example(name: str, output: Any) -> str:
    script = DIGITS.parent / name
    done = subprocess.run(
        [sys.executable, str(script), "--output", str(output)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with PIL.open(output) as picture:
        assert picture.width > 500
    return done.stdout


def test_the_examples_write_their_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the examples draw with it")
    table = run_example("signal_1d.py", tmp_path / "signal.png")
    rows = [line.rsplit(maxsplit=2)[-1] for line in table.splitlines()[1:5]]
    assert rows == ["3", "3", "3", "5"]
    run_example("filters.py", tmp_path / "filters.png")
