"""Convolutions of small integers, whose sums are exact, against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np

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
