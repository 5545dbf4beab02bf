"""The elementwise kernels: elementary functions to the last places, the same bits everywhere."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numba
import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.backends.native import plan as engine_plan
from fastconv.backends.native.pointwise import BLOCK, activation_stages
from fastconv.backends.numba import elementary, error_function
from fastconv.backends.numba.engine import INPUT, OUTPUT, NativePlan
from fastconv.dispatch import choose
from fastconv.dispatch.registry import backend_available
from fastconv.problem import ACTIVATIONS, Activation, ElementwiseProblem
from tests.tolerance import poisoned

DTYPES = ("float32", "float64")
BACKENDS = [name for name in ("numba", "c") if backend_available(name)]
Array = np.ndarray[Any, Any]


def loop(function: Any, x: Array) -> Array:
    """Run a scalar function over an array, as kernels do."""

    @numba.njit(error_model="numpy")
    def run(x: Any, y: Any) -> None:
        for i in range(x.shape[0]):
            y[i] = function(x[i])

    y = poisoned(x.shape, x.dtype)
    run(x, y)
    return y


def spread(dtype: str, low: float, high: float) -> Array:
    """Numbers between two limits, dense everywhere and down to the smallest in size."""
    rng = np.random.default_rng(0)
    tiny = np.geomspace(float(np.finfo(dtype).tiny), 1, 2000) * (np.sign(low) or 1)
    return np.concatenate([rng.uniform(low, high, 50_000), tiny]).astype(dtype)


FUNCTIONS: dict[str, tuple[Any, Any, tuple[float, float], tuple[float, float]]] = {
    # factory, NumPy's, limits in float32 and in float64
    "exp": (elementary.make_exp, np.exp, (-87, 88), (-708, 709)),
    "expm1": (elementary.make_expm1, np.expm1, (-87, 88), (-708, 709)),
    "log1p": (elementary.make_log1p, np.log1p, (0, 1), (0, 1)),
    "tanh": (elementary.make_tanh, np.tanh, (-20, 20), (-40, 40)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_elementary_functions(name: str, dtype: str) -> None:
    make, oracle, narrow, wide = FUNCTIONS[name]
    x = spread(dtype, *(narrow if dtype == "float32" else wide))
    expected = oracle(x.astype(np.longdouble))
    units = np.abs(loop(make(dtype), x) - expected) / np.abs(np.spacing(expected.astype(dtype)))
    # a reduction, a series whose first term rules, a product: three roundings at most
    assert units.max() <= 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_error_function(dtype: str) -> None:
    x = spread(dtype, -10, 30)
    expected = np.array([math.erfc(value) for value in x.tolist()])
    result = loop(error_function.make_erfc(dtype), x)
    eps = float(np.finfo(dtype).eps)
    # exp(-z^2) is off by z^2 units of itself; a division, a series and a product come on top
    allowed = (6 + x.astype("f8") ** 2) * eps * np.abs(expected)
    assert (np.abs(result - expected) <= allowed + np.finfo(dtype).tiny).all()
    ends = np.array([np.inf, -np.inf, np.nan, np.finfo(dtype).max], dtype)
    np.testing.assert_array_equal(
        loop(error_function.make_erfc(dtype), ends), np.array([0, 2, np.nan, 0], dtype)
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_elementary_limits(dtype: str) -> None:
    limits = np.finfo(dtype)
    x = np.array([np.nan, np.inf, -np.inf, limits.max, -limits.max, 0, -0.0], dtype)
    infinite = np.inf
    for make, expected in (
        (elementary.make_exp, [np.nan, infinite, 0, infinite, 0, 1, 1]),
        (elementary.make_expm1, [np.nan, infinite, -1, infinite, -1, 0, 0]),
        (elementary.make_tanh, [np.nan, 1, -1, 1, -1, 0, -0.0]),
    ):
        np.testing.assert_array_equal(loop(make(dtype), x), np.array(expected, dtype))
    below = np.array([np.log(float(limits.tiny)) - 3], dtype)
    np.testing.assert_allclose(
        loop(elementary.make_exp(dtype), below), np.exp(below), atol=limits.smallest_subnormal
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ACTIVATIONS, "gelu_tanh"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_kernels_against_the_reference(backend: str, name: str, dtype: str) -> None:
    activation = ("gelu", "tanh") if name == "gelu_tanh" else name
    rng = np.random.default_rng(0)
    x = rng.normal(0, 5, 2 * BLOCK + 17).astype(dtype)
    x[:6] = (np.nan, np.inf, -np.inf, -0.0, np.finfo(dtype).max, -np.finfo(dtype).max)
    problem = ElementwiseProblem.of(x, activation)
    out = poisoned(x.shape, dtype)
    choose(problem, backend=backend).algorithm.plan(problem).run(x, out=out)
    expected = choose(problem, backend="reference").algorithm.plan(problem).run(x)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(out[~finite], expected[~finite])
    out, expected, x = (a[finite].astype(np.longdouble) for a in (out, expected, x))
    allowed = 4 * np.finfo(dtype).eps * (np.abs(expected) + np.minimum(np.abs(x), 1))
    assert (np.abs(out - expected) <= allowed).all()


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n != "relu"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_bits_at_every_place(backend: str, name: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(engine_plan, "SERIAL_SECONDS", 0)
    x = np.random.default_rng(0).normal(0, 3, 3 * BLOCK + 5).astype("f4")
    problem = ElementwiseProblem.of(x, name)
    algorithm = choose(problem, backend=backend).algorithm
    with_threads(1)
    whole = algorithm.plan(problem).run(x)
    with_threads(3)
    np.testing.assert_array_equal(algorithm.plan(problem).run(x), whole)
    for start, count in ((1, 1), (3, 2), (7, 29), (100, BLOCK)):
        part = np.ascontiguousarray(x[start : start + count])
        alone = algorithm.plan(ElementwiseProblem.of(part, name)).run(part)
        np.testing.assert_array_equal(alone, whole[start : start + count])


@pytest.fixture(autouse=True)
def _threads_restored() -> Any:
    before = fastconv.settings._threads
    yield
    fastconv.settings._threads = before


def with_threads(n: int) -> None:
    fastconv.settings.set_num_threads(n)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", list(ACTIVATIONS))
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stage_in_place_is_the_function(backend: str, name: str, dtype: str) -> None:
    library = importlib.import_module(f"fastconv.backends.{backend}.library")
    x = np.random.default_rng(0).normal(0, 3, (3, BLOCK + 3)).astype(dtype)
    problem = ElementwiseProblem.of(x, name)
    stages = [
        *activation_stages(library, problem, OUTPUT, INPUT(0), activation=Activation("hardtanh",
                           (-9.0, 9.0))),
        *activation_stages(library, problem, OUTPUT),
    ]  # fmt: skip
    result = NativePlan(problem, stages, seconds=0).run(x)
    np.testing.assert_array_equal(result, getattr(F, name)(np.clip(x, -9, 9), backend=backend))


@pytest.mark.parametrize("activation", ["silu", "gelu", ("softplus", 2.0), "tanh"])
def test_convolutions_end_in_any_activation(activation: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 9, 9)).astype("f4")
    weight = rng.normal(size=(4, 3, 3, 3)).astype("f4")
    name, *rest = (activation,) if isinstance(activation, str) else activation
    for algorithm in ("direct", "im2col"):
        options = {"backend": "numba", "algorithm": algorithm}
        plain = F.conv2d(x, weight, **options)
        result = F.conv2d(x, weight, activation=activation, **options)
        np.testing.assert_array_equal(result, getattr(F, name)(plain, *rest, backend="numba"))
