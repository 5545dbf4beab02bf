"""Drawn depthwise convolutions of planes, and their exact outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

import fastconv
import fastconv.functional as F
from fastconv.backends.native import arena
from fastconv.problem import ConvProblem
from tests.tolerance import poisoned


@st.composite
def plane_cases(draw: Any, dimensions: tuple[int, ...] = (1, 2, 2)) -> dict[str, Any]:
    """Draw a depthwise convolution in one of ``dimensions``."""
    n = draw(st.sampled_from(dimensions))
    kernel = [draw(st.integers(1, (60, 19)[n - 1])) for _ in range(n)]
    dilation = [draw(st.sampled_from((1, 1, 2))) for _ in range(n)]
    padding = [draw(st.integers(0, k)) for k in kernel]
    least = [max(1, d * (k - 1) + 1) for k, d in zip(kernel, dilation, strict=True)]
    size = [low + draw(st.integers(0, (2000, 70)[n - 1])) for low in least]
    groups, multiplier = draw(st.sampled_from((1, 2, 3))), draw(st.sampled_from((1, 1, 3)))
    modes = ["zeros", "replicate"]
    if all(p < s for p, s in zip(padding, size, strict=True)):
        modes += ["reflect", "circular"]
    return {
        "n": n,
        "input": (draw(st.integers(1, 2)), groups, *size),
        "weight": (groups * multiplier, 1, *kernel),
        "options": {
            "groups": groups,
            "stride": tuple(draw(st.sampled_from((1, 1, 2, 5))) for _ in range(n)),
            "padding": tuple(padding),
            "dilation": tuple(dilation),
            "padding_mode": draw(st.sampled_from(modes)),
        },
        "dtype": draw(st.sampled_from(("float32", "float32", "float64"))),
        "epilogue": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**16)),
    }


def exact_correlation(
    x: np.ndarray[Any, Any], w: np.ndarray[Any, Any], problem: ConvProblem
) -> np.ndarray[Any, Any]:
    """Correlate planes by shifted products, in the arrays' own dtype."""
    p = problem
    mode = {"zeros": "constant", "replicate": "edge", "circular": "wrap"}.get(p.padding_mode)
    padded = np.pad(x, ((0, 0), (0, 0), *p.padding), mode=mode or "reflect")  # type: ignore[call-overload]
    padded = np.repeat(padded, p.out_channels // p.groups, axis=1)
    total = np.zeros(p.output_shape, x.dtype)
    for tap in np.ndindex(*p.kernel_size):
        where = tuple(
            slice(t * d, t * d + (o - 1) * s + 1, s)
            for t, d, s, o in zip(tap, p.dilation, p.stride, p.output_size, strict=True)
        )
        weights = w[(slice(None), 0, *tap)].reshape(-1, *[1] * p.n)
        total += padded[(slice(None), slice(None), *where)] * weights
    return total


def activated(exact: np.ndarray[Any, Any], bias: Any, residual: Any) -> np.ndarray[Any, Any]:
    """Add a bias a channel and a residual, then silu."""
    total = exact + bias.reshape(-1, *[1] * (exact.ndim - 2)) + residual
    return np.asarray(total / (1 + np.exp(-total)))


def assert_same_bits(call: Callable[[Any], Any], x: np.ndarray[Any, Any]) -> None:
    """Check that an image's bits depend neither on its batch nor on the number of threads."""
    before = fastconv.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            fastconv.set_num_threads(threads)
            results.append(call(x))
            assert call(x[1]).tobytes() == results[-1][1].tobytes()
    finally:
        fastconv.set_num_threads(before)
    assert len({r.tobytes() for r in results}) == 1


def error_of(
    case: dict[str, Any],
    w: np.ndarray[Any, Any],
    problem: ConvProblem,
    algorithm: str,
    backend: str | None = None,
) -> float:
    """Return the largest error on a drawn case, by the deviation of a sum, over poisoned memory."""
    rng = np.random.default_rng(case["seed"] + 1)
    dtype, options = case["dtype"], case["options"]
    x = rng.standard_normal(case["input"]).astype(dtype)
    # float64 is checked in the precision above it, where the platform has one.
    wide = np.longdouble if dtype == "float64" else np.float64
    exact = exact_correlation(x.astype(wide), w.astype(wide), problem)
    more: dict[str, Any] = {}
    if case["epilogue"]:
        bias = rng.standard_normal(w.shape[0]).astype(dtype)
        residual = rng.standard_normal(problem.output_shape).astype(dtype)
        more = {"bias": bias, "residual": residual, "activation": "silu"}
        exact = activated(exact, bias, residual)
    arena.take(1 << 20)
    arena.poison()
    out = poisoned(problem.output_shape, dtype)
    function = getattr(F, f"conv{case['n']}d")
    how: dict[str, Any] = {"algorithm": algorithm, "backend": backend}
    function(x, w, **options, **more, **how, rtol=1, out=out)
    return float(np.abs(out - exact).max() / np.sqrt(problem.sum_length))
