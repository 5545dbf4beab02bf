"""ONNX files: networks exported by PyTorch, families by hand, files that are not models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv.formats.onnx import graph_of
from fastconv.network import Network

onnx = pytest.importorskip("onnx", reason="these tests make ONNX models")
TensorProto, helper, numpy_helper = onnx.TensorProto, onnx.helper, onnx.numpy_helper

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


def model(
    nodes: list[Any],
    inputs: dict[str, tuple[Any, ...]],
    constants: dict[str, np.ndarray[Any, Any]],
    outputs: dict[str, tuple[Any, ...]],
    opset: int = 17,
) -> Any:
    """Build a model of float32 inputs and outputs."""
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(v, n) for n, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("name", ["convnet1", "lenet5"])
def test_the_digits_networks_agree_with_pytorch(name: str) -> None:
    data = np.load(DIGITS / "test_images.npz")
    images = data["images"][:, None].astype("f4") / np.float32(255)
    network = fastconv.load(DIGITS / f"{name}.onnx")
    logits = network(images)
    assert np.abs(logits - data[f"{name}_logits"]).max() <= 1e-4
    assert (logits.argmax(1) == data[f"{name}_logits"].argmax(1)).all()
    assert (logits.argmax(1) == data["labels"]).mean() >= 0.97
    assert network(images[7:8]).tobytes() == logits[7:8].tobytes()
    assert network.inputs[0].shape == ("batch", 1, 28, 28)


def test_a_branching_network_is_what_onnx_says_it_is() -> None:
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(0)
    constants = {
        "w1": rng.standard_normal((8, 3, 3, 3)).astype("f4"),
        "b1": rng.standard_normal(8).astype("f4"),
        "w2": rng.standard_normal((8, 1, 3, 3)).astype("f4"),
        "w3": rng.standard_normal((16, 10)).astype("f4"),
        "shape": np.array([0, -1], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], pads=[1, 0, 1, 2], strides=[2, 1]),
        helper.make_node("Conv", ["a", "w2"], ["b"], auto_pad="SAME_LOWER", group=8),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Concat", ["a", "c"], ["d"], axis=1),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Reshape", ["e", "shape"], ["f"]),
        helper.make_node("MatMul", ["f", "w3"], ["g"]),
        helper.make_node("Softmax", ["g"], ["y"], axis=1),
    ]
    made = model(nodes, {"x": ("n", 3, "h", "w")}, constants, {"y": ("n", 10)})
    network = Network.from_graph(graph_of(made))
    evaluator = ReferenceEvaluator(made)
    for shape in ((1, 3, 9, 8), (2, 3, 12, 7)):
        x = rng.standard_normal(shape).astype("f4")
        (expected,) = evaluator.run(None, {"x": x})
        np.testing.assert_allclose(network(x), expected, rtol=1e-4, atol=1e-6)
    summary = network.summary((1, 3, 16, 16))
    assert summary.rows[-1].output_shape == (10,)
    assert summary.total_parameters == 8 * 27 + 8 + 72 + 160


def test_constant_weights_are_packed_once() -> None:
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((6, 4)).astype("f4")
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"])]
    graph = graph_of(model(nodes, {"x": ("n", 6)}, {"w": weight}, {"y": ("n", "o")}))
    network = Network.from_graph(graph)
    x = rng.standard_normal((3, 6)).astype("f4")
    np.testing.assert_allclose(network(x), x @ weight, rtol=1e-5, atol=1e-6)
    network(x)
    packed = [p for p in graph.constants.values() if p._plans]
    assert len(packed) == 1
    (plans,) = packed[0]._plans.values()
    assert len(plans.packed) == 2  # the weight, and zeros where there is no bias


def test_everything_unsupported_is_named_at_once() -> None:
    nodes = [
        helper.make_node("Swishy", ["x"], ["a"], name="first", domain="com.example"),
        helper.make_node("Relu", ["x"], ["b"]),
        helper.make_node("Wobble", ["b"], ["c"], name="second", domain="com.example"),
    ]
    made = model(nodes, {"x": (2, 2)}, {}, {"a": (), "c": ()})
    made.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(ValueError, match="unsupported operators") as caught:
        graph_of(made)
    message = str(caught.value)
    assert "Swishy (domain com.example, opset 1, node first)" in message
    assert "Wobble (domain com.example, opset 1, node second)" in message
    assert "Relu" not in message
    assert "define it in the model as a function" in message


def test_unknown_operator_that_nobody_reads_is_let_be() -> None:
    inner = helper.make_graph(
        [helper.make_node("Neg", ["b"], ["t"])],
        "then",
        [],
        [helper.make_empty_tensor_value_info("t")],
    )
    other = helper.make_graph(
        [helper.make_node("Relu", ["b"], ["e"])],
        "else",
        [],
        [helper.make_empty_tensor_value_info("e")],
    )
    nodes = [
        helper.make_node("Swishy", ["x"], ["a"], name="first", domain="com.example"),
        helper.make_node("Wobble", ["a"], ["c"], name="second", domain="com.example"),
        helper.make_node("Abs", ["x"], ["b"]),
        helper.make_node("If", ["on"], ["y"], then_branch=inner, else_branch=other),
    ]
    weights = {"on": np.array(True)}
    made = model(nodes, {"x": (2, 2)}, weights, {"y": ()})
    made.opset_import.append(helper.make_opsetid("com.example", 1))
    x = np.array([[1, -2], [3, -4]], "f4")
    np.testing.assert_array_equal(Network.from_graph(graph_of(made))(x), -np.abs(x))
    made.graph.output.append(helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, (2, 2)))
    with pytest.raises(ValueError, match="Wobble"):
        graph_of(made)


def test_what_only_the_reference_runs_is_told() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="first"),
        helper.make_node("Det", ["a"], ["y"], name="second"),
    ]
    network = Network.from_graph(graph_of(model(nodes, {"x": ("n", 2, 2)}, {}, {"y": ("n",)})))
    assert network.fallbacks == ("Det (node second)",)
    x = np.array([[[1, 2], [3, 5]], [[2, 0], [0, 2]]], "f4")
    np.testing.assert_allclose(network(x), [-1, 4], rtol=1e-6)
    # onnx tells the shape of its result, so that the rest is compiled around it.
    assert network.compiled((5, 2, 2)) is not None
    row = network.summary((5, 2, 2)).rows[-1]
    assert (row.layer, row.kind, row.algorithm) == ("second", "Det", "onnx.reference")
    assert "Det" in str(network.explain((5, 2, 2)))


def test_random_numbers_are_drawn_anew_at_each_call() -> None:
    nodes = [
        helper.make_node("RandomNormal", [], ["r"], shape=[64]),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    network = Network.from_graph(graph_of(model(nodes, {"x": (64,)}, {}, {"y": (64,)})))
    x = np.zeros(64, "f4")
    first, second = network(x), network(x)
    assert (first != second).any()


def test_the_first_opsets_are_read() -> None:
    """Up to opset 6 the second operand's place is an attribute, and shapes are too."""
    rng = np.random.default_rng(5)
    bias = rng.standard_normal(3).astype("f4")
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], broadcast=1, axis=1),
        helper.make_node("Pad", ["a"], ["p"], paddings=[0, 0, 1, 0, 0, 0, 0, 2]),
        helper.make_node("Upsample", ["p"], ["u"], height_scale=2.0, width_scale=1.0),
        helper.make_node("Cast", ["u"], ["c"], to="DOUBLE"),
        helper.make_node("Cast", ["c"], ["f"], to="FLOAT"),
        helper.make_node("Reshape", ["f"], ["y"], shape=[0, -1]),
    ]
    made = model(nodes, {"x": (2, 3, 4, 5)}, {"b": bias}, {"y": (2, 210)}, opset=1)
    x = rng.standard_normal((2, 3, 4, 5)).astype("f4")
    padded = np.pad(x + bias[:, None, None], ((0, 0), (0, 0), (1, 0), (0, 2)))
    expected = padded.repeat(2, axis=2).reshape(2, -1)
    np.testing.assert_array_equal(Network.from_graph(graph_of(made, checked=False))(x), expected)


