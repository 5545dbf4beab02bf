"""Products of constant matrices written out: right, and with less to do than term by term."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.backends.cuda.engine.transform import add_column, linear, program
from fastconv.backends.native.conv.winograd.axis import Axis

# Operations of the transforms of F(m, 3): of a tile's line forward, and back.
OPERATIONS = {2: (4, 4), 4: (14, 12), 6: (26, 20)}


@pytest.mark.parametrize("m", OPERATIONS)
def test_programs(m: int) -> None:
    axis = Axis.of(m, 3, 1)
    assert axis is not None
    found = []
    for name in ("bt", "at"):
        matrix = axis.matrix(name)
        steps = program(matrix)
        found.append(steps.operations)
        x = np.random.default_rng(m).standard_normal(matrix.shape[1])
        values = list(x)
        for terms in steps.sums:
            values.append(sum(coefficient * values[value] for coefficient, value in terms))
        np.testing.assert_allclose([values[i] for i in steps.results], matrix @ x, rtol=1e-12)
    assert tuple(found) == OPERATIONS[m]


def test_products_in_place() -> None:
    matrix = np.array([[1.0, -1.0, 0.0], [0.0, 0.5, 2.0]])
    array = np.arange(8, dtype="f4")
    linear(matrix)(array, 1, 3)
    np.testing.assert_array_equal(array, [0, -3, 2, 3, 16, 5, 6, 7])


def test_columns_are_added() -> None:
    matrix = np.array([[1.0, 0.0], [0.5, 0.0], [-2.0, 1.0]])
    sums = np.ones(6, "f4")
    add_column(matrix, 2)(sums, 0, np.array([2, 4], "f4"))
    np.testing.assert_array_equal(sums, [3, 5, 2, 3, -3, -7])
