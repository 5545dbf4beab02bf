"""Windows as columns and back, and max unpooling, in Numba's simulator: exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.backends.cuda import unpool
from fastconv.backends.cuda.unfold import Fold, Unfold
from fastconv.backends.cuda.unpool import Scatter
from fastconv.backends.reference import unfold as reference
from fastconv.backends.reference.pool import MaxUnpool
from fastconv.problem import FoldProblem, MaxUnpoolProblem, UnfoldProblem
from tests.backends.cuda.mutation import assert_caught

RNG = np.random.default_rng(12)
WINDOWS: dict[str, Any] = {
    "plain": ((5, 6), (2, 3), {}),
    "apart": ((7, 6), (3, 2), {"stride": (2, 3), "padding": 1}),
    "dilated": ((6, 7), (2, 3), {"dilation": (3, 2), "padding": ((0, 2), (3, 1)), "stride": 2}),
}


@pytest.mark.parametrize("case", WINDOWS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_windows_as_columns_and_back(case: str, layout: str) -> None:
    size, kernel, options = WINDOWS[case]
    shape = (2, 3, *size) if layout == "NCHW" else (2, *size, 3)
    x = RNG.integers(-9, 9, shape).astype("f4")
    problem = UnfoldProblem.of(x, kernel, layout=layout, **options)
    columns = reference.Unfold().plan(problem).run(x)
    np.testing.assert_array_equal(Unfold().plan(problem).run(x), columns)
    # Others than those of an image, which are zero where windows leave it.
    columns = RNG.integers(-9, 9, columns.shape).astype("f4")
    back = FoldProblem.of(columns, size, kernel, layout=layout, **options)
    expected = reference.Fold().plan(back).run(columns)
    np.testing.assert_array_equal(Fold().plan(back).run(columns), expected)


def unpooled(layout: str, dtype: str) -> None:
    shape = (2, 3, 4, 3) if layout == "NCHW" else (2, 4, 3, 3)
    x = RNG.integers(-99, 99, shape).astype(dtype)
    # Many cells for one place: the last one stays.
    indices = RNG.integers(0, 30, shape)
    problem = MaxUnpoolProblem.of(2, x, indices, 2, layout=layout)
    expected = MaxUnpool().plan(problem).run(x, indices)
    np.testing.assert_array_equal(Scatter().plan(problem).run(x, indices), expected)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["f4", "i1"])
def test_max_unpooling(layout: str, dtype: str) -> None:
    unpooled(layout, dtype)


def test_a_place_outside_is_refused() -> None:
    x, indices = np.ones((1, 1, 2), "f4"), np.array([[[0, 4]]])
    problem = MaxUnpoolProblem.of(1, x, indices, 2)
    with pytest.raises(ValueError, match="invalid max index: 4"):
        Scatter().plan(problem).run(x, indices)


def test_cells_without_an_order_are_seen() -> None:
    old = "i32(rest % i64(CELLS)) + i32(1)"
    assert_caught(unpool.claim, old, "i32(1)", lambda: unpooled("NCHW", "f4"))
