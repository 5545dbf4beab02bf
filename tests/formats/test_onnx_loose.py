"""Models as they are found: open sizes, weights as inputs, outputs without types, links."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import fastconv
from fastconv.formats.onnx import checking
from fastconv.onnx import InferenceSession

value = helper.make_tensor_value_info
X = np.float32([[-1, 2]])
PORT, RESULT = value("x", 1, [1, 2]), value("y", 1, [1, 2])


def model_of(inputs: Any, outputs: Any, *, ir_version: int = 8, nodes: Any = None) -> Any:
    nodes = nodes or [
        helper.make_node("Mul", ["x", "k"], ["h"]), helper.make_node("Relu", ["h"], ["y"])
    ]  # fmt: skip
    constants = [numpy_helper.from_array(np.float32([3]), "k")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


@pytest.mark.parametrize("size", [-1, -7])
def test_negative_sizes_declared_are_open(size: int) -> None:
    model = model_of([value("x", 1, [size, 2])], [value("y", 1, [size, 2])])
    session = InferenceSession(model.SerializeToString())
    assert session.get_inputs()[0].shape == [None, 2]
    for count in (1, 3):
        given = session.run(None, {"x": X.repeat(count, 0)})[0]
        np.testing.assert_array_equal(given, np.float32([[0, 6]]).repeat(count, 0))
    with pytest.raises(ValueError, match="takes shape"):
        session.run(None, {"x": X[:, :1]})


def test_initializers_that_are_inputs_may_be_fed() -> None:
    model = model_of([PORT, value("k", 1, [1])], [RESULT])
    made = InferenceSession(model.SerializeToString())
    session = pickle.loads(pickle.dumps(made))
    assert [port.name for port in session.get_inputs()] == ["x"]
    (port,) = session.get_overridable_initializers()
    assert (port.name, port.shape, port.type) == ("k", [1], "tensor(float)")
    assert session.run(None, {"x": X})[0].tolist() == [[0, 6]]
    assert session.run(["y"], {"x": X, "k": np.float32([10])})[0].tolist() == [[0, 20]]
    assert session.run(None, {"x": X})[0].tolist() == [[0, 6]]
    with pytest.raises(ValueError, match="takes shape 1"):
        session.run(None, {"x": X, "k": np.float32([1, 2])})
    with pytest.raises(TypeError, match="takes float32"):
        session.run(None, {"x": X, "k": np.float64([1])})
    network = fastconv.load(model).within(1e-5)
    assert network.run(None, {"x": X, "k": np.float32([10])})[0].tolist() == [[0, 20]]
    assert network(X).tolist() == [[0, 6]]


def test_one_of_several_initializers_fed_leaves_the_others() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], transB=1),
        helper.make_node("Add", ["h", "k"], ["y"]),
    ]
    model = model_of([PORT, value("w", 1, [2, 2]), value("b", 1, [2])], [RESULT], nodes=nodes)
    weight, bias = np.float32([[1, 2], [3, 4]]), np.float32([5, 6])
    model.graph.initializer.extend(
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")]
    )
    session = InferenceSession(model.SerializeToString())
    assert {p.name for p in session.get_overridable_initializers()} == {"w", "b"}
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], X @ weight.T + bias + 3)
    feeds = {"x": X, "b": -bias}
    np.testing.assert_array_equal(session.run(None, feeds)[0], X @ weight.T - bias + 3)
    with pytest.raises(ValueError, match="takes inputs"):
        session.run(None, {"x": X, "k": np.float32([1])})


def test_initializers_of_the_first_formats_are_constants() -> None:
    session = InferenceSession(
        model_of([PORT, value("k", 1, [1])], [RESULT], ir_version=3).SerializeToString()
    )
    assert session.get_overridable_initializers() == []
    with pytest.raises(ValueError, match="takes inputs x"):
        session.run(None, {"x": X, "k": np.float32([1])})


UNTYPED = {
    "no shape": [value("y", 1, None)],
    "no type": [onnx.ValueInfoProto(name="y")],
    "a value within": [RESULT, onnx.ValueInfoProto(name="h")],
    "a value within without its shape": [RESULT, value("h", 1, None)],
}


@pytest.mark.parametrize("name", UNTYPED)
@pytest.mark.parametrize("large", [False, True])
def test_outputs_without_types_are_inferred(
    name: str, large: bool, tmp_path: Path, monkeypatch: Any
) -> None:
    model = model_of([PORT], UNTYPED[name])
    if large:
        # So that the weights are left out of what is read at once.
        monkeypatch.setattr("fastconv.dispatch.stored.LEAST_FILE_BYTES", 1)
        monkeypatch.setattr("fastconv.dispatch.stored.LEAST_BYTES", 1)
        monkeypatch.setattr(checking, "_LARGE", 1)
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    session = InferenceSession(path)
    results = session.run(None, {"x": X})
    assert results[0].tolist() == [[0, 6]]
    assert [r.tolist() for r in results[1:]] == [[[-3, 6]]] * (len(results) - 1)
    assert [(p.type, p.shape) for p in session.get_outputs()] == [("tensor(float)", [1, 2])] * len(
        results
    )


def test_inputs_without_a_shape_take_any() -> None:
    session = InferenceSession(
        model_of([value("x", 1, None)], [onnx.ValueInfoProto(name="y")]).SerializeToString()
    )
    for shape in ((2,), (1, 2), (2, 1, 1, 2)):
        assert session.run(None, {"x": np.ones(shape, "f4")})[0].shape == shape


# Files

WEIGHT = np.arange(64 * 64, dtype="f4").reshape(64, 64)


def written(folder: Path, location: str = "data.bin") -> None:
    """Write a model whose weight is external data, and says that it is at ``location``."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    ports = [value("x", 1, [1, 64])], [value("y", 1, [1, 64])]
    weight = numpy_helper.from_array(WEIGHT, "w")
    model = helper.make_model(helper.make_graph([node], "g", *ports, [weight]), ir_version=8)
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="data.bin",
              size_threshold=0)  # fmt: skip
    model = onnx.load(folder / "m.onnx", load_external_data=False)
    model.graph.initializer[0].external_data[0].value = location
    (folder / "m.onnx").write_bytes(model.SerializeToString())


