"""The fully connected layer in Numba's simulator: exact on integers, the same bits in a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.backends.cuda import linear
from fastconv.backends.cuda.linear import (
    Linear,
    plan_few_rows,
    plan_many_rows,
    plan_more_rows,
    slices_of,
)
from fastconv.backends.reference.linear import Linear as Reference
from fastconv.problem import LinearProblem

RNG = np.random.default_rng(0)


def integers(*shape: int) -> Any:
    return RNG.integers(-4, 5, shape).astype("f4")


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "bias"),
    [(1, 9, 5, True), (3, 40, 270, False), (33, 20, 7, True)],
)
def test_products_are_exact(rows: int, inputs: int, outputs: int, bias: bool) -> None:
    x, weight = integers(rows, inputs), integers(outputs, inputs)
    offsets = integers(outputs) if bias else None
    problem = LinearProblem.of(x, weight, offsets, activation="relu")
    expected = Reference().plan(problem, weight, offsets).run(x)
    result = Linear().plan(problem, weight, offsets).run(x)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("inputs", [96, 70])
def test_a_row_has_the_same_bits_in_every_batch(
    inputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "LEAST", 24)
    assert len(slices_of(inputs, 12)) > 1
    x = RNG.standard_normal((10, inputs)).astype("f4")
    # Weights of zero are behind a sum's end, where an infinity must not meet them.
    x[3, -1] = np.inf
    weight, bias = RNG.standard_normal((12, inputs)).astype("f4"), integers(12)
    problem = LinearProblem.of(x, weight, bias, activation="silu")
    expected = Reference().plan(problem, weight, bias).run(x)
    plans = [plan_few_rows, plan_many_rows]
    # Slices that are alike are the groups of one product.
    plans += [plan_more_rows] if inputs == 96 else []
    results = []
    for plan in plans:
        monkeypatch.setattr(Linear, "launches", lambda self, *given, plan=plan: plan(*given))
        results.append(Linear().plan(problem, weight, bias).run(x))
    np.testing.assert_allclose(results[0], expected, rtol=2e-5, atol=2e-5)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_slices_cover_every_sum_once() -> None:
    for inputs, outputs in ((1, 1), (784, 128), (2048, 1000), (25088, 4096), (4100, 50000)):
        cuts = slices_of(inputs, outputs)
        assert [start for start, _ in cuts] == [i * cuts[0][1] for i in range(len(cuts))]
        assert sum(count for _, count in cuts) == inputs
        assert len(cuts) <= linear.MOST
