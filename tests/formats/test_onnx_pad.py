"""Pad in every mode, on any axes of data of any rank: against onnx's reference and onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import fastconv
from fastconv.onnx import InferenceSession

MODES = ("constant", "reflect", "edge", "wrap")
Array = np.ndarray[Any, Any]


def model_of(x: Array, pads: Any, mode: str, axes: Any = None, value: Any = None) -> Any:
    constants, names = [numpy_helper.from_array(np.asarray(pads, "i8"), "pads")], ["x", "pads"]
    if value is not None:
        constants.append(numpy_helper.from_array(np.array(value, x.dtype), "value"))
    names.append("" if value is None else "value")
    if axes is not None:
        constants.append(numpy_helper.from_array(np.asarray(axes, "i8"), "axes"))
        names.append("axes")
    element = helper.np_dtype_to_tensor_dtype(x.dtype)
    # Without a declared batch the axes are padded of any lengths.
    source = helper.make_tensor_value_info("x", element, [f"n{i}" for i in range(x.ndim)])
    target = helper.make_tensor_value_info("y", element, [f"m{i}" for i in range(x.ndim)])
    node = helper.make_node("Pad", names, ["y"], mode=mode)
    graph = helper.make_graph([node], "g", [source], [target], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def given_by(model: Any, x: Array) -> Array:
    network = fastconv.load(model)
    assert not network.fallbacks
    result: Array = network(x)
    assert result.size == 0 or network.compiled(x.shape) is not None, "it runs natively"
    return result


def drawn(rng: np.random.Generator, mode: str, least: int) -> tuple[Array, list[int], Any]:
    rank = int(rng.integers(1, 6))
    shape = rng.integers(1, 5, rank)
    x = rng.integers(-99, 99, shape).astype(rng.choice(["f4", "f8", "i4", "u1", "f2"]))
    axes = None
    if rng.random() < 0.5:
        axes = rng.permutation(rank)[: rng.integers(1, rank + 1)]
        axes = np.where(rng.random(len(axes)) < 0.5, axes, axes - rank)
    places = np.arange(rank) if axes is None else axes % rank
    most = shape[places] - 1 if mode == "reflect" else np.full(len(places), 6)
    begins, ends = (rng.integers(least, most + 1) for _ in range(2))
    return x, [*begins.tolist(), *ends.tolist()], axes


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(40))
def test_drawn_padding_of_any_axes_is_that_of_onnx(seed: int, mode: str) -> None:
    x, pads, axes = drawn(np.random.default_rng(seed), mode, 0)
    model = model_of(x, pads, mode, axes)
    np.testing.assert_array_equal(
        given_by(model, x), ReferenceEvaluator(model).run(None, {"x": x})[0]
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(40))
def test_drawn_padding_with_cropping_is_that_of_onnxruntime(seed: int, mode: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnx's reference has no cropping")
    x, pads, axes = drawn(np.random.default_rng(1000 + seed), mode, -2)
    model = model_of(x, pads, mode, axes)
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        wanted = session.run(None, {"x": x})[0]
    except Exception:
        # It refuses what leaves nothing to repeat, and reflecting what is cropped more than once.
        return
    np.testing.assert_array_equal(given_by(model, x), wanted)


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_padding_longer_than_its_axis_goes_on(mode: str) -> None:
    x = np.float32([[1, 2, 3], [4, 5, 6]])
    for pads in ([5, 7, 9, 4], [0, 3, 0, 3], [2, 0, 2, 0]):
        model = model_of(x, pads, mode)
        wanted = ReferenceEvaluator(model).run(None, {"x": x})[0]
        np.testing.assert_array_equal(given_by(model, x), wanted)
        np.testing.assert_array_equal(
            InferenceSession(model.SerializeToString()).run(None, {"x": x})[0], wanted
        )


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_padding_of_one_cell_repeats_it(mode: str) -> None:
    x = np.float32([[7], [8]])
    model = model_of(x, [0, 2, 0, 3], mode)
    np.testing.assert_array_equal(given_by(model, x), np.repeat(x, 6, axis=1))


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_padding_of_no_cells_is_refused_where_it_needs_one(mode: str) -> None:
    x = np.zeros((0, 2), "f4")
    network = fastconv.load(model_of(x, [1, 0, 1, 0], mode))
    with pytest.raises(ValueError, match="empty axis"):
        network(x)
    assert fastconv.load(model_of(x, [0, 1, 0, 1], mode))(x).shape == (0, 4)
    assert (
        fastconv.load(model_of(x, [1, 1, 1, 1], "constant", value=5.0))(x).tolist() == [[5] * 4] * 2
    )


def test_padding_that_does_not_fit_its_axes_is_refused() -> None:
    x = np.zeros((2, 3), "f4")
    for pads, axes in (([1, 1], None), ([1, 1, 1, 1], [0]), ([1, 1], [2]), ([1, 1, 1, 1], [0, 0])):
        with pytest.raises(ValueError, match=r"pads must hold|axis 2 is out of range"):
            fastconv.load(model_of(x, pads, "edge", axes))(x)


@pytest.mark.parametrize("mode", MODES)
def test_padding_that_takes_more_away_than_there_is_is_refused(mode: str) -> None:
    x = np.zeros(3, "f4")
    with pytest.raises(ValueError, match="more cells are taken away"):
        fastconv.load(model_of(x, [-2, -2], mode))(x)


def test_padding_before_a_convolution_stays_native_at_any_batch() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((4, 3, 3, 3)).astype("f4")
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"], mode="reflect"),
        helper.make_node("Conv", ["p", "w"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(n, 1, ["n", c, 8, 8]) for n, c in (("x", 3), ("y", 4))]
    constants = [
        numpy_helper.from_array(np.int64([0, 0, 1, 1, 0, 0, 1, 1]), "pads"),
        numpy_helper.from_array(weight, "w"),
    ]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], constants)
    network = fastconv.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)]))
    x = rng.standard_normal((5, 3, 8, 8)).astype("f4")
    wanted = fastconv.conv2d(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), "reflect"), weight)
    together = network(x)
    np.testing.assert_allclose(together, wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(together[2:3], network(x[2:3]))
