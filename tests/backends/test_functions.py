"""Functions of one number, not activations: to the last places, the same bits everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv.backends.native import plan as engine_plan
from fastconv.backends.native.pointwise import BLOCK
from fastconv.dispatch import solve
from fastconv.problem import FunctionProblem
from fastconv.problem.pointwise import FUNCTIONS
from tests.libraries import LIBRARIES, use

Array = np.ndarray[Any, Any]
# Units in the last place. A polynomial, a product and, beyond 1, a difference of erfc, whose own
# error counts at 1 by erfc's size; those of exp are `test_elementary`'s.
UNITS = {"erf": 4.0, "exp": 3.0, "sqrt": 0.5, "reciprocal": 0.5}


def numbers(dtype: str) -> Array:
    """Numbers of all sizes, halves, and what is not a finite number."""
    rng = np.random.default_rng(0)
    whole = 2.0 ** (23 if dtype == "float32" else 52)
    ends = [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1.0, -1.0, whole + 1, whole / 2 + 0.5, -whole,
            np.nan, np.inf, -np.inf, np.finfo(dtype).max]  # fmt: skip
    drawn = [rng.normal(0, s, 5000) for s in (1e-6, 0.01, 0.7, 3, 80)]
    return np.concatenate([*drawn, np.linspace(-1.01, 1.01, 4001), ends]).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_functions_against_wider_arithmetic(
    library: str, function: str, dtype: str, monkeypatch: Any
) -> None:
    backend = use(library, monkeypatch)
    x = numbers(dtype)
    result = solve(FunctionProblem.of(x, function), (x,), backend=backend)
    with np.errstate(all="ignore"):
        if function == "erf":
            problem = FunctionProblem.of(x.astype("f8"), function)
            expected = solve(problem, (x.astype("f8"),), backend="reference")
        else:
            expected = getattr(np, function)(x.astype(np.longdouble))
        rounded = expected.astype(dtype)
        off = np.abs(result - expected) / np.spacing(np.abs(rounded))
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(result[~finite], rounded[~finite])
    least = np.abs(rounded) >= np.finfo(dtype).tiny
    assert off[finite & least].max() <= UNITS.get(function, 0.0)
    held = ~np.isnan(rounded)
    np.testing.assert_array_equal(np.signbit(result[held]), np.signbit(rounded[held]))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_functions_give_the_same_bits_at_every_place(
    library: str, function: str, monkeypatch: Any
) -> None:
    backend = use(library, monkeypatch)
    monkeypatch.setattr(engine_plan, "SERIAL_SECONDS", 0)
    x = np.abs(np.random.default_rng(0).normal(0, 3, 3 * BLOCK + 5)).astype("f4")
    before = fastconv.settings._threads
    try:
        fastconv.settings.set_num_threads(3)
        whole = solve(FunctionProblem.of(x, function), (x,), backend=backend)
        fastconv.settings.set_num_threads(1)
        for start, count in ((0, x.size), (1, 1), (3, 2), (7, 29), (100, BLOCK)):
            part = np.ascontiguousarray(x[start : start + count])
            alone = solve(FunctionProblem.of(part, function), (part,), backend=backend)
            np.testing.assert_array_equal(alone, whole[start : start + count])
    finally:
        fastconv.settings._threads = before


def test_functions_of_nothing_give_nothing() -> None:
    x = np.zeros((3, 0), "f4")
    assert solve(FunctionProblem.of(x, "erf"), (x,)).shape == (3, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_functions_with_numbers_against_their_definitions(
    library: str, dtype: str, monkeypatch: Any
) -> None:
    backend, x = use(library, monkeypatch), numbers(dtype)
    for function, given in (("hard_sigmoid", (0.25, 0.5)), ("thresholded_relu", (0.7,))):
        problem = FunctionProblem.of(x, function, given)
        found = solve(problem, (x,), backend=backend)
        a, b, *_ = (*(np.asarray(v, dtype) for v in given), 0)
        with np.errstate(all="ignore"):
            expected = np.where(x > a, x, 0) if len(given) == 1 else np.clip(x * a + b, 0, 1)
        np.testing.assert_array_equal(found, expected.astype(dtype))
    with pytest.raises(ValueError, match="hard_sigmoid takes 2 numbers"):
        FunctionProblem.of(x, "hard_sigmoid", (1.0,))
