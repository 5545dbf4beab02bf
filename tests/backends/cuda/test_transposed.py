"""Transposed convolutions in Numba's simulator: exact on small integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.backends.cuda.conv.depthwise_transposed import DepthwiseTransposed
from fastconv.backends.cuda.conv.transposed import Transposed
from fastconv.backends.reference.conv import ConvTranspose
from fastconv.problem import ConvTransposeProblem

RNG = np.random.default_rng(0)


def integers(*shape: int) -> Any:
    return RNG.integers(-4, 5, shape).astype("f4")


# Size, channels in and out a group, kernel, options.
CASES: dict[str, Any] = {
    "doubling": ((3, 4), 8, 6, (4, 4), {"stride": 2, "padding": 1}),
    "3x3, stride 2": ((3, 4), 5, 8, (3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "phases without taps": ((3, 2), 4, 4, (1, 2), {"stride": (3, 1), "output_padding": (2, 0)}),
    "dilated, in groups": ((4, 3), 4, 3, (2, 2), {"dilation": 3, "stride": (2, 1), "groups": 2}),
    "cropped": ((6, 5), 3, 2, (3, 3), {"padding": ((2, 1), (0, 2))}),
    "signal": ((9,), 3, 4, (5,), {"stride": 2, "padding": 2}),
    "volume": ((2, 2, 2), 2, 3, (2, 1, 3), {"stride": (2, 1, 1)}),
}


DEPTHWISE: dict[str, Any] = {
    "doubling": ((3, 4), 1, 1, (4, 4), {"stride": 2, "padding": 1, "groups": 8}),
    "dilated": ((4, 3), 1, 1, (2, 3), {"dilation": 3, "stride": (2, 1), "groups": 4}),
    "signal": ((9,), 1, 1, (3,), {"stride": 4, "output_padding": 1, "groups": 4}),
}


@pytest.mark.parametrize("case", CASES)
def test_transposed_convolutions_are_exact(case: str) -> None:
    check(Transposed(), CASES[case], 2 if case in ("volume", "signal") else 1)


@pytest.mark.parametrize("case", DEPTHWISE)
def test_transposed_depthwise_convolutions_are_exact(case: str) -> None:
    check(DepthwiseTransposed(), DEPTHWISE[case], 2)


def check(algorithm: Any, case: Any, batch: int) -> None:
    size, inputs, outputs, kernel, options = case
    n, groups = len(size), options.get("groups", 1)
    layout = {1: "NWC", 2: "NHWC", 3: "NDHWC"}[n]
    x = integers(batch, *size, groups * inputs)
    weight = integers(groups * inputs, outputs, *kernel)
    bias = integers(groups * outputs)
    plain = ConvTransposeProblem.of(n, x, weight, layout=layout, **options)
    residual = integers(*plain.output_shape)
    problem = ConvTransposeProblem.of(
        n, x, weight, bias, layout=layout, residual=residual, activation="relu", **options
    )
    expected = ConvTranspose().plan(problem, weight, bias).run(x, residual)
    assert algorithm.why_not(problem) is None
    result = algorithm.plan(problem, weight, bias).run(x, residual)
    np.testing.assert_array_equal(result, expected)
