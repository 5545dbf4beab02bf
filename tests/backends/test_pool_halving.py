"""Pools with windows two columns apart against the reference, at every instruction set."""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv.functional as F
from fastconv.dispatch import choose
from fastconv.problem import PoolProblem
from tests.libraries import COMPILED, LIBRARIES
from tests.planes import assert_same_bits
from tests.tolerance import poisoned, small_integers

LARGEST_SIZE = {1: 300, 2: 75}


@st.composite
def pools(draw: Any) -> dict[str, Any]:
    """Draw a pool: its function, arguments and input."""
    n = draw(st.integers(1, 2))
    kernel = (*(draw(st.integers(1, 4)) for _ in range(n - 1)), draw(st.sampled_from((2, 3))))
    stride = (*(draw(st.integers(1, 5)) for _ in range(n - 1)), 2)
    # often just large enough, and with odd columns left over
    size = [draw(st.integers(k, LARGEST_SIZE[n])) for k in kernel]
    shape = (draw(st.integers(1, 2)), draw(st.sampled_from((1, 2, 7, 24))), *size)
    kind = draw(st.sampled_from(("max", "avg", "lp")))
    arguments: tuple[Any, ...] = (kernel, stride)
    if kind == "lp":
        arguments = (draw(st.sampled_from((1.0, 2.0))), kernel, stride)
    options = {}
    if kind == "avg" and n == 2 and draw(st.booleans()):
        options["divisor_override"] = draw(st.sampled_from((-4, 5, 8)))
    return {
        "function": f"{kind}_pool{n}d",
        "shape": shape,
        "dtype": draw(st.sampled_from(("float32", "float64"))),
        "arguments": arguments,
        "options": options,
        "spoiled": draw(st.lists(st.integers(0, 2**31), max_size=3)),
    }


@pytest.mark.parametrize("library", LIBRARIES)
@settings(max_examples=60, deadline=None)
@given(case=pools())
def test_drawn_pools_are_those_of_the_reference(library: str, case: dict[str, Any]) -> None:
    # sums of small integers are exact: what is left is a quotient's rounding, or a root's
    x = small_integers(np.random.default_rng(0), case["shape"], case["dtype"])
    for number, place in enumerate(case["spoiled"]):
        x.flat[place % x.size] = (np.nan, -np.inf, np.nan)[number]
    function = getattr(F, case["function"])
    with np.errstate(invalid="ignore"):
        expected = function(x, *case["arguments"], **case["options"], backend="reference")
    out = poisoned(expected.shape, x.dtype)
    backend, *isa = library.split()
    with patch.dict(os.environ, {"FASTCONV_ISA": isa[0]} if isa else {}):
        how = {"backend": backend, "algorithm": "halving"}
        function(x, *case["arguments"], **case["options"], **how, out=out)
    rtol = 0 if "max" in case["function"] else np.finfo(x.dtype).eps
    np.testing.assert_allclose(out, expected, rtol=rtol, atol=0)


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("backend", COMPILED)
def test_an_image_has_the_same_bits_in_any_batch(backend: str, kind: str) -> None:
    x = np.random.default_rng(0).normal(size=(3, 5, 31, 30)).astype("f4")
    pool = getattr(F, f"{kind}_pool2d")
    assert_same_bits(lambda v: pool(v, 3, 2, backend=backend, algorithm="halving"), x)


@pytest.mark.parametrize("backend", COMPILED)
def test_it_is_chosen_where_it_serves(backend: str) -> None:
    x = np.zeros((1, 3, 12, 12), "f4")
    for kernel, row_stride in ((2, 2), (3, 2), ((1, 2), 1)):
        problem = PoolProblem.of("max", 2, x, kernel, stride=(row_stride, 2))
        assert choose(problem, backend=backend).algorithm.name == "halving"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kernel_size": 2, "stride": 3}, "two columns apart"),
        ({"kernel_size": 4, "stride": 2}, "two or three columns wide"),
        ({"kernel_size": (5, 2), "stride": 2}, "up to 4 rows"),
        ({"kernel_size": 2, "stride": 2, "dilation": 2}, "without dilation"),
        ({"kernel_size": 3, "stride": 2, "padding": 1}, "outside the image"),
        ({"kernel_size": 2, "stride": 2, "ceil_mode": True}, "outside the image"),
        ({"kernel_size": 2, "stride": 2, "return_indices": True}, "indices"),
        ({"kernel_size": 2, "stride": 2, "layout": "NHWC"}, "channels last"),
    ],
)
def test_what_it_does_not_serve(options: dict[str, Any], reason: str) -> None:
    problem = PoolProblem.of("max", 2, np.zeros((1, 9, 13, 13), "f4"), **options)
    found = [c.why_not for c in choose(problem).candidates if c.algorithm.name == "halving"]
    assert found
    assert all(reason in (why_not or "") for why_not in found)
