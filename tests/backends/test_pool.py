"""The pools' kernels: every path against the reference, the same bits always, no stray writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.backends.numba.pool.geometry import FLAT, PER_OUTPUT, STRIDED, Geometry
from fastconv.dispatch import choose
from fastconv.dispatch.registry import backend_available
from fastconv.problem import AdaptivePoolProblem, PoolProblem
from tests.tolerance import poisoned, small_integers

# Name, arguments, shape (N, C, ...), options: each reaches another path of the kernels.
CASES: dict[str, tuple[str, tuple[Any, ...], tuple[int, ...], dict[str, Any]]] = {
    "several tiles, stride 1": ("pool1d", (5,), (1, 2, 9001), {"stride": 1, "padding": 2}),
    "several tiles, stride 2": ("pool1d", (3,), (1, 2, 20011), {"stride": 2}),
    "several tiles, stride 3": ("pool1d", (7,), (1, 1, 13001), {"stride": 3, "padding": 3}),
    "a window longer than a tile": ("pool1d", (6007,), (2, 1, 14009), {"stride": 13}),
    "wide strides": ("pool2d", (2,), (1, 3, 90, 95), {"stride": 40}),
    "several lane blocks": ("pool2d", (3,), (1, 530, 18, 9), {"stride": 2, "padding": 1}),
    "few rows, small lane blocks": ("pool2d", (3,), (1, 45, 9, 11), {"stride": 2, "padding": 1}),
    "a kernel as large as the image": ("pool2d", ((13, 37),), (2, 5, 13, 37), {}),
    "many rows a window": ("pool3d", ((4, 5, 1),), (1, 3, 9, 9, 20), {"stride": (1, 2, 1)}),
    "columns of one cell": ("pool2d", ((3, 1),), (1, 4, 17, 1), {"stride": 1}),
}


def call(kind: str, name: str, x: Any, args: Any, options: Any, **more: Any) -> Any:
    """Call a pool of a kind; small integers make every sum exact."""
    first = (1.0,) if kind == "lp" else ()
    if kind == "max":
        more["return_indices"] = options.get("return_indices", False)
    return getattr(F, f"{kind}_{name}")(x, *first, *args, **{**options, **more})


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("kind", ["max", "avg", "lp"])
@pytest.mark.parametrize("case", list(CASES))
def test_every_path_is_the_reference(case: str, kind: str, last: bool) -> None:
    name, args, shape, options = CASES[case]
    x = small_integers(np.random.default_rng(1), shape, "f4", 9)
    layout = {"layout": "NHWC" if last else "NCHW"}
    x = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
    expected = call(kind, name, x, args, options, **layout, backend="reference")
    out = poisoned(expected.shape, "f4")
    call(kind, name, x, args, options, **layout, backend="numba", out=out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("case", list(CASES))
def test_every_path_knows_where(case: str, last: bool) -> None:
    name, args, shape, options = CASES[case]
    x = small_integers(np.random.default_rng(2), shape, "f8", 9)
    x[np.random.default_rng(3).random(shape) < 0.01] = np.nan
    x = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
    options = {**options, "return_indices": True, "layout": "NHWC" if last else "NCHW"}
    expected = call("max", name, x, args, options, backend="reference")
    result = call("max", name, x, args, options, backend="numba")
    np.testing.assert_array_equal(result[0], expected[0])
    np.testing.assert_array_equal(result[1], expected[1])


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("case", [c for c in CASES if "longer" not in c])
def test_every_path_weighs(case: str, last: bool) -> None:
    name, args, shape, options = CASES[case]
    kernel = np.broadcast_to(args[0], int(name[4]))
    x = small_integers(np.random.default_rng(4), shape, "f8", 9)
    x = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
    weights = np.random.default_rng(5).uniform(0.5, 1, kernel)
    options = {
        **options, "weights": weights, "layout": "NHWC" if last else "NCHW", "ceil_mode": True,
        "count_include_pad": False,
    }  # fmt: skip
    expected = call("weighted", name, x, args, options, backend="reference")
    out = poisoned(expected.shape, "f8")
    call("weighted", name, x, args, options, backend="numba", out=out)
    # |x| <= 9 under weights that sum to 1, and a rounding or two each.
    allowed = 9 * 2 * (weights.size + 4) * np.finfo("f8").eps
    np.testing.assert_allclose(out, expected, rtol=0, atol=allowed)


@pytest.mark.parametrize("include", [False, True])
def test_a_window_half_in_the_padding_keeps_its_weights(include: bool) -> None:
    x = np.arange(1.0, 5.0).reshape(1, 1, 1, 4)
    weights = np.array([[1.0, 2.0], [3.0, 4.0]])
    result = F.weighted_pool2d(
        x, 2, 5, ((1, 0), (0, 0)), weights, count_include_pad=include, backend="numba"
    )
    np.testing.assert_allclose(result, 11 / (10 if include else 7), rtol=1e-15)


def geometry(shape: Any, kernel: Any, **options: Any) -> Geometry:
    x = np.zeros(shape, "f4")
    return Geometry.of(PoolProblem.of("max", 2, x, kernel, **options))


def test_the_cases_reach_every_mode() -> None:
    assert geometry((1, 8, 20, 20), 3, stride=1).mode == FLAT
    assert geometry((1, 8, 20, 20), 3, stride=2).mode == STRIDED
    assert geometry((1, 20, 20, 8), 3, stride=2, layout="NHWC").mode == PER_OUTPUT
    assert geometry((1, 20, 20, 8), 3, stride=1, layout="NHWC").mode == FLAT
    assert geometry((1, 8, 20, 20), 20).mode == PER_OUTPUT
    several = geometry((1, 40, 40, 600), 3, stride=2, layout="NHWC")
    assert several.lane_blocks == 3
    assert len(several.tile_from) > 1
    assert several.line_elements <= 3 * 4096
    apart = geometry((1, 90, 90, 64), 2, stride=40, layout="NHWC")
    assert apart.tile == 1
    assert apart.line_elements == 2 * 16


def test_a_global_pool_is_one_long_row() -> None:
    problem = AdaptivePoolProblem.of_global("avg", np.zeros((2, 5, 7, 9), "f4"))
    found = Geometry.of(problem)
    assert found.size == (1, 1, 63)
    assert found.images == 10


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kind", ["max", "avg", "lp", "weighted", "adaptive", "global"])
def test_the_same_bits_in_any_batch_and_on_any_number_of_threads(kind: str, layout: str) -> None:
    x = np.random.default_rng(6).standard_normal((5, 40, 50, 39)).astype("f4")

    def pool(a: Any) -> Any:
        more = {"layout": layout, "backend": "numba"}
        if kind == "adaptive":
            return F.adaptive_avg_pool2d(a, (7, 6), **more)
        if kind == "global":
            return F.global_avg_pool(a, **more)
        first = (3,) if kind == "lp" else ()
        return getattr(F, f"{kind}_pool2d")(a, *first, 3, 2, padding=1, **more)

    before = fastconv.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 8):
            fastconv.set_num_threads(threads)
            results.append(pool(x))
            assert pool(x[3:4]).tobytes() == results[-1][3].tobytes()
    finally:
        fastconv.set_num_threads(before)
    assert len({r.tobytes() for r in results}) == 1


@pytest.mark.parametrize("name", ["avg_pool2d", "lp_pool2d", "weighted_pool2d", "global_avg_pool"])
def test_errors_stay_inside_the_stated_bound(name: str) -> None:
    x = np.random.default_rng(7).standard_normal((2, 9, 40, 41)).astype("f4")
    args = {"avg_pool2d": (7, 3), "lp_pool2d": (2, 7, 3), "weighted_pool2d": (7, 3)}.get(name, ())
    exact = getattr(F, name)(x.astype("f8"), *args, backend="reference")
    result = getattr(F, name)(x, *args, backend="numba")
    if name == "global_avg_pool":
        problem: Any = AdaptivePoolProblem.of_global("avg", x)
    else:
        kind = name.split("_")[0]
        more = {"norm_type": 2} if kind == "lp" else {}
        more |= {"weights": "gaussian"} if kind == "weighted" else {}
        problem = PoolProblem.of(kind, 2, x, 7, stride=3, **more)
    bound = choose(problem, backend="numba").algorithm.error_bound(problem)
    assert np.abs(result - exact).max() <= bound * np.abs(x).max()


def test_pools_run_on_compiled_kernels() -> None:
    x = np.zeros((1, 3, 8, 8), "f4")
    first = "c" if backend_available("c") else "numba"
    assert choose(PoolProblem.of("max", 2, x, 2)).algorithm.backend == first
    assert choose(PoolProblem.of("max", 2, x.astype("i1"), 2)).algorithm.backend == "numba"
    assert choose(PoolProblem.of("max", 2, x.astype("f2"), 2)).algorithm.backend == "numba"
    weighted = PoolProblem.of("weighted", 2, x, 2, weights="gaussian")
    assert choose(weighted).algorithm.name == "weighted"