def moved(path: Path, target: Path) -> None:
    """Move a file, and leave a relative link to it."""
    target.parent.mkdir(exist_ok=True)
    path.rename(target)
    path.symlink_to(os.path.relpath(target, path.parent))


def assert_loads(path: Path) -> None:
    x = np.ones((1, 64), "f4")
    for in_memory in (False, True):
        np.testing.assert_allclose(fastconv.load(path, in_memory=in_memory)(x), x @ WEIGHT)


def assert_refused(path: Path) -> None:
    for in_memory in (False, True):
        with pytest.raises(ValueError, match=r"not a file in the model's folder"):
            fastconv.load(path, in_memory=in_memory)


needs_links = pytest.mark.skipif(os.name == "nt", reason="links need a right there")


@needs_links
def test_links_of_a_hub_s_cache_load(tmp_path: Path, monkeypatch: Any) -> None:
    snapshot = tmp_path / "snapshot"
    written(snapshot)
    moved(snapshot / "m.onnx", tmp_path / "blobs" / "1a")
    moved(snapshot / "data.bin", tmp_path / "blobs" / "2b")
    assert_loads(snapshot / "m.onnx")
    monkeypatch.chdir(snapshot)
    assert_loads(Path("m.onnx"))


@needs_links
def test_links_to_files_within_the_model_s_folders_load(tmp_path: Path) -> None:
    written(tmp_path / "a")
    moved(tmp_path / "a" / "data.bin", tmp_path / "a" / "sub" / "d")
    assert_loads(tmp_path / "a" / "m.onnx")
    written(tmp_path / "b")
    moved(tmp_path / "b" / "m.onnx", tmp_path / "elsewhere" / "m")
    assert_loads(tmp_path / "b" / "m.onnx")
    written(tmp_path / "c")
    (tmp_path / "link").symlink_to(tmp_path / "c")
    assert_loads(tmp_path / "link" / "m.onnx")
    written(tmp_path / "d")
    os.link(tmp_path / "d" / "data.bin", tmp_path / "hard")
    assert_loads(tmp_path / "d" / "m.onnx")


