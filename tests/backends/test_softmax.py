"""The kernels of softmax: every path against the reference, the same bits always."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.backends.manifest.elements import SoftmaxColumns
from fastconv.backends.native import arena
from fastconv.backends.native import plan as engine_plan
from fastconv.dispatch import choose
from fastconv.problem import SoftmaxProblem
from tests.guarded import guard_pages
from tests.libraries import FIRST, LIBRARIES, use
from tests.tolerance import poisoned

SHAPES = [
    (5, 3), (3, 20_001), (9001, 4), (3, 64), (37, 16), (37, 17), (2, 7, 600), (50, 3, 11),
    (1, 5, SoftmaxColumns.AT_ONCE + 1), (6, 1, 4), (2, 9, 2),
]  # fmt: skip


@pytest.fixture(params=LIBRARIES)
def backend(request: Any, monkeypatch: Any) -> str:
    """Return the backend of a library of kernels, at one of its instruction sets."""
    monkeypatch.setattr(engine_plan, "SERIAL_SECONDS", 0)
    monkeypatch.setattr(fastconv.settings, "_threads", 1)
    return use(request.param, monkeypatch)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_path(shape: tuple[int, ...], log: bool, dtype: str, backend: str) -> None:
    x = np.random.default_rng(0).normal(0, 3, shape).astype(dtype)
    function = F.log_softmax if log else F.softmax
    problem = SoftmaxProblem.of(x, 1, log=log)
    algorithm = choose(problem, backend=backend).algorithm
    results = []
    for threads in (1, 2, 5):
        fastconv.settings.set_num_threads(threads)
        out = poisoned(shape, dtype)
        arena.take(1 << 16)
        arena.poison()
        algorithm.plan(problem).run(x, out=out)
        results.append(out)
    expected = function(x, 1, backend="reference")
    eps = float(np.finfo(dtype).eps)
    # x - largest is rounded: a relative error of its exponential's, an absolute one of the log's;
    # sums in float64 have roundings of their own where that is the dtype
    reach = float(np.ptp(x)) + np.log(shape[1]) + 1
    summed = 0 if dtype == "f4" else np.sqrt(shape[1])
    relative, absolute = (4, 2 * reach + summed) if log else (4 + reach + summed, 0)
    np.testing.assert_allclose(out, expected, rtol=relative * eps, atol=absolute * eps)
    for other in results:
        np.testing.assert_array_equal(other, out)
    for i in range(min(3, shape[0])):
        np.testing.assert_array_equal(function(x[i : i + 1], 1, backend=backend)[0], out[i])


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("log", [False, True])
def test_special_values(log: bool, axis: int, backend: str) -> None:
    x = np.random.default_rng(0).normal(0, 3, (9, 37)).astype("f4")
    x[0, 0] = x[1, 36] = x[2, 17] = np.nan
    x[3, 5] = np.inf
    x[4] = -np.inf
    x[5, 1:] = -np.inf
    x[6, :20] = -1e30
    x[7] = np.finfo("f4").max
    x = np.ascontiguousarray(np.moveaxis(x, -1, axis))
    function = F.log_softmax if log else F.softmax
    with np.errstate(all="ignore"):
        expected = function(x, axis, backend="reference")
    np.testing.assert_allclose(
        function(x, axis, backend=backend), expected, rtol=1e-5, atol=1e-5 * log
    )


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_nothing_outside_the_arrays_is_touched(dtype: str, backend: str) -> None:
    rng = np.random.default_rng(0)
    for shape in (
        (5, 3),
        (19, 16),
        (2, 17),
        (3, 100),
        (2, 7, 5),
        (1, 3, SoftmaxColumns.AT_ONCE + 9),
    ):
        x = rng.normal(0, 3, shape).astype(dtype)
        for function in (F.softmax, F.log_softmax):
            expected = function(x, 1, backend=backend)
            with guard_pages(sum(shape)):
                result = function(x, 1, backend=backend)
            np.testing.assert_array_equal(result, expected)


def test_another_dtype_is_for_the_reference() -> None:
    problem = SoftmaxProblem.of(np.zeros((2, 3), "f4"), 1, dtype="f8")
    assert choose(problem).algorithm.backend == "reference"
    with pytest.raises(ValueError, match="convert it before the call"):
        choose(problem, backend=FIRST)
