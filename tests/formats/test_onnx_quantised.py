"""Convolutions of quantised integers with constant weights: exact, in float32 or beyond it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv.network.program import Solve
from fastconv.problem import ConvProblem

onnx = pytest.importorskip("onnx", reason="these tests make ONNX models")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto


def loaded(op: str, inputs: dict[str, Any], groups: int, out: Any) -> fastconv.Network:
    """Return a network of one convolution over ``x``, all else being constants."""
    node = helper.make_node(op, [*inputs], ["y"], pads=[1, 1, 1, 1], group=groups)
    x = inputs["x"]
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", kind, ["n", *x.shape[1:]])],
        [helper.make_tensor_value_info("y", out, list("abcd"))],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in inputs.items() if n != "x"],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return fastconv.load(made.SerializeToString())


def problem_of(network: fastconv.Network, x: Any) -> ConvProblem:
    compiled = network.compiled(x.shape)
    assert compiled is not None
    solved = [op.problem for op in compiled.program.ops if isinstance(op, Solve)]
    (found,) = (problem for problem in solved if isinstance(problem, ConvProblem))
    return found


def sums(x: Any, weight: Any, groups: int = 1) -> Any:
    padded = np.pad(x.astype("i8"), ((0, 0), (0, 0), (1, 1), (1, 1)))
    return fastconv.conv2d(padded, weight.astype("i8"), groups=groups, backend="reference")


@pytest.mark.parametrize(("size", "dtype"), [(114, "float32"), (115, "int16")])
def test_float32_takes_what_it_holds(size: int, dtype: str) -> None:
    rng = np.random.default_rng(size)
    # 576 terms of up to 255 times 114 are just below 2^24, and of 115 above it.
    weight = (rng.choice([-1, 1], (8, 64, 3, 3)) * size).astype("i1")
    weight[0] = size
    x = rng.choice(np.array([0, 254, 255], "u1"), (2, 64, 9, 11))
    x[0] = 255
    network = loaded("ConvInteger", {"x": x, "w": weight}, 1, TensorProto.INT32)
    posed = problem_of(network, x)
    assert (posed.dtype.name, dtype == "int16" or posed.rtol == 0) == (dtype, True)
    result = network(x)
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, sums(x, weight))
    assert result.max() == 255 * size * 576


@pytest.mark.parametrize("large", [0, 2**21, 2**30])
@pytest.mark.parametrize("groups", [1, 4])
def test_scales_and_biases_leave_sums_exact(groups: int, large: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(large + groups)
    weight = rng.integers(-128, 128, (8, 64 // groups, 3, 3)).astype("i1")
    # Powers of 2, so that nothing but halves is ever rounded.
    scales = 2.0 ** -rng.integers(12, 16, 8)
    bias = rng.integers(-5000, 5000, 8).astype("i4") + np.int32(large)
    x = rng.integers(-128, 128, (2, 64, 13, 14)).astype("i1")
    inputs = {
        "x": x, "xs": np.float32(0.5), "xz": np.int8(-3), "w": weight,
        "ws": scales.astype("f4"), "wz": np.full(8, 2, "i1"), "ys": np.float32(0.25),
        "yz": np.uint8(7), "b": bias,
    }  # fmt: skip
    network = loaded("QLinearConv", inputs, groups, TensorProto.UINT8)
    posed = problem_of(network, x)
    assert (posed.dtype.name, posed.rtol) == ("float32", 0)
    assert posed.bias == (large < 2**24)
    total = sums(x.astype("i8") + 3, weight.astype("i8") - 2, groups)
    total = (total + bias[:, None, None]).astype("f4").astype("f8")
    expected = np.rint(total * (2 * scales)[:, None, None]) + 7
    np.testing.assert_array_equal(network(x), expected.clip(0, 255).astype("u1"))
    network.save(tmp_path / "one.fastconv")
    again = fastconv.load(tmp_path / "one.fastconv")
    np.testing.assert_array_equal(again(x), network(x))


def test_filters_that_are_outer_products_are_not_taken_apart() -> None:
    rng = np.random.default_rng(0)
    lines = rng.integers(1, 10, (2, 64, 7))
    weight = (lines[0][:, :, None] * lines[1][:, None]).astype("i1")[:, None]
    x = rng.integers(0, 256, (1, 64, 50, 50)).astype("u1")
    network = loaded("ConvInteger", {"x": x, "w": weight}, 64, TensorProto.INT32)
    assert not problem_of(network, x).separable
    np.testing.assert_array_equal(network(x), sums(x, weight, 64))
