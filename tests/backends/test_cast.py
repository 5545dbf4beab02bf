"""Casts to floats of 16 bits and back: every half, every tie, every special number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv import settings
from fastconv.backends.c import why_not
from fastconv.backends.native import plan as engine_plan
from fastconv.dispatch import solve
from fastconv.network.casting import as_type, as_type_into
from fastconv.problem import CastProblem
from fastconv.problem.cast import CASTS
from tests.libraries import LIBRARIES, use
from tests.tolerance import poisoned

Array = np.ndarray[Any, Any]
C_LIBRARIES = [library for library in LIBRARIES if library.startswith("c ")]

pytestmark = pytest.mark.skipif(why_not() is not None, reason="the C extension is not built")


def dtype_of(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    return np.dtype(name)


def numbers(source: np.dtype[Any], target: np.dtype[Any]) -> Array:
    """Every number of 16 bits, or these, the ties between them and what is just next to these."""
    every = np.arange(1 << 16).astype(np.uint16)
    if source.itemsize == 2:
        return every.view(source)
    with np.errstate(all="ignore"):
        values = every.view(target).astype(source)
        middle = np.sort(values[np.isfinite(values)])
        middle = middle[:-1] / 2 + middle[1:] / 2
        # Halves end at 65504: what is above it by half a step is infinite.
        more = [65519.996, 65520, 65520.004, 1e30, 3.4e38, 1e-30, 1e-40, 2.0**-25, 1.5 * 2.0**-25]
        more = np.asarray(more, source)
        more = np.concatenate([middle, more, -more])
        inf = source.type(np.inf)
        return np.concatenate(
            [values, more, np.nextafter(more, inf), np.nextafter(more, -inf),
             np.random.default_rng(0).normal(0, 100, 20011).astype(source)]
        )  # fmt: skip


def assert_same(given: Array, expected: Array) -> None:
    """Bit for bit; of NaN, that it is one and of which sign."""
    assert given.dtype == expected.dtype
    assert given.shape == expected.shape
    bits = f"u{given.dtype.itemsize}"
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(given), nan)
    np.testing.assert_array_equal(np.signbit(given), np.signbit(expected))
    np.testing.assert_array_equal(given[~nan].view(bits), expected[~nan].view(bits))


@pytest.mark.parametrize("pair", sorted(CASTS), ids="-".join)
@pytest.mark.parametrize("library", C_LIBRARIES)
def test_cast_is_numpys_bit_for_bit(library: str, pair: tuple[str, str], monkeypatch: Any) -> None:
    backend = use(library, monkeypatch)
    source, target = map(dtype_of, pair)
    x = numbers(source, target)
    with np.errstate(all="ignore"):
        expected = x.astype(target)
    problem = CastProblem.of(x, target)
    out = poisoned(x.shape, target)
    solve(problem, (x,), backend=backend, out=out)
    assert_same(out, expected)
    assert_same(solve(problem, (x,), backend="reference"), expected)


@pytest.mark.parametrize("count", [0, 1, 15, 17, 255, 257, 8191, 8193, 100003])
@pytest.mark.parametrize("pair", sorted(CASTS), ids="-".join)
def test_cast_of_any_length_and_threads_gives_the_same(
    pair: tuple[str, str], count: int, monkeypatch: Any
) -> None:
    source, target = map(dtype_of, pair)
    x = np.random.default_rng(1).normal(0, 1, count).astype(source)
    problem, before = CastProblem.of(x, target), settings._threads
    monkeypatch.setattr(engine_plan, "SERIAL_SECONDS", 0)
    try:
        for threads in (1, 3):
            settings.set_num_threads(threads)
            assert_same(solve(problem, (x,)), x.astype(target))
    finally:
        settings._threads = before


@pytest.mark.parametrize("pair", sorted(CASTS), ids="-".join)
def test_as_type_of_any_array_is_numpys(pair: tuple[str, str]) -> None:
    source, target = map(dtype_of, pair)
    x = np.random.default_rng(2).normal(0, 1, (3, 60, 100)).astype(source)
    given = [x, x[:, ::2], x.transpose(2, 0, 1), x[0, 0, :5], x[0, 0, 0], x[:0]]
    given += [x.astype(x.dtype.newbyteorder())] if source.name != "bfloat16" else []
    for value in given:
        assert_same(as_type(value, target), value.astype(target))
        out = poisoned(value.shape, target)
        as_type_into(out, value, target)
        assert_same(out, value.astype(target))
        apart = poisoned((*value.shape, 2), target)
        as_type_into(apart[..., 0], value, target)
        assert_same(apart[..., 0].copy(), value.astype(target))


@pytest.mark.parametrize("name", ["numba", "reference"])
def test_as_type_under_another_backend_is_numpys(name: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("FASTCONV_BACKEND", name)
    x = np.random.default_rng(3).normal(0, 1, 20000).astype("f4")
    assert_same(as_type(x, np.float16), x.astype(np.float16))


def test_cast_between_other_dtypes_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="cannot cast int32 to float16"):
        CastProblem.of(np.ones(3, "i4"), "float16")
