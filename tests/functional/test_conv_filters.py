"""Minimal filters against float64, over drawn options."""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fastconv.functional as F
from fastconv.backends.native import arena
from fastconv.backends.native.bounds import sum_bound
from fastconv.dispatch import algorithms
from fastconv.dispatch.registry import backend_available
from fastconv.problem import ConvProblem
from tests.functional.conv_cases import FILTERS, conv_cases
from tests.libraries import ISAS
from tests.tolerance import poisoned


@st.composite
def filtered_cases(draw: Any) -> dict[str, Any]:
    """Draw a convolution that minimal filters take: taps, strides, dilations, groups, layouts."""
    case = draw(conv_cases())
    n = draw(st.sampled_from((1, 2, 2)))
    stride = [draw(st.sampled_from((1, 1, 2))) for _ in range(n)]
    dilation = [1 if s > 1 else draw(st.sampled_from((1, 1, 2, 3))) for s in stride]
    groups, per_group = draw(st.sampled_from(((1, 5), (1, 33), (2, 16), (4, 8), (3, 16))))
    kernel = [draw(st.sampled_from((1, 2, 3, 3, 4, 5, 7))) for _ in range(n)]
    least = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [low + draw(st.integers(0, 22)) for low in least]
    out = groups * draw(st.sampled_from((3, 8, 16, 40)))
    case.update(n=n, input=(draw(st.integers(1, 3)), groups * per_group, *size))
    case["weight"] = (out, per_group, *kernel)
    case["options"].update(
        stride=tuple(stride), dilation=tuple(dilation), groups=groups,
        padding=tuple(draw(st.integers(0, 3)) for _ in range(n)),
    )  # fmt: skip
    return case


# Numba's kernels are compiled for one instruction set here: C's exist for all.
INSTRUCTIONS = [("numba", ISAS[0])] * backend_available("numba")
INSTRUCTIONS += [("c", isa) for isa in ISAS] * backend_available("c")


@pytest.mark.parametrize(("backend", "isa"), INSTRUCTIONS)
@settings(max_examples=30, deadline=None)
@given(
    case=filtered_cases(),
    dtype=st.sampled_from(("float32", "float32", "float64")),
    algorithm=st.sampled_from(FILTERS),
    residual=st.booleans(),
)
def test_every_filter_stays_inside_its_bound_over_drawn_options(
    backend: str, isa: str, case: dict[str, Any], dtype: str, algorithm: str, residual: bool
) -> None:
    with patch.dict(os.environ, FASTCONV_ISA=isa):
        check_filter(backend, case, dtype, algorithm, residual)


def check_filter(
    backend: str, case: dict[str, Any], dtype: str, algorithm: str, residual: bool
) -> None:
    rng = np.random.default_rng(case["seed"])
    x, w = (rng.standard_normal(case[name]).astype(dtype) for name in ("input", "weight"))
    layout = "NHWC" if case["last"] else "NCHW"
    if case["last"]:
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    options: dict[str, Any] = {**case["options"], "layout": layout, "rtol": 10.0}
    problem = ConvProblem.of(case["n"], x, w, **options)
    chosen = next(a for a in algorithms(ConvProblem) if (a.backend, a.name) == (backend, algorithm))
    assume(chosen.why_not(problem) is None)
    bias = rng.standard_normal(w.shape[0]).astype(dtype) if case["bias"] else None
    other = rng.standard_normal(problem.output_shape).astype(dtype) if residual else None
    more = {"bias": bias, "residual": other, "activation": "relu"}
    function = getattr(F, f"conv{case['n']}d")
    wide = {k: v if v is None or isinstance(v, str) else v.astype("f8") for k, v in more.items()}
    exact = function(x.astype("f8"), w.astype("f8"), **wide, **options, backend="reference")
    arena.take(1 << 20)
    arena.poison()
    out = poisoned(problem.output_shape, dtype)
    function(x, w, **more, **options, backend=backend, algorithm=algorithm, out=out)
    # Bias and residual add roundings of their own, each below an ulp of a few deviations; so does
    # the reference.
    bound = chosen.error_bound(problem) + 8 * np.finfo(dtype).eps
    bound += sum_bound(problem.sum_length, 2.0**-53)
    error = np.abs(out - exact).max() / np.sqrt(problem.sum_length)
    assert error <= bound
