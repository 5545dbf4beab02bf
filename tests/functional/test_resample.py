"""pad, interpolate, pixel_shuffle and pixel_unshuffle against PyTorch, over drawn options."""

from __future__ import annotations

from math import prod
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as torch_f
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fastconv.functional as F
from fastconv.problem import InterpolateProblem
from tests.libraries import BACKENDS, FIRST
from tests.tolerance import poisoned

COMMON = settings(max_examples=80, deadline=None)
Array = np.ndarray[Any, Any]


def last(x: Array) -> Array:
    """Channels moved to the end."""
    return np.moveaxis(x, 1, -1)


def checked(function: Any, x: Array, *arguments: Any, **options: Any) -> Array:
    """Call a function with and without ``out``; the input must stay as it was."""
    before = x.copy()
    result = function(x, *arguments, **options)
    out = poisoned(result.shape, result.dtype)
    assert function(x, *arguments, out=out, **options) is out
    np.testing.assert_array_equal(out, result)
    np.testing.assert_array_equal(x, before)
    return result


@st.composite
def pad_cases(draw: Any) -> tuple[Array, list[int], str, float | None]:
    """Draw padding that torch defines: it wraps around no more than once."""
    mode = draw(st.sampled_from(("constant", "reflect", "replicate", "circular")))
    count = draw(st.integers(1, 3))
    rank = draw(st.integers(count, 5)) if mode == "constant" else count + draw(st.integers(1, 2))
    shape = [draw(st.integers(1, 7)) for _ in range(rank)]
    pads: list[int] = []
    for i in range(count):
        size = shape[-1 - i]
        most = {"reflect": size - 1, "circular": size}.get(mode, 9)
        pair = [draw(st.integers(-3, most)) for _ in range(2)]
        kept = size + sum(min(0, p) for p in pair)
        assume(kept >= 0 and size + sum(pair) > 0)
        assume(mode != "circular" or (kept > 0 and max(pair) <= kept))
        pads += pair
    value = draw(st.sampled_from((None, 2, -1.5, np.inf))) if mode == "constant" else None
    dtype = draw(st.sampled_from(("float32", "float64", "uint8", "int16", "complex128")))
    assume(value in (None, 2) or dtype not in ("uint8", "int16"))
    return np.arange(prod(shape)).reshape(shape).astype(dtype), pads, mode, value


@COMMON
@given(pad_cases(), st.sampled_from(BACKENDS))
def test_pad_is_torch_s(case: Any, backend: str) -> None:
    x, pads, mode, value = case
    result = checked(F.pad, x, pads, mode, value, backend=backend)
    expected = torch_f.pad(torch.from_numpy(x), pads, mode, value).numpy()
    assert result.dtype == x.dtype
    np.testing.assert_array_equal(result, expected)
    if x.ndim == 4 and len(pads) <= 4:
        other = checked(F.pad, last(x), pads, mode, value, layout="NHWC", backend=backend)
        np.testing.assert_array_equal(other, last(expected))


@pytest.mark.parametrize("backend", BACKENDS)
def test_pad_keeps_bits_and_any_dtype(backend: str) -> None:
    x = np.array([[1.0, np.nan, -0.0], [np.inf, 1e-45, 2.0]], np.float32)
    x.view(np.uint32)[0, 1] = 0x7FA00001  # a signalling NaN
    result = F.pad(x, (1, 1, 1, 0), value=np.nan, backend=backend)
    np.testing.assert_array_equal(result[1:, 1:-1].view(np.uint32), x.view(np.uint32))
    assert np.isnan(result[0]).all()
    for dtype in (np.bool_, np.float16, ml_dtypes.bfloat16, np.uint64, np.complex64, np.longdouble):
        y = np.array([1, 0, 1]).astype(dtype)
        padded = F.pad(y, (1, 0), value=1, backend=backend)
        assert padded.dtype == y.dtype
        assert padded.tolist() == [1, 1, 0, 1]


