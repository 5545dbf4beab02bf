"""Filters that are outer products: found, convolved in two passes, and only where it is so."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings

import fastconv
import fastconv.functional as F
from fastconv.backends.native.conv.separable import Separable
from fastconv.dispatch.parameter import Parameter
from fastconv.functional.separate import are_outer_products, separated
from fastconv.problem import ConvProblem
from tests.libraries import LIBRARIES, use
from tests.planes import assert_same_bits, error_of, plane_cases


def outer_products(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: str = "float32"
) -> np.ndarray[Any, Any]:
    """Draw filters (O, 1, kH, kW) of rank one, with unit variance."""
    columns = rng.standard_normal((shape[0], 1, shape[2], 1))
    return (columns * rng.standard_normal((shape[0], 1, 1, shape[3]))).astype(dtype)


@pytest.mark.parametrize("library", LIBRARIES)
@settings(max_examples=60, deadline=None)
@given(case=plane_cases(dimensions=(2,)))
def test_drawn_convolutions_stay_inside_the_bound(library: str, case: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        check_bound(use(library, patch), case)


def check_bound(backend: str, case: dict[str, Any]) -> None:
    """Check a drawn convolution against its error bound."""
    kernels: Any = importlib.import_module(f"fastconv.backends.{backend}.library")
    separable = Separable(kernels)
    w = outer_products(np.random.default_rng(case["seed"]), case["weight"], case["dtype"])
    problem = ConvProblem.of(2, np.zeros(case["input"], w.dtype), w, **case["options"])
    problem = separated(problem, w, "separable")
    assume(separable.why_not(problem) is None)
    eps = float(np.finfo(w.dtype).eps)
    # A product's elements vary in size with their line's: the bound is of filters of unit variance.
    spread = max(1.0, float(np.abs(w).max()))
    bound = separable.error_bound(problem) * spread + (30 * eps if case["epilogue"] else 0)
    assert error_of(case, w, problem, "separable", backend) <= bound


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outer_products_are_told_from_other_filters(dtype: str) -> None:
    rng = np.random.default_rng(0)
    w = outer_products(rng, (4, 1, 9, 7), dtype)
    assert are_outer_products(w)
    assert are_outer_products(np.zeros((2, 1, 5, 5), dtype))
    almost = w.copy()
    almost[2, 0, 3, 3] *= 1 + 100 * np.finfo(dtype).eps
    almost[2, 0, 3, 3] += 100 * np.finfo(dtype).eps * np.abs(w[2]).max()
    assert not are_outer_products(almost)
    for odd in (np.nan, np.inf):
        spoiled = w.copy()
        spoiled[0, 0, 0, 0] = odd
        with np.errstate(invalid="ignore"):
            assert not are_outer_products(spoiled)


def test_a_gaussian_blur_is_taken_apart_and_a_noise_filter_is_not() -> None:
    x = np.random.default_rng(1).standard_normal((1, 3, 200, 200)).astype("f4")
    line = np.exp(-(np.linspace(-2, 2, 15) ** 2))
    blur = np.tile(np.outer(line, line), (3, 1, 1, 1)).astype("f4")
    noise = np.random.default_rng(2).standard_normal(blur.shape).astype("f4")
    options: dict[str, Any] = {"padding": 7, "groups": 3}
    assert fastconv.explain(F.conv2d, x, blur, **options).algorithm == "separable"
    told = fastconv.explain(F.conv2d, x, noise, **options)
    assert told.algorithm != "separable"
    assert "separable" in str(told)
    assert "not known to be outer products" in str(told)


def test_asking_for_it_with_other_filters_is_refused_with_the_reason() -> None:
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((1, 1, 40, 40)), rng.standard_normal((1, 1, 7, 7))
    with pytest.raises(ValueError, match="outer products"):
        F.conv2d(x, w, algorithm="separable")


def test_a_prepared_weight_is_looked_at_once() -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((1, 2, 300, 300)).astype("f4")
    w = Parameter(outer_products(rng, (2, 1, 9, 9)))
    first = F.conv2d(x, w, groups=2)
    assert w.outer_products is True
    assert F.conv2d(x, w, groups=2).tobytes() == first.tobytes()


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_same_bits_in_any_batch_and_on_any_number_of_threads(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    how: dict[str, Any] = {"algorithm": "separable", "backend": use(library, monkeypatch)}
    rng = np.random.default_rng(5)
    x = rng.standard_normal((3, 2, 150, 130)).astype("f4")
    w = outer_products(rng, (2, 1, 21, 17))
    assert_same_bits(lambda v: F.conv2d(v, w, groups=2, **how), x)
