"""Integers for numbers and back: every way that scales belong to elements, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv.backends.native import plan as engine_plan
from fastconv.dispatch import solve
from fastconv.problem import DequantizeProblem, QuantizeProblem
from fastconv.problem.quantise import SOURCES, TARGETS
from tests.libraries import LIBRARIES, use
from tests.tolerance import poisoned

Array = np.ndarray[Any, Any]
# Shape, shape of scales, axis, block.
CASES = [
    ((3, 5, 7, 9), (), 1, 0),
    ((3, 5, 7, 9), (5,), 1, 0),
    ((3, 5, 7, 40), (40,), 3, 0),
    ((4, 5), (5,), 1, 0),
    ((3, 70), (3,), 0, 0),
    ((4, 37, 6), (4, 5, 6), 1, 8),
    ((6, 64), (6, 2), 1, 32),
    ((6, 65), (6, 3), 1, 32),
    ((2, 20000), (20000,), 1, 0),
    ((30000,), (), 0, 0),
    ((), (), 1, 0),
]


def drawn(case: Any, name: str, zeros: bool) -> tuple[Array, Array, Array, Array | None]:
    """Numbers, integers, scales and zero points."""
    shape, scales, *_ = case
    rng = np.random.default_rng(0)
    limits = np.iinfo(name)
    low, high = max(limits.min, -300), min(limits.max, 300)
    x = np.asarray(rng.normal(0, 60, shape), "f4")
    special = [np.nan, np.inf, -np.inf, 1e30, -1e30, 0.5, 1.5, -0.5]
    x.reshape(-1)[: len(special)] = special[: x.size]
    scale = np.asarray(np.abs(rng.normal(0, 1, scales)) + 0.05, "f4")
    zero = np.asarray(rng.integers(low, high, scales), name) if zeros else None
    return x, np.asarray(rng.integers(low, high, shape), name), scale, zero


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("library", LIBRARIES)
def test_quantize_is_the_reference_bit_for_bit(
    library: str, case: Any, name: str, zeros: bool, monkeypatch: Any
) -> None:
    backend = use(library, monkeypatch)
    x, _, scale, zero = drawn(case, name, zeros)
    problem = QuantizeProblem.of(x, scale, name, axis=case[2], block=case[3])
    with np.errstate(all="ignore"):
        expected = solve(problem, (x, scale, zero), backend="reference")
    np.testing.assert_array_equal(solve(problem, (x, scale, zero), backend=backend), expected)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("library", LIBRARIES)
def test_dequantize_is_the_reference_bit_for_bit(
    library: str, case: Any, name: str, zeros: bool, monkeypatch: Any
) -> None:
    backend = use(library, monkeypatch)
    _, q, scale, zero = drawn(case, name, zeros)
    problem = DequantizeProblem.of(q, scale, axis=case[2], block=case[3])
    out = poisoned(q.shape, "float32")
    solve(problem, (q, scale, zero), backend=backend, out=out)
    np.testing.assert_array_equal(out, solve(problem, (q, scale, zero), backend="reference"))


@pytest.mark.parametrize("library", LIBRARIES)
def test_quantize_gives_the_same_bits_on_any_number_of_threads(
    library: str, monkeypatch: Any
) -> None:
    backend = use(library, monkeypatch)
    monkeypatch.setattr(engine_plan, "SERIAL_SECONDS", 0)
    x, _, scale, zero = drawn(((7, 33, 999), (33,), 1, 0), "int8", True)
    problem = QuantizeProblem.of(x, scale, "int8", axis=1)
    before, results = fastconv.settings._threads, []
    try:
        for threads in (1, 3):
            fastconv.settings.set_num_threads(threads)
            results.append(solve(problem, (x, scale, zero), backend=backend))
    finally:
        fastconv.settings._threads = before
    np.testing.assert_array_equal(*results)


def test_quantize_of_scales_that_do_not_fit_says_how_many_would() -> None:
    x = np.zeros((2, 5, 3), "f4")
    with pytest.raises(ValueError, match="one for each of the 5 slices of axis 1"):
        QuantizeProblem.of(x, np.ones(4, "f4"), "int8")
    with pytest.raises(ValueError, match=r"scales of shape \[2, 3, 3\]"):
        QuantizeProblem.of(x, np.ones((2, 2, 3), "f4"), "int8", block=2)
