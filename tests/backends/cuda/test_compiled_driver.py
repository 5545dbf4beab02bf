"""What is asked of a driver, in what order and on which stream: by one that does nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STREAM, OTHER = 4096, 8192


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no gcc to build a driver with")
    folder = tmp_path_factory.mktemp("driver")
    target = str(folder / "libcuda.so.1")
    arguments = ["-shared", "-fPIC", "-o", target, str(HERE / "driver.c"), "-ldl"]
    subprocess.run([compiler, *arguments], check=True)
    return folder


def asked(driver: Path, *names: str, **variables: str) -> dict[str, list[str]]:
    """Return what the driver is asked for, by call."""
    root = HERE.parents[2]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    found = {**os.environ, "LD_LIBRARY_PATH": str(driver), "PYTHONPATH": path, **variables}
    command = [sys.executable, "-m", "tests.backends.cuda.driven", *names]
    done = subprocess.run(command, cwd=root, env=found, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, list[str]] = {}
    for line in done.stderr.splitlines():
        if line.startswith("== "):
            lines = told.setdefault(line[3:], [])
        else:
            lines.append(line)
    return told


@pytest.fixture(scope="module")
def told(driver: Path) -> dict[str, list[str]]:
    return asked(driver)


def streams(lines: list[str]) -> set[int]:
    found = (re.search(r" on (-?\d+)$", line) for line in lines)
    return {int(match[1]) for match in found if match}


def test_arrays_in_main_memory_are_copied_and_waited_for(told: dict[str, list[str]]) -> None:
    first, *_, last, end = told["main memory"]
    assert first.startswith("copy 576")
    assert last.startswith("copy 576")
    assert end.startswith("synchronize")


@pytest.mark.parametrize(("name", "own"), [("stream", STREAM), ("weights on the GPU", STREAM)])
def test_work_goes_to_the_callers_stream(name: str, own: int, told: dict[str, list[str]]) -> None:
    launches = [line for line in told[name] if line.startswith("launch")]
    assert launches
    assert streams(launches) == {own}


@pytest.mark.parametrize("name", ["stream", "default stream", "layer again", "network again"])
def test_nothing_waits(name: str, told: dict[str, list[str]]) -> None:
    assert not [line for line in told[name] if line.startswith("synchronize")]


def test_another_stream_is_waited_for_by_the_card_alone(told: dict[str, list[str]]) -> None:
    lines = told["other stream"]
    assert lines.index(f"record {OTHER}") < lines.index(f"wait {STREAM}")
    first = next(i for i, line in enumerate(lines) if line.startswith("launch"))
    assert lines.index(f"wait {STREAM}") < first


def test_weights_are_brought_to_the_card_once(told: dict[str, list[str]]) -> None:
    assert [line for line in told["layer"] if line.startswith("copy")]
    assert not [line for line in told["layer again"] if line.startswith("copy")]


def test_a_network_is_one_replay(told: dict[str, list[str]]) -> None:
    assert streams([line for line in told["network"] if line.startswith("launch")]) == {-1}
    assert told["network again"] == [
        f"copy 576 on {STREAM}", f"replay on {STREAM}", f"copy 64 on {STREAM}",
    ]  # fmt: skip
    other = told["network on another stream"]
    assert f"replay on {OTHER}" in other
    assert f"replay on {STREAM}" not in other


def test_tensor_maps_and_shared_memory_are_asked_for(told: dict[str, list[str]]) -> None:
    lines = told["tensor cores"]
    assert "map im2col" in lines
    assert "map tiled" in lines
    launch = next(line for line in lines if line.startswith("launch"))
    shared = re.search(r"shared (\d+)", launch)
    assert shared is not None
    assert f"allow {shared[1]}" in lines


def test_a_map_of_another_array_waits_for_no_work(told: dict[str, list[str]]) -> None:
    lines = told["map of another array"]
    assert "map im2col" in lines
    assert f"synchronize {STREAM}" not in lines


def test_a_full_card_is_a_memory_error(driver: Path) -> None:
    with pytest.raises(AssertionError, match=r"MemoryError: .*576 bytes"):
        asked(driver, "main memory", DRIVER_MEMORY="100")
