"""Cells that change their places, in Numba's simulator: any dtype, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.backends.cuda.moves import Concatenate, Strided
from fastconv.backends.reference import moves as reference
from fastconv.problem.moves import ConcatenateProblem, StridedProblem

RNG = np.random.default_rng(2)


def bits(shape: Any, dtype: str) -> Any:
    """Return any bits, not-a-numbers among them."""
    return RNG.integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8).view(dtype)[..., 0]


def same(result: Any, expected: Any) -> None:
    np.testing.assert_array_equal(result.view(np.uint8), expected.view(np.uint8))


VIEWS: dict[str, Any] = {
    "turned": ((2, 9, 40), lambda x: x.transpose(0, 2, 1)),
    "two axes swapped": ((3, 4, 8), lambda x: x.transpose(1, 0, 2)),
    "every second, backwards": ((5, 14), lambda x: x[1:4, ::-2]),
    "cropped": ((5, 12), lambda x: x[1:, 4:8]),
    "repeated": ((3, 5), lambda x: np.broadcast_to(x[:, None], (3, 4, 5))),
    "one cell": ((4, 4), lambda x: x[2:3, 1:2]),
}


# Two views show the other sizes of words.
CASES = [(view, dtype) for view in VIEWS for dtype in ("u1", "f4")]
CASES += [(view, dtype) for view in ("turned", "cropped") for dtype in ("f2", "c8", "c16")]


@pytest.mark.parametrize(("view", "dtype"), CASES)
def test_views(view: str, dtype: str) -> None:
    shape, function = VIEWS[view]
    x = bits(shape, dtype)
    places = function(np.arange(x.size).reshape(shape))
    steps = tuple(s // 8 for s in places.strides)
    problem = StridedProblem(x.dtype, shape, places.shape, int(places.flat[0]), steps, "view")
    expected = reference.Strided().plan(problem).run(x)
    np.testing.assert_array_equal(expected.view("u1"), np.ascontiguousarray(function(x)).view("u1"))
    same(Strided().plan(problem).run(x), expected)


@pytest.mark.parametrize("dtype", ["f2", "f8"])
@pytest.mark.parametrize("shapes", [((3, 2, 4), (3, 6, 4), (3, 0, 4)), ((2, 5), (2, 3))])
def test_arrays_side_by_side(dtype: str, shapes: Any) -> None:
    arrays = [bits(shape, dtype) for shape in shapes]
    problem = ConcatenateProblem(np.dtype(dtype), shapes, 1)
    expected = reference.Concatenate().plan(problem).run(*arrays)
    same(Concatenate().plan(problem).run(*arrays), expected)
