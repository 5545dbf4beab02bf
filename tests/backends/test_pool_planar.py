"""Pools of channels-first images against the reference: any window, a NaN in some cell."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fastconv.functional as F
from fastconv.backends.native import arena
from fastconv.backends.native.pool.cuts import Cuts
from fastconv.backends.native.pool.planar import Planar
from fastconv.backends.native.pool.steps import Steps
from fastconv.backends.numba import library
from fastconv.dispatch.registry import backend_available
from fastconv.machine import get_machine
from fastconv.problem import AdaptivePoolProblem, PoolProblem
from tests.planes import assert_same_bits
from tests.tolerance import poisoned

BACKENDS = [name for name in ("numba", "c") if backend_available(name)]
LARGEST_SIZE = {1: 3000, 2: 90, 3: 24}
LARGEST_WINDOW = {1: 200, 2: 40, 3: 8}


@st.composite
def pools(draw: Any) -> dict[str, Any]:
    """Draw a pool: its function, arguments and input."""
    n = draw(st.integers(1, 3))
    kind = draw(st.sampled_from(("max", "avg", "lp", "adaptive_avg", "adaptive_max")))
    size = [draw(st.integers(1, LARGEST_SIZE[n])) for _ in range(n)]
    dtype = draw(st.sampled_from(("float32", "float64")))
    shape = (draw(st.integers(1, 2)), draw(st.sampled_from((1, 2, 3, 24))), *size)
    case = {"n": n, "kind": kind, "shape": shape, "dtype": dtype, "options": {}}
    case["nan"] = draw(st.sampled_from((None, None, draw(st.integers(0, 2**31)))))
    if kind.startswith("adaptive"):
        output = tuple(draw(st.integers(1, min(s, 40))) for s in size)
        return case | {"arguments": (output,)}
    largest = draw(st.sampled_from((3, LARGEST_WINDOW[n])))
    kernel = tuple(draw(st.integers(1, largest)) for _ in range(n))
    stride = tuple(draw(st.sampled_from((1, 1, 2, 3, 4, 5, 7))) for _ in range(n))
    if kind == "lp":
        return case | {"arguments": (draw(st.sampled_from((1.0, 2.0))), kernel, stride)}
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    options: dict[str, Any] = {"ceil_mode": draw(st.booleans())}
    if kind == "max":
        options["dilation"] = tuple(draw(st.sampled_from((1, 1, 2, 3))) for _ in range(n))
    else:
        options["count_include_pad"] = draw(st.booleans())
        if n > 1 and draw(st.booleans()):
            options["divisor_override"] = 5
    return case | {"arguments": (kernel, stride, padding), "options": options}


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=150, deadline=None)
@given(case=pools())
def test_drawn_pools_are_those_of_the_reference(backend: str, case: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(case["shape"]).astype(case["dtype"])
    if case["nan"] is not None:
        x.flat[case["nan"] % x.size] = np.nan
    function = getattr(F, f"{case['kind']}_pool{case['n']}d")
    exact = x.astype(np.longdouble if x.dtype == np.float64 else np.float64)
    largest = case["kind"].endswith("max")
    try:
        expected = function(
            x if largest or x.dtype == np.float64 else exact, *case["arguments"],
            **case["options"], backend="reference",
        )  # fmt: skip
    except ValueError:
        assume(False)
    arena.take(1 << 20)
    arena.poison()
    out = poisoned(expected.shape, x.dtype)
    how = {"algorithm": "planar", "backend": backend}
    function(x, *case["arguments"], **case["options"], **how, out=out)
    if largest:
        np.testing.assert_array_equal(out, expected)
        return
    window = case["arguments"][1] if case["kind"] == "lp" else case["arguments"][0]
    adaptive = case["kind"].startswith("adaptive")
    cells = x[0, 0].size if adaptive else float(np.prod(window))
    # Sums of magnitudes grow with the cells; means do not.
    scale = (
        5
        * (cells if case["kind"] == "lp" else 1)
        * (cells if "divisor_override" in case["options"] else 1)
    )
    bound = (cells + 2) * float(np.finfo(x.dtype).eps)
    np.testing.assert_allclose(out, expected, rtol=bound, atol=bound * scale)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_nan_anywhere_in_a_window_is_its_maximum_and_nothing_else_changes(backend: str) -> None:
    x = np.random.default_rng(1).standard_normal((1, 8, 40, 40)).astype("f4")
    clean = F.max_pool2d(x, 3, 1, 1, backend=backend, algorithm="planar")
    for row, column in ((0, 0), (17, 16), (39, 39), (20, 31)):
        spoiled = x.copy()
        spoiled[0, 3, row, column] = -np.nan if row else np.nan
        out = F.max_pool2d(spoiled, 3, 1, 1, backend=backend, algorithm="planar")
        touched = np.zeros((1, 8, 40, 40), bool)
        touched[0, 3, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = True
        assert np.isnan(out[touched]).all()
        np.testing.assert_array_equal(out[~touched], clean[~touched])


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_large_windows_take_few_steps(kind: str) -> None:
    problem = PoolProblem.of(kind, 2, np.zeros((1, 1, 512, 512), "f4"), 31, stride=1, padding=15)
    cuts = Cuts(problem, get_machine().lanes(np.dtype("f4")))
    steps = Steps(cuts, 32, largest=kind == "max")
    cells = [int(s.folds[-1][:, 1].max()) for s in steps.rows]
    assert sum(cells) < 31
    assert max(int(s.folds[-1][:, 3].sum()) for s in steps.rows) < 4 * cuts.rows


@pytest.mark.parametrize("shape", [(2, 40, 7, 7), (1, 16, 3, 5), (3, 17, 20, 20), (1, 3, 50, 60)])
@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_global_pools_of_many_and_few_planes(
    shape: tuple[int, ...], kind: str, backend: str
) -> None:
    x = np.random.default_rng(2).standard_normal(shape).astype("f4")
    pool = getattr(F, f"adaptive_{kind}_pool2d")
    function = functools.partial(pool, backend=backend, algorithm="whole")
    exact = getattr(x.astype("f8"), "max" if kind == "max" else "mean")((2, 3), keepdims=True)
    out = function(x, 1, out=poisoned(exact.shape, x.dtype))
    np.testing.assert_allclose(out, exact, atol=shape[2] * shape[3] * 1.2e-7)
    for image in range(len(x)):
        assert function(x[image], 1).tobytes() == out[image].tobytes()
    x[-1, -1, -1, -1] = np.nan
    out = function(x, 1)
    assert np.isnan(out[-1, -1]).all()
    assert np.isfinite(out.ravel()[:-1]).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_bits_do_not_depend_on_threads_or_batch(backend: str) -> None:
    x = np.random.default_rng(3).standard_normal((3, 24, 30, 29)).astype("f4")
    assert_same_bits(lambda v: F.avg_pool2d(v, 5, 1, 2, algorithm="planar", backend=backend), x)


def test_adaptive_pools_are_served() -> None:
    x = np.zeros((1, 4, 30, 30), "f4")
    problem = AdaptivePoolProblem.of("avg", 2, x, 7)
    assert Planar(library).why_not(problem) is None
