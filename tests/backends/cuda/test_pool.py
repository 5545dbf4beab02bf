"""Pools in Numba's simulator, against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.backends.cuda import pool_whole
from fastconv.backends.cuda.engine.device import SimulatedDevice
from fastconv.backends.cuda.pool import plan_pool
from fastconv.backends.cuda.pool_indices import PoolIndices
from fastconv.backends.cuda.pool_weighted import PoolWeighted
from fastconv.backends.reference.pool import Pool
from fastconv.problem import AdaptivePoolProblem, PoolProblem

RNG = np.random.default_rng(3)
LAYOUTS = {1: "NWC", 2: "NHWC", 3: "NDHWC"}


def run(problem: Any, x: Any) -> Any:
    device = SimulatedDevice()
    result = np.empty(problem.output_shape, "f4")
    output = device.empty(result.nbytes)
    plan_pool(problem).enqueue(device, [device.upload(x)], output)
    device.download(output, result)
    return result


CASES: dict[str, Any] = {
    "max": ("max", (7, 6), 3, {"stride": 2, "padding": 1}),
    "dilated": ("max", (9, 8), 3, {"stride": 1, "dilation": 2}),
    "ceil": ("avg", (6, 5), 2, {"stride": 2, "ceil_mode": True, "padding": 1}),
    "inside": ("avg", (6, 5), 3, {"padding": 1, "count_include_pad": False}),
    "divisor": ("avg", (6, 5), 2, {"divisor_override": 3}),
    "signal": ("max", (17,), 4, {"stride": 3}),
    "volume": ("avg", (3, 4, 5), 2, {}),
    "lp2": ("lp", (6, 6), 2, {"norm_type": 2}),
    "lp1": ("lp", (6, 6), 2, {"norm_type": 1}),
    "lp3": ("lp", (6, 6), 2, {"norm_type": 3}),
    "lp of the largest": ("lp", (6, 6), 2, {"norm_type": np.inf}),
}


@pytest.mark.parametrize("channels", [3, 8])
@pytest.mark.parametrize("case", CASES)
def test_pools(case: str, channels: int) -> None:
    kind, size, kernel, options = CASES[case]
    n = len(size)
    x = RNG.standard_normal((2, *size, channels)).astype("f4")
    if kind == "max":
        x[0].flat[::17] = np.nan
    problem = PoolProblem.of(kind, n, x, kernel, layout=LAYOUTS[n], **options)
    expected = Pool().plan(problem).run(x)
    np.testing.assert_allclose(run(problem, x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_planes_of_channels_first(kind: str) -> None:
    x = RNG.standard_normal((2, 3, 6, 5)).astype("f4")
    problem = PoolProblem.of(kind, 2, x, 3, stride=2, padding=1)
    expected = Pool().plan(problem).run(x)
    np.testing.assert_allclose(run(problem, x), expected, rtol=1e-6, atol=1e-6)


GLOBAL: dict[str, Any] = {"max": {}, "avg": {}, "lp": {"p": 3}, "largest": {"p": np.inf}}


@pytest.mark.parametrize("kind", GLOBAL)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_whole_planes(kind: str, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_whole, "_CELLS", 2)
    x = RNG.standard_normal((2, 7, 9, 10)).astype("f4")
    name = "lp" if kind == "largest" else kind
    problem = AdaptivePoolProblem.of_global(name, x, layout=layout, **GLOBAL[kind])
    assert (pool_whole.planes_of(problem).chunks > 1) == (layout == "NHWC")
    assert pool_whole.PoolWhole().why_not(problem) is None
    expected = Pool().plan(problem).run(x)
    result = pool_whole.PoolWhole().plan(problem).run(x)
    np.testing.assert_allclose(result, expected, rtol=2e-6, atol=1e-6)


def test_windows_that_are_not_the_plane() -> None:
    x = np.zeros((1, 1, 4, 4), "f4")
    for options in ({"padding": 1}, {"stride": 1}, {"divisor_override": 3}, {"dilation": 1}):
        problem = PoolProblem.of("avg", 2, x, 3 if "padding" in options else 4, **options)
        whole = set(options) in ({"stride"}, {"dilation"})
        assert (pool_whole.PoolWhole().why_not(problem) is None) == whole


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_adaptive_pools(kind: str) -> None:
    x = RNG.standard_normal((2, 7, 5, 4)).astype("f4")
    problem = AdaptivePoolProblem.of(kind, 2, x, (3, 2), layout="NHWC")
    expected = Pool().plan(problem).run(x)
    np.testing.assert_allclose(run(problem, x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_places_of_the_largest(layout: str) -> None:
    # Few values, so that many are the largest: the first of them counts, and the first NaN.
    x = RNG.integers(-2, 3, (2, 5, 6, 3)).astype("f4")
    x[0].flat[::17] = np.nan
    x[1].flat[::3] = -np.inf
    options: Any = {"padding": 1, "stride": 2, "return_indices": True, "layout": layout}
    pools = [
        PoolProblem.of("max", 2, x, (3, 2), dilation=(1, 2), **options),
        AdaptivePoolProblem.of("max", 2, x, (2, 3), return_indices=True, layout=layout),
    ]
    for problem in pools:
        expected = Pool().plan(problem).run(x)
        result = PoolIndices().plan(problem).run(x)
        np.testing.assert_array_equal(result[0], expected[0])
        np.testing.assert_array_equal(result[1], expected[1])


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("named", [False, True])
def test_weighted_pools(layout: str, named: bool) -> None:
    x = RNG.standard_normal((2, 5, 6, 3)).astype("f4")
    weights = None if named else RNG.random((3, 2))
    problem = PoolProblem.of(
        "weighted", 2, x, (3, 2), stride=(2, 1), padding=1, ceil_mode=True, layout=layout,
        count_include_pad=named, weights="gaussian" if weights is None else weights,
    )  # fmt: skip
    expected = Pool().plan(problem, weights).run(x)
    result = PoolWeighted().plan(problem, weights).run(x)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
