"""Networks whose weights stay in their file: the same bits, whatever becomes of the file."""

from __future__ import annotations

import gc
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import models
from fastconv.dispatch import Parameter, stored
from fastconv.dispatch.stored import StoredParameter, WeightFile
from fastconv.network import Graph, Network, Node, Port, compile_module

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
X = np.random.default_rng(0).standard_normal((2, 1, 28, 28)).astype("f4")
KINDS = ("fastconv", "onnx")

pytestmark = pytest.mark.skipif(not stored.can_store(), reason="parameters stay in no file here")


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "LEAST_BYTES", 1)
    monkeypatch.setattr(stored, "LEAST_FILE_BYTES", 0)


def digits(folder: Path, kind: str, name: str = "convnet1") -> Path:
    """Put a network's file into a folder."""
    path = folder / f"net.{kind}"
    if kind == "onnx":
        pytest.importorskip("onnx", reason="this test reads an ONNX model")
        shutil.copyfile(DIGITS / f"{name}.onnx", path)
    else:
        build: Callable[[], Any] = getattr(models, name.removesuffix("1"), models.lenet5)
        compile_module(build(), X.shape).save(path)
    return path


def constants(network: Network) -> dict[str, Any]:
    function: Any = network.function
    return dict(function.graph.constants)


def in_file(network: Network) -> list[StoredParameter]:
    return [v for v in constants(network).values() if isinstance(v, StoredParameter)]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_read_when_they_are_packed_and_not_kept(kind: str, tmp_path: Path) -> None:
    path = digits(tmp_path, kind)
    held, network = fastconv.load(path, in_memory=True), fastconv.load(path)
    assert not in_file(held)
    assert len(in_file(network)) > 3
    assert network(X).tobytes() == held(X).tobytes()
    large = [v for v in in_file(network) if v.ndim > 1]
    assert large
    assert all(v._kept is None for v in large)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_may_go_away(kind: str, tmp_path: Path) -> None:
    path = digits(tmp_path, kind)
    expected = fastconv.load(path, in_memory=True)(X)
    network = fastconv.load(path)
    path.rename(tmp_path / "elsewhere")
    assert network(X).tobytes() == expected.tobytes()
    path.write_bytes(b"another file")
    (tmp_path / "elsewhere").unlink()
    np.testing.assert_array_equal(network(X[:1]), expected[:1])


CHANGES: dict[str, Callable[[Path], Any]] = {
    "the same size": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "cut": lambda path: os.truncate(path, 100),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_in_place_is_told(kind: str, change: str, tmp_path: Path) -> None:
    path = digits(tmp_path, kind)
    held, network, other = (fastconv.load(path, in_memory=n == 0) for n in range(3))
    expected = network(X)
    CHANGES[change](path)
    # What is packed runs on; another shape, another network and a pickle need the file.
    assert network(X).tobytes() == expected.tobytes()
    np.testing.assert_array_equal(held(X[:1]), expected[:1])
    for call in (lambda: other(X), lambda: pickle.dumps(other)):
        with pytest.raises(ValueError, match=r"has changed since it was loaded.*in_memory=True"):
            call()


def test_a_change_right_after_loading_is_told(tmp_path: Path) -> None:
    """Within one tick of the file system's clock a file's time does not change."""
    for _ in range(5):
        path = tmp_path / "bytes"
        path.write_bytes(b"\0" * 100)
        file = WeightFile(path)
        path.write_bytes(b"\1" * 100)
        with pytest.raises(ValueError, match="has changed"):
            file.read(0, 100)


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_a_network_does(kind: str, tmp_path: Path) -> None:
    path = digits(tmp_path, kind)
    held, network = fastconv.load(path, in_memory=True), fastconv.load(path)
    expected = held(X)
    for other in (pickle.loads(pickle.dumps(network)), _saved(network, tmp_path)):
        assert other(X).tobytes() == expected.tobytes()
    names = list(held.layers)
    ours, theirs = network.outputs_of(names, X), held.outputs_of(names, X)
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in names)
    assert str(network.summary(X.shape)) == str(held.summary(X.shape))
    assert str(network.explain(X.shape, passes=True)) == str(held.explain(X.shape, passes=True))
    told = network.explain(X.shape, measure=True)
    assert told.steps
    assert "failed" not in str(told)
    assert str(network.profile(X, runs=2))
    function: Any = network.function
    assert function(X).tobytes() == expected.tobytes() or kind == "onnx"
    np.testing.assert_allclose(function(X), expected, rtol=1e-4, atol=1e-4)


def _saved(network: Network, folder: Path) -> Network:
    network.save(folder / "again.fastconv")
    return fastconv.load(folder / "again.fastconv")