def test_branches_and_loops_run_inside() -> None:
    """The graphs inside see the values outside, and are not fallbacks."""
    value_info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Conv", ["s", "w"], ["t"], pads=[1, 1, 1, 1]),
            helper.make_node("Identity", ["going"], ["again"]),
            helper.make_node("ReduceSum", ["t"], ["total"], keepdims=0),
        ],
        "body",
        [value_info(n, t, s) for n, t, s in (("i", 7, ()), ("going", 9, ()), ("s", 1, None))],
        [value_info(n, t, s) for n, t, s in (("again", 9, ()), ("t", 1, None), ("total", 1, ()))],
    )
    nodes = [helper.make_node("Loop", ["count", "", "x"], ["y", "totals"], body=body)]
    weight = np.full((1, 1, 3, 3), 0.1, "f4")
    constants = {"w": weight, "count": np.array(3, np.int64)}
    made = model(nodes, {"x": (1, 1, 4, 4)}, constants, {"y": (1, 1, 4, 4), "totals": (3,)})
    network = Network.from_graph(graph_of(made))
    assert network.fallbacks == ()
    value, totals = np.ones((1, 1, 4, 4), "f4"), []
    y, found = network(value)
    for _ in range(3):
        value = fastconv.conv2d(value, weight, padding=1)
        totals.append(value.sum())
    np.testing.assert_allclose(y, value, rtol=1e-5)
    np.testing.assert_allclose(found, totals, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["i4", "f8", "?"])
