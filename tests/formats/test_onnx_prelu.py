"""ONNX's PRelu: slopes are broadcast to the input from the last axis on, whatever their shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import fastconv
from fastconv.network.program import Solve
from fastconv.problem import PreluProblem

CASES = [
    # input, slopes, whether a kernel does it
    ((2, 5), (5,), True), ((2, 5), (1,), True), ((2, 5, 7), (5, 1), True), ((2, 5, 7), (7,), True),
    ((2, 5, 7), (1, 5, 1), True), ((2, 5, 6, 7), (5, 1, 1), True),
    ((2, 5, 6, 7), (1, 5, 1, 1), True),
    ((2, 5, 6, 7), (7,), True), ((2, 5, 6, 7), (1, 1, 7), True), ((2, 5, 6, 7), (6, 1), False),
    ((2, 5, 6, 7), (1, 1, 1), True), ((2, 5, 6, 7), (), True), ((2, 5, 5, 5), (5, 1), False),
    ((2, 3, 5, 6, 7), (5, 1, 1), False), ((2, 3, 5, 6, 7), (3, 1, 1, 1), True),
    ((2, 3, 5, 6, 7), (7,), True), ((2, 5, 6, 7), (5, 6, 7), False), ((5, 1, 1), (5, 1, 1), False),
]  # fmt: skip


def model(shape: tuple[int, ...], slope: Any, *, constant: bool) -> Any:
    make = onnx.helper
    kind = make.np_dtype_to_tensor_dtype(slope.dtype)
    inputs = [make.make_tensor_value_info("x", kind, shape)]
    held = []
    if constant:
        held = [onnx.numpy_helper.from_array(slope, "slope")]
    else:
        inputs.append(make.make_tensor_value_info("slope", kind, slope.shape))
    graph = make.make_graph(
        [make.make_node("PRelu", ["x", "slope"], ["y"])], "g", inputs,
        [make.make_tensor_value_info("y", kind, shape)], held,
    )  # fmt: skip
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 16)], ir_version=8)


@pytest.mark.parametrize("constant", [True, False], ids=["constant", "computed"])
@pytest.mark.parametrize(("shape", "slopes", "native"), CASES, ids=str)
def test_slopes_are_broadcast_from_the_last_axis(
    shape: tuple[int, ...], slopes: tuple[int, ...], native: bool, constant: bool
) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    x.reshape(-1)[:3] = np.nan, np.inf, -np.inf
    slope = np.asarray(rng.standard_normal(slopes), np.float32)
    network = fastconv.load(model(shape, slope, constant=constant))
    given = network(x) if constant else network(x, slope)
    np.testing.assert_array_equal(given, np.where(x < 0, x * slope, x))
    if constant:
        compiled = network.compiled()
        assert compiled is not None
        kinds = [type(op.problem) for op in compiled.program.ops if isinstance(op, Solve)]
        assert (PreluProblem in kinds) == native


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "float16", "float64"])
@pytest.mark.parametrize("slopes", [(5,), (1,), (5, 1, 1), (1, 5, 1, 1)], ids=str)
def test_every_dtype_of_the_operator_is_taken(slopes: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0 if dtype[0] == "u" else -9, 9, (2, 5, 5, 5)).astype(dtype)
    slope = rng.integers(1, 5, slopes).astype(dtype)
    network = fastconv.load(model(x.shape, slope, constant=True))
    given = network(x)
    assert given.dtype == x.dtype
    np.testing.assert_array_equal(given, np.where(x < 0, x * slope, x))
