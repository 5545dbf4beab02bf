"""The pools' kernels: every path against the reference, the same bits always, no stray writes."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.backends.native import arena
from fastconv.backends.native.pool.geometry import FLAT, PER_OUTPUT, STRIDED, Geometry
from fastconv.dispatch import choose
from fastconv.problem import AdaptivePoolProblem, PoolProblem
from tests.libraries import COMPILED, FIRST, ISAS, LIBRARIES, use
from tests.tolerance import poisoned, small_integers

# C at every instruction set: its kernels exist.
KERNELS = [("numba", None)] if "numba" in COMPILED else []
KERNELS += [("c", isa) for isa in ISAS if "c" in COMPILED]


@pytest.fixture(params=KERNELS, ids=lambda p: " ".join(filter(None, p)))
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a backend, at an instruction set, with scratch memory full of NaN."""
    backend, isa = request.param
    if isa is not None:
        monkeypatch.setenv("FASTCONV_ISA", isa)
    arena.take(1 << 18)
    arena.poison()
    return str(backend)


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
    "one lane left over": ("pool2d", (2,), (1, 33, 5, 7), {"stride": 2}),
    "few lanes, apart": ("pool2d", (3,), (2, 3, 23, 31), {"stride": 2, "padding": 1}),
    "few lanes, side by side": ("pool2d", (4,), (2, 3, 12, 31), {"stride": 1, "padding": 2}),
    "large windows that overlap": ("pool2d", (7,), (1, 21, 15, 13), {"stride": 1, "padding": 3}),
    "windows with gaps": ("pool2d", (2,), (1, 5, 30, 47), {"stride": 3}),
    "volumes": ("pool3d", (3,), (1, 19, 6, 7, 9), {"stride": 2, "padding": 1}),
}


def call(kind: str, name: str, x: Any, args: Any, options: Any, **more: Any) -> Any:
    """Call a pool of a kind; small integers make every sum exact."""
    first = (1.0,) if kind == "lp" else ()
    return getattr(F, f"{kind}_{name}")(x, *first, *args, **{**options, **more})


@functools.cache
def expectation(case: str, kind: str, last: bool, dtype: str) -> tuple[Any, dict[str, Any], Any]:
    """Return an input, what a case asks for, and what the reference makes of it."""
    name, args, shape, options = CASES[case]
    rng = np.random.default_rng(1)
    x = small_integers(rng, shape, dtype, 9)
    options = {**options, "layout": "NHWC" if last else "NCHW"}
    if kind == "weighted":
        weights = rng.uniform(0.5, 1, np.broadcast_to(args[0], int(name[4])).tolist())
        options |= {"weights": weights, "ceil_mode": True, "count_include_pad": False}
    if kind == "places":
        x[rng.random(shape) < 0.01] = np.nan
        kind, options["return_indices"] = "max", True
    x = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
    return x, options, call(kind, name, x, args, options, backend="reference")


EVERY = pytest.mark.parametrize("case", list(CASES))
VARIANTS = list(itertools.product((False, True), ("f4", "f8")))


@EVERY
@pytest.mark.parametrize("kind", ["max", "avg", "lp"])
def test_every_path_is_the_reference(case: str, kind: str, kernels: str) -> None:
    name, args, _, _ = CASES[case]
    for last, dtype in VARIANTS:
        x, options, expected = expectation(case, kind, last, dtype)
        out = poisoned(expected.shape, dtype)
        how = {"backend": kernels, "algorithm": "separable"}
        call(kind, name, x, args, options, **how, out=out)
        np.testing.assert_array_equal(out, expected)


@EVERY
def test_every_path_knows_where(case: str, kernels: str) -> None:
    name, args, _, _ = CASES[case]
    for last, dtype in VARIANTS:
        x, options, expected = expectation(case, "places", last, dtype)
        out = poisoned(expected[0].shape, dtype)
        result = call("max", name, x, args, options, backend=kernels, out=out)
        np.testing.assert_array_equal(out, expected[0])
        np.testing.assert_array_equal(result[1], expected[1])


@pytest.mark.parametrize("case", [c for c in CASES if "longer" not in c])
def test_every_path_weighs(case: str, kernels: str) -> None:
    name, args, _, _ = CASES[case]
    for last, dtype in VARIANTS:
        x, options, expected = expectation(case, "weighted", last, dtype)
        out = poisoned(expected.shape, dtype)
        call("weighted", name, x, args, options, backend=kernels, out=out)
        # |x| <= 9 under weights that sum to 1, and a rounding or two each.
        allowed = 9 * 2 * (options["weights"].size + 4) * np.finfo(dtype).eps
        np.testing.assert_allclose(out, expected, rtol=0, atol=allowed)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("p", [1.0, 3.0, 2.5, np.inf])
def test_norms_of_any_power(p: float, last: bool, kernels: str) -> None:
    layout = "NHWC" if last else "NCHW"
    for shape, kernel, stride in (((2, 5, 9, 21), 3, 2), ((1, 2, 40, 17), 5, 1)):
        x = np.random.default_rng(8).standard_normal(shape).astype("f4")
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
        wide = F.lp_pool2d(x.astype("f8"), p, kernel, stride, layout=layout, backend="reference")
        how = {"layout": layout, "backend": kernels, "algorithm": "separable"}
        out = poisoned(wide.shape, "f4")
        F.lp_pool2d(x, p, kernel, stride, **how, out=out)
        np.testing.assert_allclose(out, wide, rtol=1e-6)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("size", [(7, 6), (1, 1), (30, 1)])
