"""Broadcast arithmetic and PReLU in Numba's simulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.backends.cuda.arithmetic import Arithmetic, Prelu
from fastconv.backends.reference import pointwise
from fastconv.problem import ArithmeticProblem, PreluProblem
from fastconv.problem.arithmetic import FUNCTIONS

RNG = np.random.default_rng(4)


def values(*shape: int) -> Any:
    x = RNG.standard_normal(shape).astype("f4")
    x.reshape(-1)[::7] = np.nan
    return x


# One function shows the steps of all.
CASES: list[Any] = [(function, ((2, 3, 5), (3, 1))) for function in FUNCTIONS]
CASES += [
    ("divide", shapes)
    for shapes in (((3, 8), (3, 8)), ((4, 1, 8), (3, 1)), ((7,), ()), ((), ()))
]  # fmt: skip


@pytest.mark.parametrize(("function", "shapes"), CASES)
def test_arithmetic(function: str, shapes: Any) -> None:
    left, right = (values(*shape) for shape in shapes)
    problem = ArithmeticProblem.of(function, left, right)
    expected = pointwise.Arithmetic().plan(problem).run(left, right)
    result = Arithmetic().plan(problem).run(left, right)
    np.testing.assert_allclose(result, expected, rtol=2e-7)


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 8, 4), (6,)])
@pytest.mark.parametrize("layout", ["NCW", "NWC"])
@pytest.mark.parametrize("one", [False, True])
def test_prelu(shape: Any, layout: str, one: bool) -> None:
    x = values(*shape)
    channels = 1 if one or len(shape) < 2 else shape[-1 if layout == "NWC" else 1]
    slopes = RNG.standard_normal(channels).astype("f4")
    problem = PreluProblem.of(x, slopes, layout=layout)
    expected = pointwise.Prelu().plan(problem, slopes).run(x)
    np.testing.assert_allclose(Prelu().plan(problem, slopes).run(x), expected, rtol=2e-7)