@needs_links
def test_links_to_files_elsewhere_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "a")
    moved(tmp_path / "a" / "data.bin", tmp_path / "elsewhere" / "d")
    assert_refused(tmp_path / "a" / "m.onnx")
    moved(tmp_path / "a" / "m.onnx", tmp_path / "third" / "m")
    assert_refused(tmp_path / "a" / "m.onnx")
    written(tmp_path / "b", "sub/d")
    (tmp_path / "b" / "sub").symlink_to(tmp_path / "elsewhere")
    assert_refused(tmp_path / "b" / "m.onnx")
    written(tmp_path / "c")
    (tmp_path / "c" / "data.bin").unlink()
    (tmp_path / "c" / "data.bin").symlink_to("data.bin")
    assert_refused(tmp_path / "c" / "m.onnx")
    (tmp_path / "c" / "data.bin").unlink()
    (tmp_path / "c" / "data.bin").symlink_to("/dev/zero")
    assert_refused(tmp_path / "c" / "m.onnx")


def test_locations_that_lead_out_or_are_absolute_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "a")
    for location in ("../a/data.bin", "sub/../../a/data.bin", str(tmp_path / "a" / "data.bin"), "",
                     ".", "..", "none", "a\0b"):  # fmt: skip
        written(tmp_path / "b", location)
        assert_refused(tmp_path / "b" / "m.onnx")
    written(tmp_path / "c", "sub/../data.bin")
    (tmp_path / "c" / "sub").mkdir()
    assert_loads(tmp_path / "c" / "m.onnx")


def test_external_data_without_a_file_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "a")
    for source in (
        (tmp_path / "a" / "m.onnx").read_bytes(),
        onnx.load(tmp_path / "a" / "m.onnx", load_external_data=False),
    ):
        with pytest.raises(ValueError, match="load it by its path"):
            fastconv.load(source)


# Weights once


@pytest.mark.parametrize("operator", ["MatMul", "Gemm", "Gemm, turned", "two of them"])
def test_saved_weights_of_products_are_stored_once(operator: str, tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((256, 256)).astype("f4")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    if operator.startswith("Gemm"):
        nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], transB=int("turned" in operator))]
    if operator.startswith("two"):
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("MatMul", ["h", "w"], ["y"]),
        ]
    ports = [value("x", 1, ["n", 256])], [value("y", 1, ["n", 256])]
    graph = helper.make_graph(nodes, "g", *ports, [numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph, ir_version=8), tmp_path / "m.onnx")
    network = fastconv.load(tmp_path / "m.onnx")
    network.save(tmp_path / "m.fastconv")
    size = (tmp_path / "m.fastconv").stat().st_size
    assert size < 1.05 * weight.nbytes + 4096
    x = np.ones((3, 256), "f4")
    np.testing.assert_array_equal(fastconv.load(tmp_path / "m.fastconv")(x), network(x))


def test_large_weights_are_not_shown_to_the_checker(monkeypatch: Any) -> None:
    """Models beyond protobuf's 2 GB cannot be: here the least large weight is one of 4 cells."""
    monkeypatch.setattr(checking, "_LARGE", 4)
    seen = []
    monkeypatch.setattr("onnx.checker.check_model", lambda model: seen.append(model))
    model = model_of([PORT], [RESULT])
    model.graph.initializer.append(numpy_helper.from_array(np.ones((2, 2), "f4"), "unused"))
    assert fastconv.load(model)(X).tolist() == [[0, 6]]
    sizes = {t.name: (list(t.dims), len(t.raw_data)) for t in seen[0].graph.initializer}
    assert sizes == {"k": ([1], 4), "unused": ([0], 0)}
    assert len(model.graph.initializer[1].raw_data) == 16