@pytest.mark.parametrize("rank", [None, 2])
def test_loop_without_passes_stacks_nothing_in_the_dtype_of_its_body(
    dtype: str, rank: int | None
) -> None:
    """A body's outputs need no declared types: their dtypes follow from what goes in."""
    value_info = helper.make_tensor_value_info
    number = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    shape = None if rank is None else ["n"] * rank
    untyped = onnx.ValueInfoProto(name="row")
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["again"]),
            helper.make_node("Identity", ["s"], ["t"]),
            helper.make_node("Identity", ["x"], ["row"]),
        ],
        "body",
        [value_info(n, t, s) for n, t, s in (("i", 7, ()), ("going", 9, ()), ("s", number, shape))],
        [value_info("again", 9, ()), value_info("t", number, shape), untyped],
    )  # fmt: skip
    nodes = [helper.make_node("Loop", ["count", "", "x"], ["y", "rows"], body=body)]
    info = [value_info("x", number, (2, 3)), value_info("count", 7, ())]
    results = [value_info("y", number, (2, 3)), value_info("rows", number, ("n", 2, 3))]
    graph = helper.make_graph(nodes, "loops", info, results)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    network = Network.from_graph(graph_of(made))
    x = np.ones((2, 3), dtype)
    for count in (0, 2):
        y, rows = network(x, np.array(count))
        assert (y.dtype, y.shape) == (x.dtype, (2, 3))
        assert (rows.dtype, rows.shape) == (x.dtype, (count, 2, 3))


def test_scan_of_no_length_stacks_nothing_in_the_dtype_of_its_body() -> None:
    value_info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["s"], ["t"]), helper.make_node("Not", ["e"], ["o"])],
        "body",
        [value_info("s", 1, ()), value_info("e", 9, (3,))],
        [value_info("t", 1, ()), onnx.ValueInfoProto(name="o")],
    )
    node = helper.make_node(
        "Scan", ["x", "b"], ["y", "z"], body=body, num_scan_inputs=1, scan_output_axes=[1]
    )
    info = [value_info("x", 1, ()), value_info("b", 9, ("n", 3))]
    results = [value_info("y", 1, ()), value_info("z", 9, (3, "n"))]
    graph = helper.make_graph([node], "scans", info, results)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    network = Network.from_graph(graph_of(made))
    for count in (0, 2):
        _, z = network(np.float32(1), np.zeros((count, 3), bool))
        assert (z.dtype, z.shape) == (np.dtype(bool), (3, count))