def test_operations_on_constants_alone(tmp_path: Path) -> None:
    """Whatever asks for the numbers of a parameter gets them."""
    rng = np.random.default_rng(1)
    weight, table = rng.standard_normal((8, 8)).astype("f4"), rng.integers(0, 8, 5)
    nodes = (
        Node("transpose", ("w",), ("t",), {"axes": (1, 0)}),
        Node("matmul", ("x", "t"), ("a",)),
        Node("matmul", ("x", "w"), ("b",)),
        Node("add", ("a", "b"), ("c",)),
        Node("gather", ("w", "i"), ("g",), {"axis": 0}),
        Node("matmul", ("c", "w"), ("d",)),
        Node("concat", ("d", "g"), ("y",), {"axis": 0}),
    )
    graph = Graph(
        (Port("x", ("n", 8), "float32"),),
        (Port("y", ("m", 8), "float32"), Port("w", (8, 8), "float32")),
        nodes,
        {"w": Parameter(weight), "i": Parameter(table)},
    )
    held = Network.from_graph(graph)
    network = _saved(held, tmp_path)
    assert len(in_file(network)) == 2
    x = rng.standard_normal((3, 8)).astype("f4")
    function: Any = network.function
    for results in (network(x), function(x)):
        for ours, theirs in zip(results, held(x), strict=True):
            assert type(ours) is np.ndarray
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.fixture
def parameter(tmp_path: Path) -> tuple[StoredParameter, Any]:
    array = np.random.default_rng(2).standard_normal((3, 4, 5)).astype("f4")
    path = tmp_path / "weights"
    path.write_bytes(b"head" + array.tobytes() + b"tail")
    return StoredParameter(WeightFile(path), 4, array.shape, array.dtype), array


def test_a_stored_parameter_is_an_array(parameter: tuple[StoredParameter, Any]) -> None:
    found, array = parameter
    assert (found.shape, found.ndim, found.size, found.nbytes, found.dtype, len(found)) == (
        array.shape, 3, 60, 240, array.dtype, 3,
    )  # fmt: skip
    assert repr(found).startswith("StoredParameter(")
    for axes in ((), (None,), ((2, 0, 1),), (1, 0, -1)):
        turned, wanted = found.transpose(*axes), array.transpose(*axes)
        assert isinstance(turned, StoredParameter)
        assert turned.shape == wanted.shape
        assert np.array_equal(turned.read(), wanted)
        assert np.array_equal(turned.T.transpose(1, 2, 0).read(), wanted.T.transpose(1, 2, 0))
    assert found._kept is None
    with pytest.raises(ValueError, match="do not match"):
        found.transpose(0, 0, 1)
    assert np.array_equal(np.transpose(found, (1, 0, 2)), array.transpose(1, 0, 2))
    for ours, theirs in (
        (found + 1, array + 1), (2 * found, 2 * array), (array - found, array * 0),
        (found @ np.ones(5), array @ np.ones(5)), (np.exp(found), np.exp(array)),
        (found[1, ::2], array[1, ::2]), (found.reshape(12, 5), array.reshape(12, 5)),
        (found.astype("f8"), array.astype("f8")), (np.concatenate([found, array]),
        np.concatenate([array, array])), (np.asarray(found, "f8"), array.astype("f8")),
    ):  # fmt: skip
        assert np.array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    assert found._kept is not None
    assert found.read() is found._kept
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(found)[0] = 1
    copied = np.array(found)
    copied[0] = 1
    assert isinstance(pickle.loads(pickle.dumps(found)), Parameter)
    assert not hasattr(found, "no_such_thing")


def test_small_files_do_not_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "LEAST_FILE_BYTES", 1 << 20)
    for kind in KINDS:
        network = fastconv.load(digits(tmp_path, kind))
        assert not in_file(network)


def test_where_files_cannot_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {kind: fastconv.load(digits(tmp_path, kind), in_memory=True)(X) for kind in KINDS}
    monkeypatch.setattr(stored, "can_store", lambda: False)
    for kind in KINDS:
        network = fastconv.load(tmp_path / f"net.{kind}")
        assert not in_file(network)
        assert network(X).tobytes() == expected[kind].tobytes()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted there")
def test_a_network_that_is_gone_has_no_open_file(tmp_path: Path) -> None:
    path = digits(tmp_path, "fastconv")

    def times_open() -> int:
        gc.collect()
        names = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
        return sum(os.path.realpath(name) == str(path.resolve()) for name in names)

    network = fastconv.load(path)
    assert times_open() == 1
    network(X)
    del network
    assert times_open() == 0
