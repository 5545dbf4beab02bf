"""Products with weights as they are given: whole sums, and panels packed where they are used."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.backends.native.conv.direct import Direct
from fastconv.dispatch import Parameter
from fastconv.dispatch.registry import backend_available
from fastconv.problem import ConvProblem
from fastconv.problem.conv import DEFAULT_RTOL
from tests.libraries import ISAS

pytestmark = pytest.mark.skipif(not backend_available("c"), reason="these kernels are in C alone")
every_isa = pytest.mark.parametrize("isa", ISAS)


def drawn(*shape: int, dtype: Any = "f4", seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@every_isa
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("length", [128, 131, 300])
@pytest.mark.parametrize("columns", [1, 7, 8, 9, 70])
def test_dot_is_a_sum_whatever_rows_are_beside_it(
    isa: str, dtype: str, length: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTCONV_ISA", isa)
    w, b = drawn(columns, length, dtype=dtype), drawn(columns, dtype=dtype, seed=1)
    x = drawn(70, length, dtype=dtype, seed=2)
    asked: dict[str, Any] = {"algorithm": "dot", "activation": ("leaky_relu", 0.25)}
    whole = F.linear(x, w, b, **asked)
    exact = x.astype(np.longdouble) @ w.astype(np.longdouble).T + b
    exact = np.where(exact > 0, exact, exact / 4)
    assert np.abs(whole - exact).max() <= length**0.5 * 8 * np.finfo(dtype).eps * 4
    for first, last in ((0, 1), (1, 3), (2, 7), (64, 70), (0, 66)):
        rows = np.ascontiguousarray(x[first:last])
        np.testing.assert_array_equal(F.linear(rows, w, b, **asked), whole[first:last])
    np.testing.assert_array_equal(F.linear(x, Parameter(w), Parameter(b), **asked), whole)
    out = np.full_like(whole, np.nan)
    F.linear(x, w, b, **asked, out=out)
    np.testing.assert_array_equal(out, whole)


def test_dot_is_exact_for_whole_numbers() -> None:
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-8, 9, (n, 200)).astype("f4") for n in (5, 33))
    np.testing.assert_array_equal(F.linear(x, w, algorithm="dot"), x @ w.T)


@pytest.mark.parametrize("groups", [1, 2])
def test_dot_convolves_a_window_that_is_the_whole_image(groups: int) -> None:
    x, w = drawn(3, 12, 5, 6), drawn(10, 12 // groups, 5, 6, seed=1)
    residual, b = drawn(3, 10, 1, 1, seed=2), drawn(10, seed=3)
    options: dict[str, Any] = {"groups": groups, "residual": residual, "activation": "relu"}
    result = F.conv2d(x, w, b, algorithm="dot", **options)
    expected = F.conv2d(x, w, b, backend="reference", **options)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="whole image"):
        F.conv2d(x, w[:, :, :3], b, algorithm="dot", groups=groups)
    with pytest.raises(ValueError, match="sums of 8"):
        F.linear(drawn(3, 8), drawn(4, 8), algorithm="dot")


def test_nan_stays_in_its_row_and_column() -> None:
    x, w = drawn(6, 150), drawn(9, 150, seed=1)
    x[2, 149], w[4, 0] = np.nan, np.inf
    result = F.linear(x, w, algorithm="dot")
    touched = np.zeros((6, 9), bool)
    touched[2], touched[:, 4] = True, True
    assert np.isfinite(result[~touched]).all()
    assert not np.isfinite(result[touched]).any()


FRESH = [
    # channels, out, size, kernel, options
    (40, 70, (7, 7), 3, {"padding": 1}), (33, 31, (9, 8), 3, {"stride": 2}),
    (24, 48, (6, 6), 1, {}), (30, 64, (8, 8), 3, {"groups": 2, "padding": 1, "dilation": 2}),
    (16, 5, (5,), 3, {"padding": 1}), (9, 40, (4, 4, 4), 2, {}),
]  # fmt: skip


@every_isa
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("case", FRESH, ids=str)
def test_panels_packed_where_they_are_used_give_the_same_bits(
    isa: str, dtype: str, last: bool, case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTCONV_ISA", isa)
    channels, out, size, kernel, options = case
    n = len(size)
    groups = options.get("groups", 1)
    w = drawn(out, channels // groups, *(kernel,) * n, dtype=dtype, seed=1)
    b = drawn(out, dtype=dtype, seed=2)
    layout = "NDHWC"[0] + "DHW"[3 - n :] + "C" if last else "NC" + "DHW"[3 - n :]
    shape = (3, *size, channels) if last else (3, channels, *size)
    x = drawn(*shape, dtype=dtype)
    problem = ConvProblem.of(n, x, w, b, layout=layout, rtol=DEFAULT_RTOL, **options)
    direct = Direct(importlib.import_module("fastconv.backends.c.library"))
    wanted = direct.plan(problem, w, b).run(x)
    plan = direct._planned(problem, fresh=True)
    for threads in (1, 2, 5):
        before = fastconv.get_num_threads()
        try:
            fastconv.set_num_threads(threads)
            filled = np.full_like(wanted, np.nan)
            plan.run(x, out=filled, parameters=(w, b))
            np.testing.assert_array_equal(filled, wanted)
        finally:
            fastconv.set_num_threads(before)


def test_large_weights_of_few_rows_are_packed_where_they_are_used() -> None:
    """The bits are those of the layer by the same algorithm."""
    x, w = drawn(1, 320, 6, 6), drawn(320, 320, 3, 3, seed=1)
    plain = F.conv2d(x, w, padding=1, algorithm="direct", backend="c")
    frozen = F.conv2d(x, Parameter(w), padding=1, algorithm="direct", backend="c")
    np.testing.assert_array_equal(plain, frozen)
