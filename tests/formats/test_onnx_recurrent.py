"""ONNX's LSTM, GRU, RNN and CausalConvWithState, against onnxruntime and onnx's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import fastconv  # noqa: E402
from fastconv.formats.onnx.call import TRANSLATIONS  # noqa: E402
from tests.tolerance import Array, sum_tolerance  # noqa: E402

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, BATCH, INPUTS, HIDDEN = 5, 4, 6, 19


def model(
    op: str, constant: bool = True, opset: int = 14, given: tuple[str, ...] = (), **attributes: Any
) -> tuple[Any, dict[str, Array]]:
    """Make a model of one node, with weights as constants or as inputs, and its inputs."""
    rng = np.random.default_rng(0)
    count = 2 if attributes.get("direction") == "bidirectional" else 1
    rows, last = GATES[op] * HIDDEN, attributes.get("layout", 0)

    def some(*shape: int, scale: float = 1.0) -> Array:
        return (scale * rng.standard_normal(shape)).astype("f4")

    state = (BATCH, count, HIDDEN) if last else (count, BATCH, HIDDEN)
    values = {
        "X": some(BATCH, STEPS, INPUTS) if last else some(STEPS, BATCH, INPUTS),
        "W": some(count, rows, INPUTS, scale=INPUTS**-0.5),
        "R": some(count, rows, HIDDEN, scale=HIDDEN**-0.5),
        "B": some(count, 2 * rows),
        "sequence_lens": np.array([5, 1, 3, 5], "i4"),
        "initial_h": some(*state),
        "initial_c": some(*state),
        "P": some(count, 3 * HIDDEN),
    }
    names = [*values][: 8 if op == "LSTM" else 6]
    kept = {"X", "W", "R", *given}
    inputs = [name if name in kept else "" for name in names]
    held = [n for n in ("W", "R", "B", "P") if constant and n in inputs]
    outputs = ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2]
    node = onnx.helper.make_node(op, inputs, outputs, hidden_size=HIDDEN, **attributes)
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            [node],
            "g",
            [
                onnx.helper.make_tensor_value_info(
                    n, onnx.helper.np_dtype_to_tensor_dtype(values[n].dtype), values[n].shape
                )
                for n in inputs
                if n and n not in held
            ],
            [
                onnx.helper.make_tensor_value_info(
                    n, onnx.TensorProto.FLOAT, [None] * (4 if n == "Y" else 3)
                )
                for n in outputs
            ],
            [onnx.numpy_helper.from_array(values[n], n) for n in held],
        ),
        opset_imports=[onnx.helper.make_opsetid("", opset)],
        ir_version=8,
    )
    return made, {n: values[n] for n in inputs if n and n not in held}


def assert_as_onnxruntime(made: Any, feeds: dict[str, Array]) -> None:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    ours = fastconv.InferenceSession(made.SerializeToString())
    assert not ours.network.fallbacks
    length = INPUTS + HIDDEN
    allowed = 4 * sum_tolerance("f4", length) / length**0.5
    for a, b in zip(ours.run(None, feeds), session.run(None, feeds), strict=True):
        # Functions without limits carry errors of the size of what they give.
        size = max(1.0, float(np.abs(b).max()))
        np.testing.assert_allclose(a, b, rtol=0, atol=size * allowed)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("constant", [True, False])
def test_recurrent_all_inputs_as_onnxruntime(op: str, direction: str, constant: bool) -> None:
    every = ("B", "sequence_lens", "initial_h", "initial_c", "P")
    assert_as_onnxruntime(*model(op, constant, given=every, direction=direction))


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("opset", [7, 14, 22])
def test_recurrent_opset_as_onnxruntime(op: str, opset: int) -> None:
    assert_as_onnxruntime(*model(op, opset=opset))
    assert_as_onnxruntime(*model(op, opset=opset, given=("B", "initial_h"), clip=0.4))


@pytest.mark.parametrize("op", GATES)
def test_recurrent_functions_as_onnxruntime(op: str) -> None:
    """Each function takes the next alphas and betas that it has a use for."""
    several = ("HardSigmoid", "Tanh", "LeakyRelu", "Affine", "ScaledTanh", "Softsign")
    count = {"LSTM": 3, "GRU": 2, "RNN": 1}[op]
    assert_as_onnxruntime(
        *model(
            op, direction="bidirectional", activations=several[: 2 * count],
            activation_alpha=[0.3, 0.1, 0.9, 0.8], activation_beta=[0.4, 0.05, 0.7],
        )
    )  # fmt: skip


def test_lstm_input_forget_as_onnxruntime() -> None:
    assert_as_onnxruntime(*model("LSTM", given=("B", "initial_c"), input_forget=1))


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_gru_reset_after_as_onnxruntime(direction: str) -> None:
    every = ("B", "sequence_lens", "initial_h")
    for after in (0, 1):
        made = model("GRU", given=every, direction=direction, linear_before_reset=after)
        assert_as_onnxruntime(*made)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_recurrent_layout_batch_first_moves_axes(op: str, direction: str) -> None:
    """Onnxruntime has no such layout: what it means is a transpose before and after."""
    given = ("B", "initial_h", "initial_c")
    made, feeds = model(op, given=given, direction=direction, layout=1)
    plain, _ = model(op, given=given, direction=direction)
    moved = {name: value.swapaxes(0, 1) for name, value in feeds.items()}
    found = fastconv.InferenceSession(made.SerializeToString()).run(None, feeds)
    # The weights are drawn alike, the others from the same stream in another shape.
    own = fastconv.InferenceSession(plain.SerializeToString()).run(None, moved)
    for a, b in zip(made.graph.initializer, plain.graph.initializer, strict=True):
        assert a.raw_data == b.raw_data
    np.testing.assert_array_equal(found[0], own[0].transpose(2, 0, 1, 3))
    for a, b in zip(found[1:], own[1:], strict=True):
        np.testing.assert_array_equal(a, b.swapaxes(0, 1))


@pytest.mark.parametrize("op", GATES)
def test_recurrent_no_steps_empty_output(op: str) -> None:
    made, feeds = model(op, given=("initial_h",))
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "steps"
    session = fastconv.InferenceSession(made.SerializeToString())
    output, state, *_ = session.run(None, {**feeds, "X": feeds["X"][:0]})
    assert output.shape == (0, 1, BATCH, HIDDEN)
    np.testing.assert_array_equal(state, feeds["initial_h"])


def test_recurrent_outputs_left_out() -> None:
    made, feeds = model("LSTM")
    made.graph.node[0].output[:] = ["", "", "Y_c"]
    del made.graph.output[:2]
    whole, _ = model("LSTM")
    wanted = fastconv.InferenceSession(whole.SerializeToString()).run(["Y_c"], feeds)
    found = fastconv.InferenceSession(made.SerializeToString()).run(None, feeds)
    np.testing.assert_array_equal(found[0], wanted[0])


def test_recurrent_network_saved_and_loaded(tmp_path: Any) -> None:
    made, feeds = model("LSTM", given=("B", "initial_h"), direction="bidirectional")
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    network = fastconv.load(tmp_path / "m.onnx")
    network.save(tmp_path / "m.fastconv")
    arrays = list(feeds.values())
    again = fastconv.load(tmp_path / "m.fastconv")
    for a, b in zip(network(*arrays), again(*arrays), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(onnx.defs.onnx_opset_version() < 27, reason="newer than this onnx")
@pytest.mark.parametrize("past", [True, False])
@pytest.mark.parametrize("length", [1, 2, 9])
@pytest.mark.parametrize("activation", ["none", "silu"])
def test_causal_conv_as_onnx_reference(past: bool, length: int, activation: str) -> None:
    from onnx.reference import ReferenceEvaluator

    assert "CausalConvWithState" in TRANSLATIONS
    rng = np.random.default_rng(0)
    shapes = {"x": (2, 5, length), "w": (5, 1, 4), "b": (5,), "past": (2, 5, 3)}
    values = {n: rng.standard_normal(s).astype("f4") for n, s in shapes.items()}
    names = ["x", "w", "b", "past"][: 4 if past else 3]
    node = onnx.helper.make_node("CausalConvWithState", names, ["y", "s"], activation=activation)
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [info(n, onnx.TensorProto.FLOAT, shapes[n]) for n in names],
        [info(n, onnx.TensorProto.FLOAT, [None] * 3) for n in ("y", "s")],
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 27)])
    feeds = {n: values[n] for n in names}
    session = fastconv.InferenceSession(made.SerializeToString())
    assert not session.network.fallbacks
    wanted = ReferenceEvaluator(made).run(None, feeds)
    for a, b in zip(session.run(None, feeds), wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=sum_tolerance("f4", 4))