def test_adaptive_windows(size: tuple[int, int], last: bool, kernels: str) -> None:
    x = small_integers(np.random.default_rng(9), (2, 19, 30, 41), "f4", 9)
    x[0, 3, 11, 40] = np.nan
    x = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
    layout = "NHWC" if last else "NCHW"
    how = {"layout": layout, "backend": kernels, "algorithm": "separable"}
    for name, options in (
        ("adaptive_max_pool2d", {"return_indices": True}),
        ("adaptive_max_pool2d", {}),
        ("adaptive_avg_pool2d", {}),
    ):
        expected = getattr(F, name)(x, size, **options, layout=layout, backend="reference")
        result = getattr(F, name)(x, size, **options, **how)
        several = isinstance(expected, tuple)
        pairs = zip(result, expected, strict=True) if several else [(result, expected)]
        for a, b in pairs:
            np.testing.assert_allclose(a, b, atol=0 if "max" in name else 1e-5)


def test_the_first_of_equal_cells_is_the_place(kernels: str) -> None:
    x = np.zeros((1, 21, 12, 40), "f4")
    x[0, 1], x[0, 2] = -np.inf, np.nan
    x[0, 3, ::2] = np.nan
    for layout in ("NCHW", "NHWC"):
        given = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if layout == "NHWC" else x
        for kernel, stride in ((2, 2), (3, 1), (9, 1)):
            options = {"return_indices": True, "layout": layout}
            expected = F.max_pool2d(given, kernel, stride, **options, backend="reference")
            result = F.max_pool2d(given, kernel, stride, **options, backend=kernels)
            np.testing.assert_array_equal(result[0], expected[0])
            np.testing.assert_array_equal(result[1], expected[1])


@pytest.mark.parametrize("dtype", ["i1", "f2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(2, 5, 6, 7), (1, 70, 3, 5)])
@pytest.mark.parametrize("backend", COMPILED)
def test_unpooling_moves_values_of_any_size(
    backend: str, shape: tuple[int, ...], dtype: str
) -> None:
    x = np.random.default_rng(10).integers(1, 99, shape).astype(dtype)
    places = (
        np.random.default_rng(11)
        .permuted(
            np.broadcast_to(
                np.arange(4 * shape[2] * shape[3]), (*shape[:2], 4 * shape[2] * shape[3])
            ),
            axis=2,
        )[..., : shape[2] * shape[3]]
        .reshape(shape)
    )
    for layout in ("NCHW", "NHWC"):
        given = (x, places)
        if layout == "NHWC":
            given = tuple(np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in given)
        expected = F.max_unpool2d(*given, 2, layout=layout, backend="reference")
        out = poisoned(expected.shape, dtype)
        F.max_unpool2d(*given, 2, layout=layout, backend=backend, out=out)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("include", [False, True])
def test_a_window_half_in_the_padding_keeps_its_weights(include: bool, backend: str) -> None:
    x = np.arange(1.0, 5.0).reshape(1, 1, 1, 4)
    weights = np.array([[1.0, 2.0], [3.0, 4.0]])
    result = F.weighted_pool2d(
        x, 2, 5, ((1, 0), (0, 0)), weights, count_include_pad=include, backend=backend
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
@pytest.mark.parametrize("backend", COMPILED)
def test_the_same_bits_in_any_batch_and_on_any_number_of_threads(
    backend: str, kind: str, layout: str
) -> None:
    x = np.random.default_rng(6).standard_normal((5, 40, 50, 39)).astype("f4")

    def pool(a: Any) -> Any:
        more = {"layout": layout, "backend": backend}
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
@pytest.mark.parametrize("backend", COMPILED)
def test_errors_stay_inside_the_stated_bound(backend: str, name: str) -> None:
    x = np.random.default_rng(7).standard_normal((2, 9, 40, 41)).astype("f4")
    args = {"avg_pool2d": (7, 3), "lp_pool2d": (2, 7, 3), "weighted_pool2d": (7, 3)}.get(name, ())
    exact = getattr(F, name)(x.astype("f8"), *args, backend="reference")
    result = getattr(F, name)(x, *args, backend=backend)
    if name == "global_avg_pool":
        problem: Any = AdaptivePoolProblem.of_global("avg", x)
    else:
        kind = name.split("_")[0]
        more = {"norm_type": 2} if kind == "lp" else {}
        more |= {"weights": "gaussian"} if kind == "weighted" else {}
        problem = PoolProblem.of(kind, 2, x, 7, stride=3, **more)
    bound = choose(problem, backend=backend).algorithm.error_bound(problem)
    assert np.abs(result - exact).max() <= bound * np.abs(x).max()


def test_pools_run_on_compiled_kernels() -> None:
    x = np.zeros((1, 3, 8, 8), "f4")
    assert choose(PoolProblem.of("max", 2, x, 2)).algorithm.backend == FIRST
    if "numba" in COMPILED:
        for dtype in ("i1", "f2"):
            problem = PoolProblem.of("max", 2, x.astype(dtype), 2)
            assert choose(problem).algorithm.backend == "numba"
    weighted = PoolProblem.of("weighted", 2, x, 2, weights="gaussian")
    assert choose(weighted).algorithm.name == "weighted"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_mean_of_large_plane_has_the_error_of_short_sums(
    library: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = use(library, monkeypatch)
    # A number whose sums round in one direction: errors add up and do not cancel.
    x = np.full((1, 1, 1500, 1501), 0.1, dtype)
    exact, eps = np.float64(x[0, 0, 0, 0]), float(np.finfo(dtype).eps)
    # Blocks of 32 steps in vectors; float64's blocks are added one by one.
    allowed = (32 + 8 + x.size / 64 / 32 * (dtype == "float64")) * eps * exact
    for mean in (
        F.global_avg_pool(x, backend=backend),
        F.avg_pool1d(x.reshape(1, 1, -1), x.size // 2, backend=backend),
    ):
        assert np.abs(mean - exact).max() <= allowed
