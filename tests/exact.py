"""What every direct convolution is held to: exact sums, and nothing beyond its windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy

import fastconv.functional as F
from fastconv.backends.native import arena
from tests.tolerance import poisoned, small_integers


def assert_exact(case: dict[str, Any], algorithm: str, backend: str) -> None:
    """Compare with the reference, on a poisoned output and in poisoned scratch memory.

    A case has n, input and weight (shapes), options, bias, residual and dtype; last, if the
    shapes are to be those of arrays with channels last.
    """
    rng = np.random.default_rng(0)
    function = getattr(F, f"conv{case['n']}d")
    x, w = (small_integers(rng, case[name], case["dtype"]) for name in ("input", "weight"))
    bias = small_integers(rng, case["weight"][0], case["dtype"]) if case["bias"] else None
    options = case["options"]
    if case.get("last"):
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        options = {**options, "layout": "NHWC"}
    expected = function(x, w, bias, **options, backend="reference")
    if case["residual"]:
        options = {**options, "residual": small_integers(rng, expected.shape, case["dtype"])}
        expected = function(x, w, bias, **options, backend="reference")
    arena.take(1 << 20)
    arena.poison()
    out = poisoned(expected.shape, case["dtype"])
    function(x, w, bias, **options, backend=backend, algorithm=algorithm, out=out)
    np.testing.assert_array_equal(out, expected)


def assert_drawn_exact(
    isa: str,
    cases: SearchStrategy[dict[str, Any]],
    algorithm: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Draw many cases for C's kernels at an instruction set."""
    monkeypatch.setenv("FASTCONV_ISA", isa)

    @settings(max_examples=150, deadline=None)
    @given(case=cases)
    def check(case: dict[str, Any]) -> None:
        assert_exact(case, algorithm, "c")

    check()


def assert_stays_in_windows(
    algorithm: str, backend: str, weight: tuple[int, ...], groups: int = 1
) -> None:
    """Spoil a cell of the second of three channels: the outputs that see it alone may tell."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((1, 3, 20, 37)).astype("f4")
    w = rng.standard_normal(weight).astype("f4")
    seen = (slice(None), slice(None) if groups == 1 else 1, slice(8, 11), slice(35, None))
    for activation in (None, "relu", "relu6", ("leaky_relu", 0.1)):
        options: dict[str, Any] = {"padding": 1, "groups": groups, "activation": activation}
        clean = F.conv2d(x, w, **options, backend=backend, algorithm=algorithm)
        for value in (np.nan, np.inf):
            spoiled = x.copy()
            spoiled[0, 1, 9, 36] = value
            exact = F.conv2d(spoiled, w, **options, backend="reference")
            out = F.conv2d(spoiled, w, **options, backend=backend, algorithm=algorithm)
            np.testing.assert_allclose(out, exact, atol=1e-4)
            untouched = np.ones(out.shape, bool)
            untouched[seen] = False
            np.testing.assert_array_equal(out[untouched], clean[untouched])
