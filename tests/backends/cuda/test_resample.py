"""Padding, interpolation and pixel shuffling in Numba's simulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.backends.cuda import resample
from fastconv.backends.cuda.resample import Nearest, Pad, PixelShuffle, Weighted
from fastconv.backends.reference import resample as reference
from fastconv.problem import InterpolateProblem, PadProblem, PixelShuffleProblem

RNG = np.random.default_rng(10)


PADS: dict[str, Any] = {
    "constant": ((2, 3, 4), (1, 2, 0, 3), {"value": 7.5}),
    "cropped": ((2, 3, 6), (-1, 2, 1, -1), {}),
    "reflect": ((1, 2, 4, 5), (2, 1, 3, 0), {"mode": "reflect"}),
    "replicate": ((2, 3, 4, 8), (2, 1, 0, 2), {"mode": "replicate", "layout": "NHWC"}),
    "circular": ((2, 3, 4, 4), (1, 3, 2, 2), {"mode": "circular", "layout": "NHWC"}),
}


@pytest.mark.parametrize("case", PADS)
@pytest.mark.parametrize("dtype", ["f4", "i2"])
def test_pads(case: str, dtype: str) -> None:
    shape, pad, options = PADS[case]
    if dtype == "i2" and "value" in options:
        options = {"value": -3}
    x = RNG.integers(-99, 99, shape).astype(dtype)
    problem = PadProblem.of(x, pad, **options)
    expected = reference.Pad().plan(problem).run(x)
    np.testing.assert_array_equal(Pad().plan(problem).run(x), expected)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_nearest(mode: str, layout: str) -> None:
    x = RNG.standard_normal((2, 3, 5, 4)).astype("f4")
    problem = InterpolateProblem.of(
        x, (7, 6) if layout == "NCHW" else (2, 9), mode=mode, layout=layout
    )
    expected = reference.Interpolate().plan(problem).run(x)
    np.testing.assert_array_equal(Nearest().plan(problem).run(x), expected)


WEIGHTED: dict[str, Any] = {
    "linear": ((2, 3, 5), 9, {"mode": "linear", "align_corners": True}),
    "bilinear": ((2, 3, 4, 5), (7, 3), {"mode": "bilinear"}),
    "bilinear, quads": ((1, 4, 3, 4), (6, 5), {"mode": "bilinear", "layout": "NHWC"}),
    "trilinear": ((1, 2, 2, 3, 4), (3, 5, 4), {"mode": "trilinear"}),
    "bicubic": ((1, 2, 5, 4), (7, 6), {"mode": "bicubic"}),
    "area": ((1, 2, 7, 5), (3, 4), {"mode": "area"}),
    "antialiased": ((1, 2, 15, 9), (4, 5), {"mode": "bicubic", "antialias": True}),
    "lanczos, quads": (
        (1, 9, 6, 4),
        (5, 9),
        {"mode": "lanczos", "antialias": True, "layout": "NHWC"},
    ),
}


@pytest.mark.parametrize("case", WEIGHTED)
def test_weighted(case: str) -> None:
    shape, size, options = WEIGHTED[case]
    x = RNG.standard_normal(shape).astype("f4")
    problem = InterpolateProblem.of(x, size, **options)
    expected = reference.Interpolate().plan(problem).run(x)
    np.testing.assert_allclose(Weighted().plan(problem).run(x), expected, rtol=1e-5, atol=2e-6)


def test_dimensions_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "_MANY_TAPS", 1)
    for case in ("trilinear", "bilinear, quads"):
        test_weighted(case)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("inverse", [False, True])
def test_pixel_shuffle(layout: str, inverse: bool) -> None:
    x = RNG.standard_normal((2, 12, 4, 12)).astype("f4")
    problem = PixelShuffleProblem.of(x, 2, inverse=inverse, layout=layout)
    expected = reference.PixelShuffle().plan(problem).run(x)
    np.testing.assert_array_equal(PixelShuffle().plan(problem).run(x), expected)