def test_pad_always_copies() -> None:
    x = np.ones((2, 3), np.float32)
    for pads in ((), (0, 0)):
        result = F.pad(x, pads)
        np.testing.assert_array_equal(result, x)
        assert not np.shares_memory(result, x)
    assert F.pad(x, (-1, -2)).shape == (2, 0)
    assert F.pad(np.zeros((0, 3)), (1, 1)).shape == (0, 5)
    np.testing.assert_array_equal(F.pad(np.zeros((2, 0)), (1, 0), value=7), [[7], [7]])


FACTORS = (0.25, 0.5, 0.77, 1.0, 1.3, 1.5, 2.0, 3.0)


@st.composite
def interpolations(draw: Any) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Draw a resize where torch agrees with itself."""
    n = draw(st.integers(1, 3))
    line = {1: ["linear"], 2: ["bilinear", "bicubic", "lanczos"], 3: ["trilinear"]}[n]
    mode = draw(st.sampled_from(["nearest", "nearest-exact", "area", *line, *line]))
    size = tuple(draw(st.integers(1, (40, 24, 9)[n - 1])) for _ in range(n))
    options: dict[str, Any] = {"mode": mode}
    if mode in line and mode != "lanczos":
        options["align_corners"] = draw(st.sampled_from((None, False, True)))
    options["antialias"] = mode == "lanczos" or (
        mode in ("bilinear", "bicubic") and draw(st.booleans())
    )
    if draw(st.booleans()):
        after = tuple(draw(st.integers(1, (40, 31, 11)[n - 1])) for _ in range(n))
        options["size"] = after
    else:
        factors = tuple(draw(st.sampled_from(FACTORS)) for _ in range(n))
        after = tuple(int(s * f) for s, f in zip(size, factors, strict=True))
        options["scale_factor"] = factors
        options["recompute_scale_factor"] = draw(st.sampled_from((None, False, True)))
        # In small images torch takes "about the same size" and "about twice" for exactly that.
        for s, a, f in zip(size, after, factors, strict=True):
            assume(mode[:7] != "nearest" or not (a in (s, 2 * s) and f not in (1.0, 2.0)))
    # Torch 2.13 repeats the first row of an antialiased image that becomes one cell wide.
    assume(min(after) >= (2 if options["antialias"] else 1))
    return (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *size), options


def tolerance(x: Array, options: dict[str, Any], *, other: bool) -> float:
    """Errors of a sum of weighted cells: roundings by its length, its weights and the data.

    ``other``: the weights were found in the dtype too. A cubic's polynomial passes through values
    near 6 (about 24 roundings), an antialiased place is a difference of places up to the size.
    """
    problem = InterpolateProblem.of(x, **options)
    taps = [problem.taps(i) for i in range(problem.n)]
    weight = prod(float(np.add.reduceat(np.abs(t.weight), t.first[:-1]).max()) for t in taps)
    roundings = sum(t.most for t in taps) + prod(t.most for t in taps[:-1]) + 4
    if other:
        roundings += 4 * 24 + (4 * max(problem.input_size) if problem.antialias else 0)
    return float(np.finfo(x.dtype).eps) * roundings * weight * float(np.abs(x).max())


@COMMON
@given(interpolations(), st.sampled_from(BACKENDS), st.sampled_from(("float32", "float64")))
def test_interpolate_is_torch_s(case: Any, backend: str, dtype: str) -> None:
    shape, options = case
    copies = options["mode"].startswith("nearest")
    # Places of copies are found in float32, in torch sometimes in float64.
    dtype = "float32" if copies else dtype
    x = np.random.default_rng(prod(shape)).standard_normal(shape).astype(dtype)
    expected = torch_f.interpolate(torch.from_numpy(x), **options).numpy()
    allowed = 0 if copies else tolerance(x, options, other=True)
    result = checked(F.interpolate, x, **options, backend=backend)
    assert result.dtype == x.dtype
    np.testing.assert_allclose(result, expected, rtol=0, atol=allowed)
    other = checked(F.interpolate, last(x), **options, layout="NHWC", backend=backend)
    np.testing.assert_allclose(other, last(expected), rtol=0, atol=allowed)


@COMMON
@given(interpolations())
def test_every_dtype_takes_the_same_cells(case: Any) -> None:
    shape, options = case
    assume(options["mode"].startswith("nearest"))
    x = np.arange(prod(shape)).reshape(shape) % 100
    expected = F.interpolate(x.astype(np.float32), **options)
    for dtype in ("bool", "uint8", "int64", "float16", "float64", "complex128"):
        for backend in BACKENDS:
            result = F.interpolate(x.astype(dtype), **options, backend=backend)
            np.testing.assert_array_equal(result, expected.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_low_precision_is_rounded_once(dtype: Any) -> None:
    x = np.random.default_rng(1).standard_normal((1, 2, 9, 7)).astype(dtype)
    result = F.interpolate(x, (5, 11), mode="bicubic")
    wide = F.interpolate(x.astype(np.float32), (5, 11), mode="bicubic", backend="reference")
    assert result.dtype == dtype
    # One rounding to the dtype, of values up to the largest.
    bound = float(ml_dtypes.finfo(dtype).eps) * float(np.abs(wide).max())
    np.testing.assert_allclose(result.astype(np.float32), wide, rtol=0, atol=bound)


def test_area_keeps_infinities_apart() -> None:
    x = np.ones((1, 1, 8), np.float32)
    x[0, 0, 0], x[0, 0, 7] = np.inf, np.nan
    for backend in BACKENDS:
        result = F.interpolate(x, 4, mode="area", backend=backend)[0, 0]
        np.testing.assert_array_equal(result, [np.inf, 1, 1, np.nan])


def test_empty_batches() -> None:
    assert F.interpolate(np.zeros((0, 2, 4, 4)), 8, mode="bicubic").shape == (0, 2, 8, 8)
    assert F.pixel_shuffle(np.zeros((0, 4, 3, 3)), 2).shape == (0, 1, 6, 6)


@COMMON
@given(
    lead=st.lists(st.integers(1, 3), max_size=2),
    channels=st.integers(1, 3),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    factor=st.integers(1, 4),
    dtype=st.sampled_from(("uint8", "float16", "float32", "int64", "complex128")),
    backend=st.sampled_from(BACKENDS),
)
def test_pixel_shuffle_is_torch_s(
    lead: list[int], channels: int, height: int, width: int, factor: int, dtype: str, backend: str
) -> None:
    shape = (*lead, channels * factor**2, height, width)
    x = (np.arange(prod(shape)).reshape(shape) % 100).astype(dtype)
    expected = torch_f.pixel_shuffle(torch.from_numpy(x), factor).numpy()
    result = checked(F.pixel_shuffle, x, factor, backend=backend)
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(checked(F.pixel_unshuffle, result, factor, backend=backend), x)
    moved, back = np.moveaxis(x, -3, -1), np.moveaxis(result, -3, -1)
    options = {"layout": "NHWC", "backend": backend}
    np.testing.assert_array_equal(checked(F.pixel_shuffle, moved, factor, **options), back)
    np.testing.assert_array_equal(checked(F.pixel_unshuffle, back, factor, **options), moved)


def test_an_algorithm_that_cannot_serve_says_why() -> None:
    x = np.zeros((1, 1, 4, 4), np.float32)
    with pytest.raises(ValueError, match="mode 'bilinear' sums cells"):
        F.interpolate(x, 2, mode="bilinear", algorithm="gather")
    with pytest.raises(ValueError, match="mode 'nearest' copies cells"):
        F.interpolate(x, 2, algorithm="separable")
    with pytest.raises(ValueError, match="dtype complex64: "):
        F.fold(np.zeros((1, 4, 4), np.complex64), (4, 4), 2, stride=2, backend=FIRST)
