"""Normalisations in Numba's simulator, against the reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.backends.cuda import moments, norm
from fastconv.backends.cuda.norm import BatchNorm, GroupNorm, LayerNorm
from fastconv.backends.cuda.response import LocalResponseNorm
from fastconv.backends.reference import norm as reference
from fastconv.problem import (
    BatchNormProblem,
    GroupNormProblem,
    LayerNormProblem,
    LocalResponseNormProblem,
)
from fastconv.problem.activation import Activation
from tests.backends.cuda.mutation import assert_caught

RNG = np.random.default_rng(8)


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype("f4")


def check(ours: Any, theirs: Any, problem: Any, x: Any, *parameters: Any) -> None:
    expected = theirs().plan(problem, *parameters).run(x)
    result = ours().plan(problem, *parameters).run(x)
    np.testing.assert_allclose(result, expected, rtol=4e-6, atol=4e-6)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_batch_norm(layout: str) -> None:
    # Means far from zero: a scale and a shift alone would lose what is between.
    x, mean, variance = normal(2, 3, 4, 4) + 1e4, normal(4) + 1e4, normal(4) ** 2
    if layout == "NCHW":
        mean, variance = mean[:3], variance[:3]
    weight, bias = normal(*mean.shape), normal(*mean.shape)
    problem = BatchNormProblem.of(x, mean, variance, weight, bias, layout=layout)
    check(BatchNorm, reference.BatchNorm, problem, x, mean, variance, weight, bias)


GROUPS: dict[str, Any] = {
    "rows": ((2, 6, 3, 4), 3, "NCHW", True, False),
    "chunks of rows": ((1, 4, 3, 7), 2, "NCHW", True, True),
    "pixels": ((2, 5, 4, 6), 3, "NHWC", True, True),
    "chunks of pixels": ((1, 75, 3), 1, "NWC", False, True),
    "instances": ((2, 21, 5), 5, "NWC", True, True),
    "one pixel": ((3, 8), 2, "NC", True, False),
}


@pytest.mark.parametrize("case", GROUPS)
def test_group_norm(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, groups, layout, affine, cut = GROUPS[case]
    if cut:
        monkeypatch.setattr(norm, "LONG", 8)
        monkeypatch.setattr(moments, "CHUNK", 32)
        monkeypatch.setattr(moments, "PIXELS", 1)
    x = normal(*shape) + 300
    channels = shape[1] if layout.startswith("NC") else shape[-1]
    parameters = [normal(channels), normal(channels)] if affine else [None, None]
    layout = "NCHW" if layout == "NC" else layout
    problem = GroupNormProblem.of(x, groups, *parameters, layout=layout)
    object.__setattr__(problem, "activation", Activation("relu"))
    check(GroupNorm, reference.GroupNorm, problem, x, *parameters)


@pytest.mark.parametrize(("affine", "cut"), [(True, False), (False, False), (True, True)])
def test_layer_norm(affine: bool, cut: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if cut:
        monkeypatch.setattr(norm, "LONG", 8)
        monkeypatch.setattr(moments, "CHUNK", 32)
    x = normal(2 if cut else 5, 10, 4) - 50
    parameters = [normal(10, 4), normal(10, 4)] if affine else [None, None]
    problem = LayerNormProblem.of(x, (10, 4), *parameters)
    check(LayerNorm, reference.LayerNorm, problem, x, *parameters)


@pytest.mark.parametrize(("layout", "size"), [("NCHW", 5), ("NHWC", 2), ("NHWC", 9)])
@pytest.mark.parametrize("beta", [0.75, 0.5])
def test_local_response_norm(layout: str, size: int, beta: float) -> None:
    x = normal(2, 5, 3, 7)
    problem = LocalResponseNormProblem.of(x, size, alpha=0.3, beta=beta, k=2.0, layout=layout)
    check(LocalResponseNorm, reference.LocalResponseNorm, problem, x)


def test_broken_sums_are_seen() -> None:
    # The first mean of some row is off by hundredths, whichever tests ran before.
    x = np.random.default_rng(7).standard_normal((12, 40)).astype("f4") + np.float32(1e5)
    problem = LayerNormProblem.of(x, 40)

    def whole() -> None:
        check(LayerNorm, reference.LayerNorm, problem, x, None, None)

    whole()
    assert_caught(norm.standardise, "square - left * left", "square", whole)
    assert_caught(norm.standardise, "- near) - left)", "- near))", whole)
