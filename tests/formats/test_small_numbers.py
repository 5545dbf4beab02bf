"""Guards, small units and extreme constants through every door, against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

import fastconv
from fastconv.onnx import InferenceSession
from tests.formats.test_torch import Fn

SIZES = [0.0, 1e-30, 1e-12, 3e-7, 1e-3, 0.5, 1.0, 5.0, 20.0, 100.0, 1e10, 1e30, np.inf, np.nan]
POINTS = np.array([side * size for size in SIZES for side in (1, -1)], "f4")
# Steps of ONNX: an operator, and the constant that it takes with the value, if any.
CHAINS: dict[str, tuple[list[tuple[Any, ...]], Callable[[Any], Any]]] = {
    "guarded root": (
        [("Relu",), ("Add", 1e-12), ("Sqrt",)], lambda x: (x.relu() + 1e-12).sqrt()),
    "guarded logarithm": (
        [("Relu",), ("Add", 1e-20), ("Log",)], lambda x: (x.relu() + 1e-20).log()),
    "guarded power": (
        [("Relu",), ("Add", 1e-8), ("Pow", -0.5)], lambda x: (x.relu() + 1e-8) ** -0.5),
    "guarded reciprocal": (
        [("Abs",), ("Add", 1e-8), ("Reciprocal",)], lambda x: 1 / (x.abs() + 1e-8)),
    "reciprocal of a size": ([("Abs",), ("Reciprocal",)], lambda x: 1 / x.abs()),
    "error function": ([("Erf",), ("Mul", 1e-6)], lambda x: x.erf() * 1e-6),
    "clamp off zero": ([("Add", 1e-6), ("Relu",)], lambda x: (x + 1e-6).relu()),
    "clamp to a small limit": ([("Min", 1e-7), ("Max", -1e-7)], lambda x: x.clamp(-1e-7, 1e-7)),
    "times zero": ([("Mul", 0.0)], lambda x: x * 0),
    "times one": ([("Mul", 1.0), ("Reciprocal",)], lambda x: 1 / (x * 1)),
    "and zero": ([("Add", 0.0), ("Reciprocal",)], lambda x: 1 / (x + 0.0)),
    "less zero": ([("Sub", 0.0), ("Reciprocal",)], lambda x: 1 / (x - 0.0)),
    "small sigmoid": ([("Sigmoid",), ("Mul", 1e-9)], lambda x: x.sigmoid() * 1e-9),
    "sigmoid and more": ([("Sigmoid",), ("Add", 1e-9)], lambda x: x.sigmoid() + 1e-9),
    "small tanh": ([("Tanh",), ("Mul", 1e-30)], lambda x: x.tanh() * 1e-30),
    "softplus and less": (
        [("Exp",), ("Add", 1.0), ("Log",), ("Sub", 1e-7)], lambda x: (x.exp() + 1).log() - 1e-7),
    "rounded": (
        [("Add", 12582912.0), ("Sub", 12582912.0), ("Relu",)],
        lambda x: ((x + 12582912.0) - 12582912.0).relu()),
}  # fmt: skip


def model_of(steps: list[tuple[Any, ...]], dtype: str) -> Any:
    nodes, constants, value = [], [], "x"
    for place, (operator, *number) in enumerate(steps):
        names = [f"c{place}"] if number else []
        constants += [numpy_helper.from_array(np.array(n, dtype), f"c{place}") for n in number]
        nodes.append(helper.make_node(operator, [value, *names], [f"v{place}"]))
        value = f"v{place}"
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    ports = [helper.make_tensor_value_info(n, element, [len(POINTS)]) for n in ("x", value)]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def assert_each_close(given: Any, wanted: Any) -> None:
    limits = np.finfo(wanted.dtype)
    np.testing.assert_allclose(given, wanted, rtol=8 * limits.eps, atol=limits.tiny)
    zeros = (wanted == 0) & (POINTS != 0)
    assert np.array_equal(np.signbit(given[zeros]), np.signbit(wanted[zeros]))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", CHAINS)
def test_small_numbers_through_every_door_are_kept(name: str, dtype: str) -> None:
    steps, function = CHAINS[name]
    x = POINTS.astype(dtype)
    wanted = function(torch.from_numpy(x)).numpy()
    model = model_of(steps, dtype)
    if "error" not in name or dtype == "f4":
        assert_each_close(fastconv.load(model)(x), wanted)
        data = model.SerializeToString()
        assert_each_close(InferenceSession(data).run(None, {"x": x})[0], wanted)
        converted = fastconv.torch.convert(Fn(function), (torch.from_numpy(x),))
        assert_each_close(converted(x), wanted)


def test_softplus_of_onnx_in_float64_has_no_threshold() -> None:
    x = np.linspace(-40, 60, len(POINTS))
    given = fastconv.load(model_of([("Softplus",)], "f8"))(x)
    np.testing.assert_allclose(given, np.logaddexp(0, x), rtol=1e-15)


HALVES: dict[str, Callable[[Any], Any]] = {
    "times a small number": lambda x: x * 1e-6,
    "times a large number": lambda x: x * 70000.0,
    "over a small number": lambda x: x / 1e-6,
    "over a large number": lambda x: x / 1e6,
    "and a large number": lambda x: x + 70000.0,
    "less a large number": lambda x: x - 70000.0,
    "and a small number": lambda x: x + 1e-9,
    "times no short number": lambda x: x * 0.1,
}


@pytest.mark.parametrize("name", HALVES)
def test_numbers_beyond_half_precision_are_kept(name: str) -> None:
    x = torch.tensor([0.5, 1e-3, -1e-3, 6e-5, 100, -60000, 60000, torch.inf, torch.nan])
    x = x.to(torch.float16)
    wanted = HALVES[name](x).numpy()
    given = fastconv.torch.convert(Fn(HALVES[name]), (x,))(x.numpy())
    assert given.dtype == np.float16
    smallest = float(np.finfo("f2").smallest_subnormal)
    np.testing.assert_allclose(given.astype("f8"), wanted.astype("f8"), rtol=1e-3, atol=smallest)


def test_onnx_and_torch_say_the_same_of_these_chains() -> None:
    """The oracle of this file is held against onnx's own."""
    from onnx.reference import ReferenceEvaluator

    for name, (steps, function) in CHAINS.items():
        if name != "error function":
            wanted = function(torch.from_numpy(POINTS)).numpy()
            with np.errstate(all="ignore"):
                given = ReferenceEvaluator(model_of(steps, "f4")).run(None, {"x": POINTS})[0]
            assert_each_close(given, wanted)
    assert onnx.__version__
