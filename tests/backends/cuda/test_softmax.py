"""Softmax in Numba's simulator, against the reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.backends.cuda import softmax
from fastconv.backends.cuda.softmax import Softmax
from fastconv.backends.reference.pointwise import Softmax as Reference
from fastconv.problem import SoftmaxProblem
from tests.backends.cuda.mutation import assert_caught

RNG = np.random.default_rng(6)


def check(shape: Any, axis: int, log: bool) -> None:
    x = (8 * RNG.standard_normal(shape)).astype("f4")
    x.reshape(-1)[2] = np.nan
    problem = SoftmaxProblem.of(x, axis, log=log)
    expected = Reference().plan(problem).run(x)
    result = Softmax().plan(problem).run(x)
    # exp(x - largest) takes on the rounding of a difference of some 40.
    np.testing.assert_allclose(result, expected, rtol=2e-6 if log else 1e-5, atol=1e-6)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 10), 1), ((70,), 0), ((2, 9, 5), 1), ((40, 1), 1)]
)
def test_softmax(shape: Any, axis: int, log: bool) -> None:
    check(shape, axis, log)


def test_a_sum_that_is_cut_short_is_seen() -> None:
    old = "total = sum_tree(cells, thread, lane, i32(STEP), i32(LANES))"
    assert_caught(
        softmax.softmax, old, old.replace("LANES", "LANES // 2"), lambda: check((3, 10), 1, False)
    )
