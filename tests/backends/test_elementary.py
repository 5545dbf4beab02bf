"""Numba's elementary functions: right to the last places."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.tolerance import poisoned

numba = pytest.importorskip("numba")
elementary = pytest.importorskip("fastconv.backends.numba.elementary")

DTYPES = ("float32", "float64")
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
    result = loop(elementary.make_erfc(dtype), x)
    eps = float(np.finfo(dtype).eps)
    # exp(-z^2) is off by z^2 units of itself; a division, a series and a product come on top
    allowed = (6 + x.astype("f8") ** 2) * eps * np.abs(expected)
    assert (np.abs(result - expected) <= allowed + np.finfo(dtype).tiny).all()
    ends = np.array([np.inf, -np.inf, np.nan, np.finfo(dtype).max], dtype)
    np.testing.assert_array_equal(
        loop(elementary.make_erfc(dtype), ends), np.array([0, 2, np.nan, 0], dtype)
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
