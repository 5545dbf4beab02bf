"""The elementwise kernels: elementary functions to the last places, the same bits everywhere."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.backends.native import INPUT, OUTPUT, NativePlan
from fastconv.backends.native import plan as engine_plan
from fastconv.backends.native.pointwise import BLOCK, activation_stages
from fastconv.dispatch import choose
from fastconv.problem import ACTIVATIONS, Activation, ElementwiseProblem
from tests.libraries import COMPILED, LIBRARIES, use
from tests.tolerance import poisoned

DTYPES = ("float32", "float64")
Array = np.ndarray[Any, Any]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ACTIVATIONS, "gelu_tanh"])
@pytest.mark.parametrize("backend", COMPILED)
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
@pytest.mark.parametrize("backend", COMPILED)
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


def every_size(dtype: str, most: float) -> Array:
    """Numbers of both signs from the smallest normal one on, as many in each octave."""
    limits = np.finfo(dtype)
    low = np.log2(float(limits.tiny))
    sizes = np.exp2(np.random.default_rng(0).uniform(low, np.log2(most), 60_000)).astype(dtype)
    dense = np.random.default_rng(1).uniform(0, most, 60_000).astype(dtype)
    sizes = np.concatenate([sizes, dense])
    return np.concatenate([sizes, -sizes])


def units(result: Array, expected: Array) -> Array:
    """Return errors in units of the last place."""
    return np.abs(result - expected) / np.spacing(np.abs(expected).astype(result.dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_tanh_to_the_last_places(library: str, dtype: str, monkeypatch: Any) -> None:
    backend = use(library, monkeypatch)
    x = every_size(dtype, 22)
    result = F.tanh(x, backend=backend)
    # a numerator, a denominator and a quotient are rounded; all of float32 was tried: 2.496
    assert units(result, np.tanh(x.astype(np.longdouble))).max() <= 2.6
    assert np.abs(result).max() == 1
    np.testing.assert_array_equal(result, -F.tanh(-x, backend=backend))
    tiny = np.abs(x) < np.finfo(dtype).eps
    np.testing.assert_array_equal(result[tiny], x[tiny])
    limits = np.finfo(dtype)
    ends = np.array([np.nan, np.inf, -np.inf, limits.max, limits.min, 0.0, -0.0], dtype)
    at_ends = F.tanh(ends, backend=backend)
    np.testing.assert_array_equal(at_ends, np.array([np.nan, 1, -1, 1, -1, 0, -0.0], dtype))
    np.testing.assert_array_equal(np.signbit(at_ends[1:]), np.signbit(ends[1:]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_sigmoid_keeps_its_digits(library: str, dtype: str, monkeypatch: Any) -> None:
    backend = use(library, monkeypatch)
    lowest = 87 if dtype == "float32" else 708
    x = every_size(dtype, lowest)
    result = F.sigmoid(x, backend=backend)
    # three roundings of exp's (see test_elementary), a sum's and a quotient's
    assert units(result, 1 / (1 + np.exp(-x.astype(np.longdouble)))).max() <= 4
    # below the normal numbers results end in zero
    low = np.linspace(-lowest, -1.25 * lowest, 5001).astype(dtype)
    result = F.sigmoid(low, backend=backend)
    wrong = np.abs(result - np.exp(low.astype(np.longdouble)))
    assert (wrong <= 4 * np.finfo(dtype).eps * result + np.finfo(dtype).tiny).all()
    assert result[-1] == 0


@pytest.fixture(autouse=True)
def _threads_restored() -> Any:
    before = fastconv.settings._threads
    yield
    fastconv.settings._threads = before


def with_threads(n: int) -> None:
    fastconv.settings.set_num_threads(n)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", list(ACTIVATIONS))
@pytest.mark.parametrize("backend", COMPILED)
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
@pytest.mark.parametrize("backend", COMPILED)
def test_convolutions_end_in_any_activation(backend: str, activation: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 9, 9)).astype("f4")
    weight = rng.normal(size=(4, 3, 3, 3)).astype("f4")
    name, *rest = (activation,) if isinstance(activation, str) else activation
    for algorithm in ("direct", "im2col"):
        options = {"backend": backend, "algorithm": algorithm}
        plain = F.conv2d(x, weight, **options)
        result = F.conv2d(x, weight, activation=activation, **options)
        np.testing.assert_array_equal(result, getattr(F, name)(plain, *rest, backend=backend))