def test_short_loops_are_written_out_and_long_ones_run() -> None:
    value_info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Add", ["s", "one"], ["t"]),
            helper.make_node("Identity", ["going"], ["again"]),
        ],
        "body",
        [value_info(n, t, s) for n, t, s in (("i", 7, ()), ("going", 9, ()), ("s", 1, None))],
        [value_info(n, t, s) for n, t, s in (("again", 9, ()), ("t", 1, None))],
    )
    nodes = [helper.make_node("Loop", ["count", "", "x"], ["y"], body=body)]
    for count, written_out in ((5, True), (2000, False)):
        constants = {"one": np.ones(1, "f4"), "count": np.array(count, np.int64)}
        made = model(nodes, {"x": (3,)}, constants, {"y": (3,)})
        network = Network.from_graph(graph_of(made))
        assert (network.compiled((3,)) is not None) is written_out
        np.testing.assert_array_equal(network(np.zeros(3, "f4")), count)


def test_cycles_and_missing_inputs_are_refused() -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    with pytest.raises(ValueError, match=r"not a valid ONNX model|reads"):
        graph_of(model(nodes, {"x": (2,)}, {}, {"b": (2,)}))


def test_external_data_outside_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    weight = np.random.default_rng(2).standard_normal((4, 64)).astype("f4")
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)]
    made = model(nodes, {"x": ("n", 64)}, {"w": weight}, {"y": ("n", "o")})
    path = folder / "net.onnx"
    onnx.save(made, path, save_as_external_data=True, location="data.bin", size_threshold=0)
    x = np.ones((2, 64), "f4")
    np.testing.assert_allclose(fastconv.load(path)(x), x @ weight.T, rtol=1e-5, atol=1e-5)
    (folder / "data.bin").rename(tmp_path / "data.bin")
    loaded = onnx.load(path, load_external_data=False)
    loaded.graph.initializer[0].external_data[0].value = "../data.bin"
    path.write_bytes(loaded.SerializeToString())
    with pytest.raises(ValueError, match=r"not a file in the model's folder"):
        fastconv.load(path)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        fastconv.load(tmp_path / "none.onnx")
    other = tmp_path / "model.h5"
    other.write_bytes(b"x")
    with pytest.raises(ValueError, match=r"models are read from \.onnx files"):
        fastconv.load(other)
    text = tmp_path / "text.onnx"
    text.write_text("not a model at all")
    with pytest.raises(ValueError, match=r"text\.onnx"):
        fastconv.load(text)
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty\.onnx"):
        fastconv.load(tmp_path / "empty.onnx")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(part: float, tmp_path: Path) -> None:
    whole = (DIGITS / "lenet5.onnx").read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(ValueError, match=r"cut\.onnx"):
        fastconv.load(cut)


def test_mutated_files_end_in_a_result_or_a_clear_error(tmp_path: Path) -> None:
    whole = bytearray((DIGITS / "convnet1.onnx").read_bytes())
    rng = np.random.default_rng(3)
    # Most bytes are weights: look for trouble in the graph, which is before and behind them.
    places = np.concatenate([np.arange(600), len(whole) - 1 - np.arange(600)])
    path = tmp_path / "mutated.onnx"
    x = np.zeros((1, 1, 28, 28), "f4")
    messages = []
    for _ in range(300):
        mutated = bytearray(whole)
        for place in rng.choice(places, rng.integers(1, 4)):
            mutated[place] = rng.integers(256)
        path.write_bytes(mutated)
        try:
            fastconv.load(path)(x)
        except (ValueError, TypeError) as error:
            messages.append(str(error))
    assert len(messages) > 30
    assert all(messages)
