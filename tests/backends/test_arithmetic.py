"""Arithmetic of two arrays, copies of views, concatenation: bit for bit what NumPy gives."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
from fastconv.backends.native import plan as engine_plan
from fastconv.dispatch import find_plan
from fastconv.problem import (
    ArithmeticProblem,
    ConcatenateProblem,
    ElementwiseProblem,
    StridedProblem,
)
from fastconv.problem.arithmetic import FUNCTIONS
from tests.libraries import BACKENDS, LIBRARIES, use
from tests.tolerance import poisoned

SHAPES = [
    ((), ()), ((1,), (1, 1)), ((7,), (7,)), ((3, 1), (1, 5)), ((20_001,), ()), ((), (333,)),
    ((2, 3, 5, 7), (2, 3, 1, 1)), ((2, 5, 7, 3), (2, 1, 1, 3)), ((2, 64, 9, 9), (64, 1, 1)),
    ((4, 1, 6, 1, 5), (1, 3, 1, 2, 5)), ((3, 17, 16), (3, 17, 16)), ((2, 9000), (2, 1)),
    ((2, 1, 3, 1, 2, 1), (1, 2, 1, 3, 1, 2)),
]  # fmt: skip


@pytest.fixture(params=LIBRARIES)
def backend(request: Any, monkeypatch: Any) -> str:
    """Return the backend of a library of kernels, at one of its instruction sets."""
    monkeypatch.setattr(engine_plan, "SERIAL_SECONDS", 0)
    monkeypatch.setattr(fastconv.settings, "_threads", 2)
    return use(request.param, monkeypatch)


def cells(shape: tuple[int, ...], dtype: str, seed: int) -> Any:
    """Numbers with zeros of both signs, infinities and NaN among them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(dtype).reshape(-1)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], dtype)
    if x.size > 12:
        x[rng.integers(0, x.size, 12)] = np.tile(special, 2)
    return x.reshape(shape)


def solved(problem: Any, *inputs: Any, backend: str) -> Any:
    """Run a problem's plan into a poisoned output."""
    out = poisoned(problem.output_shape, problem.output_dtype)
    result = find_plan(problem, (), backend=backend).run(*inputs, out=out)
    assert result is out
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("shapes", SHAPES)
def test_arithmetic_is_numpys(shapes: Any, function: str, dtype: str, backend: str) -> None:
    left, right = (cells(shape, dtype, i) for i, shape in enumerate(shapes))
    problem = ArithmeticProblem.of(function, left, right)
    served = None if len(shapes[0]) > 5 else backend
    with np.errstate(all="ignore"):
        expected = getattr(np, function)(left, right)
    np.testing.assert_array_equal(solved(problem, left, right, backend=served), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("function", "activation"),
    [
        ("add", "relu"),
        ("multiply", ("hardtanh", -0.5, 0.25)),
        ("maximum", "relu6"),
        ("add", "gelu"),
    ],
)
def test_an_activation_ends_it(function: str, activation: Any, dtype: str, backend: str) -> None:
    for shapes in SHAPES[3:-2]:
        left, right = (cells(shape, dtype, i) for i, shape in enumerate(shapes))
        problem = ArithmeticProblem.of(function, left, right)
        plain = solved(problem, left, right, backend=backend)
        own = ElementwiseProblem.of(plain, activation)
        ended = dataclasses.replace(problem, activation=own.activation)
        expected = solved(own, plain, backend=backend)
        np.testing.assert_array_equal(solved(ended, left, right, backend=backend), expected)
        with np.errstate(all="ignore"):
            wide = solved(ended, left, right, backend="reference")
        np.testing.assert_allclose(wide, expected, rtol=1e-5, atol=1e-6)


def test_what_does_not_broadcast_is_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        ArithmeticProblem.of("add", np.zeros((2, 3), "f4"), np.zeros((4,), "f4"))
    with pytest.raises(TypeError, match="float32, float64"):
        ArithmeticProblem.of("add", np.zeros(2, "i4"), np.zeros(2, "i4"))


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from(("uint8", "float16", "float32", "float64", "complex128")),
)
def test_views_are_copied(backend: str, shape: list[int], seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    x = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    places = np.arange(x.size).reshape(shape)
    view = places.transpose(rng.permutation(len(shape)))
    key = tuple(
        slice(None, None, rng.choice((1, 1, 2, -1)))
        if rng.random() < 0.7
        else slice(rng.integers(0, n), n)
        for n in view.shape
    )
    view = view[key]
    steps = tuple(n // places.itemsize for n in view.strides)
    problem = StridedProblem(x.dtype, x.shape, view.shape, int(view.flat[0]), steps, "view")
    expected = x.reshape(-1)[view]
    np.testing.assert_array_equal(solved(problem, x, backend=backend), expected)
    np.testing.assert_array_equal(solved(problem, x, backend="reference"), expected)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    seed=st.integers(0, 99),
    dtype=st.sampled_from(("uint8", "float16", "float32", "float64", "complex64")),
)
def test_concatenation_is_numpys(
    backend: str, shape: list[int], lengths: list[int], seed: int, dtype: str
) -> None:
    axis = seed % len(shape)
    parts = []
    for i, length in enumerate([*lengths, 1]):
        own = (*shape[:axis], length, *shape[axis + 1 :])
        parts.append((np.arange(np.prod(own)).reshape(own) + 17 * i).astype(dtype))
    problem = ConcatenateProblem(parts[0].dtype, tuple(p.shape for p in parts), axis)
    result = solved(problem, *parts, backend=backend)
    np.testing.assert_array_equal(result, np.concatenate(parts, axis))


@pytest.mark.parametrize("dtype", ["uint8", "float16", "int32", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 3, 5), (2, 64, 49), (3, 17, 33), (1, 300, 16), (2, 16, 7)])
def test_matrices_are_turned(shape: tuple[int, ...], dtype: str, backend: str) -> None:
    count, rows, columns = shape
    x = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    steps = (rows * columns, 1, columns)
    problem = StridedProblem(x.dtype, x.shape, (count, columns, rows), 0, steps, "transpose")
    np.testing.assert_array_equal(solved(problem, x, backend=backend), x.swapaxes(1, 2))
