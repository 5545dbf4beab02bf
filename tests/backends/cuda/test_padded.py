"""Convolutions whose padding is not zeros, in Numba's simulator: exact on small integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.backends.cuda.conv.depthwise import Depthwise
from fastconv.backends.cuda.conv.direct import Direct
from fastconv.backends.reference.conv import Conv
from fastconv.problem import ConvProblem

RNG = np.random.default_rng(14)


@pytest.mark.parametrize(
    ("mode", "layout", "groups"),
    [("reflect", "NHWC", 1), ("replicate", "NHWC", 4), ("circular", "NCHW", 1)],
)
def test_padding_modes(mode: str, layout: str, groups: int) -> None:
    shape = (2, 4, 5, 4) if layout == "NHWC" else (2, 4, 4, 5)
    x = RNG.integers(-4, 5, shape).astype("f4")
    weight = RNG.integers(-4, 5, (4, 4 // groups, 3, 3)).astype("f4")
    options: Any = {"padding": ((2, 1), (1, 3)), "padding_mode": mode, "groups": groups}
    plain = ConvProblem.of(2, x, weight, layout=layout, **options)
    residual = RNG.integers(-4, 5, plain.output_shape).astype("f4")
    problem = ConvProblem.of(2, x, weight, layout=layout, residual=residual, **options)
    algorithm = Direct() if groups == 1 else Depthwise()
    assert algorithm.why_not(problem) is None
    expected = Conv().plan(problem, weight, None).run(x, residual)
    np.testing.assert_array_equal(algorithm.plan(problem, weight, None).run(x, residual), expected)
