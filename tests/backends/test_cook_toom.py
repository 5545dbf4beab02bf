"""The generated minimal filters are exact in fractions, and their bounds hold."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from fastconv.backends.native.bounds import sum_bound
from fastconv.backends.native.conv.winograd.axis import Axis, winograd_bound
from fastconv.backends.native.cook_toom import POINTS, cook_toom, finite_points, transform
from fastconv.dispatch import algorithms
from fastconv.problem import ConvProblem

SOME_POINTS = [Fraction(p) for p in (0, 1, -1, 2, -2)] + [Fraction(1, 2), Fraction(-1, 2)]


@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize("r", [1, 2, 3, 4, 5])
def test_generated_filters_are_correlations_exactly(m: int, r: int) -> None:
    if m + r - 2 > len(SOME_POINTS):
        pytest.skip("more points than the list holds")
    f = cook_toom(m, r, tuple(SOME_POINTS[: m + r - 2]))
    rng = np.random.default_rng(m * 10 + r)
    data = [Fraction(int(v)) for v in rng.integers(-9, 10, f.n)]
    taps = [Fraction(int(v)) for v in rng.integers(-9, 10, r)]
    weight = [sum(a * b for a, b in zip(row, taps, strict=True)) for row in f.g]
    spread = [sum(a * b for a, b in zip(row, data, strict=True)) for row in f.bt]
    result = [sum(a * u * v for a, u, v in zip(row, weight, spread, strict=True)) for row in f.at]
    assert result == [sum(data[i + k] * taps[k] for k in range(r)) for i in range(m)]


def test_wrong_points_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 3 different finite points"):
        cook_toom(2, 3, (Fraction(0), Fraction(1)))
    with pytest.raises(ValueError, match="needs 3 different finite points"):
        cook_toom(2, 3, (Fraction(0), Fraction(1), Fraction(1)))


def test_bounds_grow_with_the_sum() -> None:
    assert sum_bound(1000, 2.0**-24) > sum_bound(10, 2.0**-24)
    two, six = axis(2, 3, 1), axis(6, 3, 1)
    assert winograd_bound(two, two, 4096, 2.0**-24) > winograd_bound(two, two, 256, 2.0**-24)
    assert winograd_bound(six, six, 64, 2.0**-24) > winograd_bound(two, two, 64, 2.0**-24)
    one = axis(6, 1, 1)
    assert winograd_bound(one, six, 64, 2.0**-24) < winograd_bound(six, six, 64, 2.0**-24)


@pytest.mark.parametrize(("m", "taps"), [(2, 3), (4, 3), (4, 5), (3, 7), (5, 4), (1, 1), (2, 1)])
def test_phases_sum_to_a_strided_correlation(m: int, taps: int) -> None:
    a = axis(m, taps, 2)
    rng = np.random.default_rng(m * 10 + taps)
    data, weight = rng.standard_normal(2 * a.n), rng.standard_normal(taps)
    sums = np.zeros(a.n)
    for phase in range(a.phases):
        kernel = a.kernel(phase) @ weight
        sums += kernel * (a.matrix("bt") @ data[phase::2])
        unneeded = [i for i in range(a.n) if not a.needed(i, phase)]
        np.testing.assert_array_equal(kernel[unneeded], 0)
    expected = [data[2 * i : 2 * i + taps] @ weight for i in range(a.m)]
    np.testing.assert_allclose(a.matrix("at") @ sums, expected, atol=1e-11)


def axis(m: int, taps: int, stride: int) -> Axis:
    found = Axis.of(m, taps, stride)
    assert found is not None
    return found


def test_the_points_in_use_are_different_and_as_many_as_needed() -> None:
    for m, r in POINTS:
        assert transform(m, r).n == m + r - 1
        assert len(set(finite_points(m, r))) == len(finite_points(m, r)) == m + r - 2


@pytest.mark.parametrize("seed", range(40))
def test_every_algorithm_stays_inside_its_own_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 1, 1, 4]))
    channels = groups * int(rng.integers(1, 80))
    out = groups * int(rng.integers(1, 20))
    k = int(rng.choice([1, 3, 3, 3, 5, 7]))
    stride = int(rng.choice([1, 1, 2]))
    size = [int(v) for v in rng.integers(k, 30, 2)]
    x = rng.standard_normal((1, channels, *size)).astype("f4")
    w = rng.standard_normal((out, channels // groups, k, k)).astype("f4")
    options = {"padding": k // 2, "groups": groups, "stride": stride}
    problem = ConvProblem.of(2, x, w, **options)
    exact = F.conv2d(x.astype("f8"), w.astype("f8"), backend="reference", **options)
    # The bound is relative to the standard deviation of a full sum: edges sum less.
    scale = np.sqrt(problem.sum_length)
    # Numba compiles minimal filters of each size for many seconds: few seeds have most of them, and
    # `make fuzz` draws all.
    backends = {"c", "numba"} if seed < 10 else {"c"}
    for algorithm in algorithms(ConvProblem):
        if algorithm.backend in backends and algorithm.why_not(problem) is None:
            how: dict[str, Any] = {"backend": algorithm.backend, "algorithm": algorithm.name}
            result = F.conv2d(x, w, **how, rtol=1, **options)
            error = np.abs(result - exact).max() / scale
            assert error <= algorithm.error_bound(problem), algorithm
