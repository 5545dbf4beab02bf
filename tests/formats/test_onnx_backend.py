"""fastconv as an onnx backend: its functions, their errors, and that it is loaded late."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fastconv

onnx = pytest.importorskip("onnx", reason="these tests make ONNX models")

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


def test_the_module_is_a_backend() -> None:
    import fastconv.onnx as backend

    assert fastconv.onnx is backend
    model = onnx.load(DIGITS / "lenet5.onnx")
    x = np.random.default_rng(0).random((2, 1, 28, 28), "f4")
    (expected,) = backend.prepare(model).run([x])
    np.testing.assert_array_equal(backend.run_model(model, [x])[0], expected)
    np.testing.assert_array_equal(backend.prepare(model).run({"image": x}).logits, expected)
    np.testing.assert_array_equal(fastconv.load(DIGITS / "lenet5.onnx")(x), expected)
    assert backend.is_compatible(model)
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA")
    with pytest.raises(ValueError, match="device has to be CPU"):
        backend.prepare(model, "CUDA")
    with pytest.raises(ValueError, match="takes 1 inputs, but got 2"):
        backend.prepare(model).run([x, x])


def test_one_node_runs_by_itself() -> None:
    import fastconv.onnx as backend

    x = np.arange(6, dtype="f4").reshape(2, 3)
    node = onnx.helper.make_node("ReduceSum", ["x"], ["y"], axes=[1], keepdims=0)
    np.testing.assert_array_equal(backend.run_node(node, [x], opset_version=11)[0], [3, 12])
    node = onnx.helper.make_node("Clip", ["x", "", "high"], ["y"])
    result = backend.run_node(node, [x, np.float32(2)])
    np.testing.assert_array_equal(result.y, x.clip(None, 2))
    with pytest.raises(ValueError, match="takes 2 inputs, but got 1"):
        backend.run_node(node, [x])


def test_models_are_read_from_bytes_and_protos() -> None:
    data = (DIGITS / "convnet1.onnx").read_bytes()
    x = np.zeros((1, 1, 28, 28), "f4")
    expected = fastconv.load(DIGITS / "convnet1.onnx")(x)
    np.testing.assert_array_equal(fastconv.load(data)(x), expected)
    np.testing.assert_array_equal(fastconv.load(onnx.load_from_string(data))(x), expected)
    with pytest.raises(ValueError, match="the bytes given: no ONNX model"):
        fastconv.load(data[:-5])
