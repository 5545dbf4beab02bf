"""Sessions as onnxruntime has them: the same calls, the same answers."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import settings

onnx = pytest.importorskip("onnx", reason="these tests make ONNX models")

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


def use(module: Any, model: Any) -> Any:
    """Write a program against one of the two modules: all that it sees of a session."""
    options = module.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = module.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = module.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    (result,) = session.get_outputs()
    meta = session.get_modelmeta()
    x = np.random.default_rng(3).random((4, 1, 28, 28), "f4")
    (logits,) = session.run([result.name], {given.name: x})
    (again,) = session.run(None, {given.name: x}, None)
    np.testing.assert_array_equal(again, logits)
    described = [(a.name, a.shape, a.type) for a in (given, result)]
    return logits, described, session.get_providers(), meta.graph_name, meta.producer_name


@pytest.mark.parametrize("name", ["lenet5", "convnet1"])
def test_onnxruntime_says_the_same(name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="it is the oracle")
    path = DIGITS / f"{name}.onnx"
    logits, *facts = use(fastconv.onnx, str(path))
    expected, *wanted = use(onnxruntime, str(path))
    assert facts == wanted
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(use(fastconv.onnx, path.read_bytes())[0], logits)


def test_types_are_named_as_onnx_names_them() -> None:
    value_info, proto = onnx.helper.make_tensor_value_info, onnx.TensorProto
    inputs = [
        value_info("a", proto.FLOAT16, ["n", None, 3]),
        value_info("b", proto.STRING, []),
        onnx.helper.make_tensor_sequence_value_info("c", proto.DOUBLE, None),
    ]
    nodes = [onnx.helper.make_node("Identity", [n], [n + "_out"]) for n in "abc"]
    outputs = [
        value_info("a_out", proto.FLOAT16, ["n", None, 3]),
        value_info("b_out", proto.STRING, []),
        onnx.helper.make_tensor_sequence_value_info("c_out", proto.DOUBLE, None),
    ]
    graph = onnx.helper.make_graph(nodes, "kinds", inputs, outputs)
    session = fastconv.InferenceSession(onnx.helper.make_model(graph, ir_version=8))
    assert [(a.shape, a.type) for a in session.get_inputs()] == [
        (["n", None, 3], "tensor(float16)"), ([], "tensor(string)"), ([], "seq(tensor(double))"),
    ]  # fmt: skip
    feeds = {"a": np.ones((1, 2, 3), "f2"), "b": np.array("word"), "c": [np.ones(2)]}
    c, b = session.run(["c_out", "b_out"], feeds)
    assert b == np.array("word", object)
    assert [v.tolist() for v in c] == [[1, 1]]


def test_wrong_calls_are_refused() -> None:
    session = fastconv.InferenceSession(DIGITS / "lenet5.onnx")
    x = np.zeros((1, 1, 28, 28), "f4")
    with pytest.raises(ValueError, match="takes inputs image, but got none"):
        session.run(None, {})
    with pytest.raises(ValueError, match="there is no output 'other'"):
        session.run(["other"], {"image": x})
    with pytest.raises(TypeError, match="takes float32, but got float64"):
        session.run(None, {"image": x.astype("f8")})
    with pytest.raises(ValueError, match="takes shape any x 1 x 28 x 28"):
        session.run(None, {"image": x[..., 1:]})
    with pytest.raises(ValueError, match="there is no file"):
        fastconv.InferenceSession("nowhere.onnx")
    with pytest.raises(TypeError, match="a model is a path, bytes or"):
        fastconv.InferenceSession(3)
    options = fastconv.SessionOptions(intra_op_num_threads=-1)
    with pytest.raises(ValueError, match="must not be negative"):
        fastconv.InferenceSession(DIGITS / "lenet5.onnx", options)


def test_each_session_has_its_own_number_of_threads() -> None:
    seen: dict[int, int] = {}
    barrier = threading.Barrier(2)

    def watch(threads: int) -> None:
        options = fastconv.SessionOptions(intra_op_num_threads=threads)
        session = fastconv.InferenceSession(DIGITS / "lenet5.onnx", options)

        def run(outputs: Any, feeds: Any) -> list[Any]:
            barrier.wait(timeout=30)
            seen[threads] = settings.get_num_threads()
            barrier.wait(timeout=30)
            return []

        session.network.run = run  # type: ignore[method-assign]
        session.run(None, {})

    before = settings.get_num_threads()
    workers = [threading.Thread(target=watch, args=(n,)) for n in (3, 5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert seen == {3: 3, 5: 5}
    assert settings.get_num_threads() == before
