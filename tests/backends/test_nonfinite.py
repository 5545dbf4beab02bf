"""Infinities, NaN and the largest numbers: every algorithm gives what a plain sum gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from fastconv.problem import ConvProblem
from tests.libraries import LIBRARIES, use
from tests.trust.calls import able

FUNCTIONS = {1: F.conv1d, 2: F.conv2d}
LAST = {1: "NWC", 2: "NHWC"}
# Channels in and out, kernel, and options: odd widths, strides, dilation, groups in part merged.
CASES: list[tuple[int, int, int, dict[str, Any]]] = [
    (70, 40, 3, {"padding": 1}),
    (16, 20, 3, {"stride": 2, "padding": 2}),
    (5, 33, 3, {"dilation": 2}),
    (32, 32, 3, {"groups": 16, "padding": 1}),
    (32, 32, 3, {"groups": 32, "padding": 1}),
    (32, 48, 5, {"groups": 2, "padding_mode": "reflect", "padding": 2}),
]


def spoiled(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Any:
    """Return an image of random numbers with a few infinities and NaN, and one of infinities."""
    x = rng.standard_normal(shape).astype(dtype)
    places = tuple(rng.integers(0, n, 3) for n in shape[1:])
    x[(0, *places)] = np.inf, -np.inf, np.nan
    x[1] = np.inf
    return x


def held(got: Any, want: Any, length: int, scale: float = 1.0) -> None:
    """Compare what is not finite exactly, the rest as sums of so many terms."""
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    # Minimal filtering of six outputs has the largest constant: three digits.
    allowed = 1000 * float(np.finfo(got.dtype).eps) * length * scale
    assert np.isfinite(got[finite]).all()
    assert (np.abs(got[finite] - want[finite]) <= allowed).all()


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("library", LIBRARIES)
def test_convolution_of_infinities_and_nan_spreads_them_to_their_windows_alone(
    library: str, case: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "numba" and (case, n) not in ((0, 2), (3, 2), (2, 1)):
        pytest.skip("Numba compiles each kernel for seconds: three cases have them all")
    backend = use(library, monkeypatch)
    channels, out, k, options = CASES[case]
    rng = np.random.default_rng(case)
    x = spoiled(rng, (3, channels, *(13, 17)[:n]), "f4")
    w = rng.standard_normal((out, channels // options.get("groups", 1), *(k,) * n)).astype("f4")
    with np.errstate(all="ignore"):
        want = FUNCTIONS[n](x, w, backend="reference", **options)
        assert 0 < np.isfinite(want[0]).sum() < want[0].size
        for layout in (None, LAST[n]):
            given, more = x, dict(options)
            if layout is not None:
                given, more["layout"] = np.ascontiguousarray(np.moveaxis(x, 1, -1)), layout
            problem = ConvProblem.of(n, given, w, rtol=10.0, **more)
            for algorithm in able(problem):
                # Transforms of whole blocks are documented to spread them over a block.
                if algorithm.backend != backend or algorithm.name == "fft":
                    continue
                how = {"algorithm": algorithm.name, "backend": backend, "rtol": 10.0}
                got = FUNCTIONS[n](given, w, **how, **more)
                if layout is not None:
                    got = np.moveaxis(got, -1, 1)
                held(got, want, w[0].size)


@pytest.mark.parametrize("activation", [None, "relu6"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_convolution_of_the_largest_numbers_makes_no_infinity(
    library: str, activation: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = use(library, monkeypatch)
    rng = np.random.default_rng(0)
    largest = float(np.finfo("f4").max)
    x = (rng.uniform(-1, 1, (2, 70, 13, 17)) * largest).astype("f4")
    w = (rng.uniform(-1, 1, (40, 70, 3, 3)) / 2.0**100).astype("f4")
    problem = ConvProblem.of(2, x, w, rtol=10.0, padding=1)
    want = F.conv2d(x.astype("f8"), w.astype("f8"), padding=1, activation=activation)
    for algorithm in able(problem):
        if algorithm.backend != backend:
            continue
        how = {"algorithm": algorithm.name, "backend": backend, "rtol": 10.0}
        held(F.conv2d(x, w, padding=1, activation=activation, **how), want, w[0].size, 2.0**28)


@pytest.mark.parametrize("library", LIBRARIES)
def test_convolution_with_infinite_weights_spreads_them_to_their_channel_alone(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = use(library, monkeypatch)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 70, 13, 17)).astype("f4")
    w = rng.standard_normal((40, 70, 3, 3)).astype("f4")
    w[5, 3, 1, 1], w[8, 0, 0, 0] = np.inf, np.nan
    problem = ConvProblem.of(2, x, w, rtol=10.0)
    with np.errstate(all="ignore"):
        want = F.conv2d(x, w, backend="reference")
        for algorithm in able(problem):
            if algorithm.backend == backend:
                how = {"algorithm": algorithm.name, "backend": backend, "rtol": 10.0}
                held(F.conv2d(x, w, **how), want, w[0].size)


@pytest.mark.parametrize("algorithm", ["winograd", "winograd4", "winograd6"])
def test_image_with_infinities_has_the_same_bits_in_any_batch(algorithm: str) -> None:
    rng = np.random.default_rng(2)
    x = spoiled(rng, (3, 70, 13, 17), "f4")
    w = rng.standard_normal((40, 70, 3, 3)).astype("f4")
    how: dict[str, Any] = {"padding": 1, "algorithm": algorithm, "rtol": 10.0}
    whole = F.conv2d(x, w, **how)
    for image, got in zip(x, whole, strict=True):
        assert F.conv2d(image[None], w, **how)[0].tobytes() == got.tobytes()
