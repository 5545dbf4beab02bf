"""fastconv under onnxruntime's name: all its names, its modules, its distribution."""

from __future__ import annotations

import enum
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="sessions read ONNX models")

import fastconv.onnx
from fastconv.formats.onnx.runtime.modules import PUBLIC, modules
from tests.formats.onnxruntime_gaps import left_out

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
CLASSES = ("InferenceSession", "SessionOptions", "RunOptions", "OrtValue", "IOBinding", "OrtDevice",
    "NodeArg", "ModelMetadata", "GraphOptimizationLevel", "ExecutionMode", "ExecutionOrder",
)  # fmt: skip

PROGRAM = """
import importlib.metadata
import importlib.util
import sys
import numpy as np
import onnxruntime
import onnxruntime as ort
from onnxruntime import InferenceSession
from onnxruntime.capi import _pybind_state as C
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
import onnxruntime.backend
import onnxruntime.datasets

assert "fastconv" in ort.get_build_info()
assert importlib.metadata.version("onnxruntime") == ort.__version__
assert set(importlib.metadata.packages_distributions()["onnxruntime"]) == {"onnxruntime"}
assert importlib.util.find_spec("onnxruntime").origin == ort.__file__
assert C.get_available_providers() == ["CPUExecutionProvider"]
session = InferenceSession(sys.argv[1])
assert isinstance(session, C.InferenceSession)
image = np.zeros((1, 1, 28, 28), "f4")
try:
    session.run(["other"], {"image": image})
except InvalidArgument as error:
    assert "other" in str(error)
print(__name__, sys.argv[2:], session.run(None, {"image": image})[0].shape)
"""


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program_of_others.py"
    path.write_text(PROGRAM)
    return path


def test_program_file_run_as_onnxruntime_finds_fastconv(program: Path) -> None:
    model = str(DIGITS / "lenet5.onnx")
    found = run("-m", "fastconv.as_onnxruntime", str(program), model, "-x", "y")
    assert found == "__main__ ['-x', 'y'] (1, 10)"


def test_module_run_as_onnxruntime_finds_fastconv(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(program.parent)
    monkeypatch.setenv("PYTHONPATH", str(Path(fastconv.__file__).parents[1]))
    model = str(DIGITS / "lenet5.onnx")
    found = run("-m", "fastconv.as_onnxruntime", "-m", program.stem, model)
    assert found == "__main__ [] (1, 10)"


def test_no_program_is_a_usage_message() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fastconv.as_onnxruntime", "--help"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m fastconv.as_onnxruntime")


def test_install_after_the_real_one_is_refused_and_forced() -> None:
    pytest.importorskip("onnxruntime", reason="it is what must not be replaced unasked")
    assert "ok" in run(
        "-c",
        "import onnxruntime.capi, fastconv.onnx as f\n"
        "try: f.install()\n"
        "except RuntimeError as e: assert 'already, from' in str(e) and 'force' in str(e)\n"
        "else: raise SystemExit('not refused')\n"
        "f.install(force=True); f.install()\n"
        "import onnxruntime, onnxruntime.capi._pybind_state as C\n"
        "assert onnxruntime.InferenceSession is f.InferenceSession is C.InferenceSession\n"
        "import sys; assert not hasattr(C, '__file__') or 'pybind11_state' not in C.__file__\n"
        "print('ok')",
    )


def test_package_of_another_name_does_not_meet_the_distribution() -> None:
    assert "none" in run(
        "-c",
        "import fastconv.onnx as f, importlib.metadata as m; f.install()\n"
        "try: m.version('onnxruntime-unknown')\n"
        "except m.PackageNotFoundError: print('none')",
    )


def test_import_of_the_package_leaves_onnxruntime_alone() -> None:
    found = run("-c", "import fastconv.onnx, sys; print('onnxruntime' in sys.modules)")
    assert found == "False"


def test_module_names_are_those_of_fastconv_onnx() -> None:
    assert {name for name in PUBLIC if getattr(fastconv.onnx, name) is not PUBLIC[name]} == set()
    assert set(PUBLIC) <= set(fastconv.onnx.__all__)
    assert fastconv.onnx.capi is modules()["onnxruntime.capi"]


def names_of(value: Any) -> set[str]:
    return {name for name in dir(value) if not name.startswith("_")}


def test_module_lacks_only_what_is_left_out_on_purpose() -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="it has the names")
    kind = type(onnxruntime)
    wanted = {n for n in names_of(onnxruntime) if not isinstance(getattr(onnxruntime, n), kind)}
    missing = wanted - names_of(fastconv.onnx)
    assert missing <= left_out("module")
    ours = modules()["onnxruntime"]
    assert {name for name in wanted - left_out("module") if not hasattr(ours, name)} == set()


@pytest.mark.parametrize("name", CLASSES)
def test_class_lacks_only_what_is_left_out_on_purpose(name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="it has the names")
    theirs = getattr(onnxruntime, name, None)
    if theirs is None:
        pytest.skip(f"this onnxruntime has no {name}")
    ours: Any = getattr(fastconv.onnx, name)
    if name in ("NodeArg", "ModelMetadata"):
        session = fastconv.InferenceSession(DIGITS / "lenet5.onnx")
        ours = session.get_inputs()[0] if name == "NodeArg" else session.get_modelmeta()
    elif name == "InferenceSession":
        ours = fastconv.InferenceSession(DIGITS / "lenet5.onnx")
    elif issubclass(ours, enum.Enum):
        ours = next(iter(ours))
    assert names_of(theirs) - names_of(ours) <= left_out(name)


def test_exceptions_are_those_of_the_extension_module() -> None:
    state = pytest.importorskip(
        "onnxruntime.capi.onnxruntime_pybind11_state", reason="it has the names"
    )
    kinds = {n for n, v in vars(state).items() if isinstance(v, type) and issubclass(v, Exception)}
    ours = modules()["onnxruntime.capi.onnxruntime_pybind11_state"]
    assert {name for name in kinds if not issubclass(getattr(ours, name), ValueError)} == set()


def test_defaults_of_options_are_onnxruntimes() -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="it has the defaults")
    for name in ("SessionOptions", "RunOptions"):
        theirs, ours = getattr(onnxruntime, name)(), getattr(fastconv.onnx, name)()
        values = {n: v for n in names_of(theirs) if not callable(v := getattr(theirs, n))}
        assert values
        different = {
            option for option, value in values.items()
            if getattr(value, "value", value) != getattr(ours, option)
        }  # fmt: skip
        assert different == set()


def test_value_of_a_binding_shares_memory_as_in_onnxruntime() -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="it is the oracle")
    for module in (fastconv.onnx, onnxruntime):
        array = np.arange(6, dtype="f4").reshape(2, 3)
        value = module.OrtValue.ortvalue_from_numpy(array)
        array[0, 0] = 9
        assert value.numpy()[0, 0] == 9
        facts = (
            value.shape(), value.data_type(), value.element_type(), value.device_name(),
            value.is_tensor(), value.has_value(), value.is_sparse_tensor(),
            value.is_tensor_sequence(), value.tensor_size_in_bytes(), value.__dlpack_device__(),
            value.data_ptr() == array.ctypes.data,
        )  # fmt: skip
        assert facts == ([2, 3], "tensor(float)", 1, "cpu", True, True, False, False, 24, (1, 0), 1)
