"""The reference's matrix product by its definition."""

from __future__ import annotations

import numpy as np

from fastconv.backends.reference.linear import Linear
from fastconv.problem import LinearProblem


def test_the_reference_is_the_definition() -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(3, 5)), rng.normal(size=(4, 5)), rng.normal(size=4)
    problem = LinearProblem.of(x, weight, bias, activation="relu")
    result = Linear().plan(problem, weight, bias).run(x)
    for row in range(3):
        for column in range(4):
            total = sum(a * b for a, b in zip(x[row], weight[column], strict=True)) + bias[column]
            assert abs(result[row, column] - max(total, 0)) < 1e-14
