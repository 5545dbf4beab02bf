"""Resizing by ONNX's rules: channels last as channels first, integers, whole factors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from fastconv.network.operations import operation
from fastconv.network.resizing import Way
from tests.libraries import LIBRARIES, use

Array = np.ndarray[Any, Any]
WAYS = {
    "nearest": Way("nearest", "asymmetric", "floor"),
    "linear": Way("linear", "half_pixel"),
    "corners": Way("linear", "align_corners"),
}


@pytest.mark.parametrize("size", [(7,), (6, 9), (3, 4, 5)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "uint8", "int16"])
@pytest.mark.parametrize("way", list(WAYS))
def test_resizing_channels_last_is_resizing_channels_first(
    way: str, dtype: str, size: tuple[int, ...]
) -> None:
    rng, n = np.random.default_rng(0), len(size)
    x = rng.integers(0, 100, (2, 5, *size)).astype(dtype)
    sizes = [2 * length + 1 for length in size]
    resize = operation("resize")
    first = resize(x, sizes=np.array([2, 5, *sizes]), way=WAYS[way])
    last = resize(np.moveaxis(x, 1, -1).copy(), sizes=np.array([2, *sizes, 5]), way=WAYS[way])
    assert first.dtype == last.dtype == x.dtype
    # A sum of 2^n products in another order: integers that it is cut down to may be neighbours.
    bound = 1 if dtype != "float32" else 100 * 2**n * float(np.finfo("f4").eps)
    apart = np.abs(np.moveaxis(last, -1, 1).astype("f8") - first.astype("f8"))
    assert apart.max() <= (0 if way == "nearest" else bound)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16"])
def test_linear_resizing_of_integers_cuts_the_exact_sum_down(dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 120, (1, 3, 8, 9)).astype(dtype)
    options = {"scales": np.array([1, 1, 2, 2], "f4"), "way": WAYS["linear"]}
    wanted = operation("resize")(x.astype("f8"), **options)
    # Weights are quarters: every sum is exact in float32.
    np.testing.assert_array_equal(operation("resize")(x, **options), np.trunc(wanted))


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64", "complex128"])
@pytest.mark.parametrize("factor", [2, 3, 4, 5])
@pytest.mark.parametrize("library", LIBRARIES)
def test_whole_factors_repeat_cells(
    library: str, factor: int, dtype: str, monkeypatch: Any
) -> None:
    backend = use(library, monkeypatch)
    rng = np.random.default_rng(0)
    for shape in ((2, 3, 5, 7), (1, 2, 3, 64), (1, 1, 1, 1), (1, 2, 4, 33)):
        x = rng.integers(0, 100, shape).astype(dtype)
        wanted = np.repeat(np.repeat(x, factor, 2), factor, 3)
        result = F.interpolate(x, scale_factor=factor, backend=backend)
        np.testing.assert_array_equal(result, wanted)
        last = np.moveaxis(x, 1, -1).copy()
        result = F.interpolate(last, scale_factor=factor, layout="NHWC", backend=backend)
        np.testing.assert_array_equal(np.moveaxis(result, -1, 1), wanted)


def test_a_table_of_equal_length_that_repeats_nothing_is_no_repeat() -> None:
    # 2 n cells of n, but for the first: as align_corners or a crop would have it.
    x = np.arange(6, dtype="f4").reshape(1, 1, 6)
    result = F.pad(x, (3, 3), mode="reflect")
    np.testing.assert_array_equal(result.reshape(-1), [3, 2, 1, 0, 1, 2, 3, 4, 5, 4, 3, 2])
