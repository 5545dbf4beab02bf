"""Overlap-save: its transforms against NumPy's, its convolutions against float64."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings

import fastconv
import fastconv.functional as F
from fastconv.backends.native.conv.fft.algorithm import Fft
from fastconv.backends.native.conv.fft.filters import packed_spectra
from fastconv.backends.native.conv.fft.layout import Blocks
from fastconv.backends.native.conv.fft.passes import factors
from fastconv.backends.native.gemm import tile_for, vector_tile
from fastconv.dispatch import Parameter
from fastconv.machine import get_machine
from fastconv.problem import ConvProblem
from fastconv.problem.remember import Spec
from tests.libraries import LIBRARIES, use
from tests.planes import assert_same_bits, error_of, plane_cases


def order(length: int) -> np.ndarray[Any, Any]:
    """Return the frequency that is at each place after the forward passes."""
    frequencies = np.zeros(1, np.int64)
    for radix in reversed(factors(length)):
        frequencies = np.concatenate([q + radix * frequencies for q in range(radix)])
    return frequencies


def decimated(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Transform as the passes do: radix by radix, places kept."""
    if len(x) == 1:
        return x
    radix = factors(len(x))[0]
    parts = x.reshape(radix, -1)
    q, j = np.arange(radix), np.arange(len(x) // radix)
    mixed = np.exp(-2j * np.pi * np.outer(q, q) / radix) @ parts
    mixed = mixed * np.exp(-2j * np.pi * np.outer(q, j) / len(x))
    return np.concatenate([decimated(part) for part in mixed])


@pytest.mark.parametrize("length", [2, 3, 4, 12, 48, 64, 96, 384])
def test_frequencies_stand_where_order_says(length: int) -> None:
    x = np.random.default_rng(0).standard_normal(length)
    expected = np.fft.fft(x)[order(length)]
    np.testing.assert_allclose(decimated(x), expected, atol=1e-11)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("image", "kernel", "dilation", "dtype"),
    [((60, 60), (11, 12), (1, 2), "f4"), ((40, 50), (9, 9), (2, 1), "f8"), ((200,), (31,), 2, "f4"),
     ((90,), (21,), 1, "f8")],
)  # fmt: skip
def test_packed_filters_are_their_spectra_conjugate_and_scaled(
    library: str, image: Any, kernel: Any, dilation: Any, dtype: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    kernels: Any = importlib.import_module(f"fastconv.backends.{use(library, monkeypatch)}.library")
    x, w = Spec((1, 2, *image), np.dtype(dtype)), Spec((6, 1, *kernel), np.dtype(dtype))
    problem = ConvProblem.of(len(image), x, w, None, groups=2, dilation=dilation)
    blocks = Blocks.of(problem, get_machine())
    assert blocks is not None
    tile = vector_tile(tile_for(kernels, problem.dtype, get_machine()))
    weight = np.random.default_rng(3).standard_normal(w.shape).astype(dtype)
    found: Any = packed_spectra(kernels, blocks, tile).weights.packed((weight,))
    largest = np.abs(weight).sum(axis=tuple(range(1, weight.ndim))).max()
    # Rounded once, after transforms in float64.
    roundings = np.finfo(dtype).eps + 64 * np.finfo(np.float64).eps
    np.testing.assert_allclose(
        found.array.view(dtype), spectra(blocks, weight).ravel(), rtol=0,
        atol=roundings * largest / np.prod(blocks.size),
    )  # fmt: skip


def spectra(blocks: Blocks, weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return every filter's spectrum, conjugate and scaled, in plain NumPy."""
    problem, (down, across) = blocks.problem, blocks.size
    kernel, steps = (1, 1, *problem.kernel_size)[-2:], (1, 1, *problem.dilation)[-2:]
    spread = np.zeros((problem.out_channels, down, across))
    where = tuple(slice(0, n * s, s) for n, s in zip(kernel, steps, strict=True))
    spread[(slice(None), *where)] = weight.reshape(-1, *kernel)
    spectrum = np.fft.fft2(spread).conj() / (down * across)
    spectrum = spectrum[:, order(down)][:, :, order(across)]
    pairs = np.stack([spectrum.real, spectrum.imag], axis=-1)
    if not blocks.flat:
        pairs = pairs.reshape(problem.out_channels, -1, blocks.lanes, across, 2)
        pairs = pairs.transpose(0, 1, 3, 4, 2)
    return np.ascontiguousarray(pairs)


def test_a_length_with_another_prime_factor_is_refused() -> None:
    with pytest.raises(ValueError, match="factor of 5"):
        factors(40)


@pytest.mark.parametrize("library", LIBRARIES)
@settings(max_examples=60, deadline=None)
@given(case=plane_cases())
def test_drawn_convolutions_stay_inside_the_bound(library: str, case: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        check_bound(use(library, patch), case)


def check_bound(backend: str, case: dict[str, Any]) -> None:
    """Check a drawn convolution against its error bound."""
    kernels: Any = importlib.import_module(f"fastconv.backends.{backend}.library")
    fft = Fft(kernels)
    rng = np.random.default_rng(case["seed"])
    w = rng.standard_normal(case["weight"]).astype(case["dtype"])
    problem = ConvProblem.of(case["n"], np.zeros(case["input"], w.dtype), w, **case["options"])
    assume(fft.why_not(problem) is None)
    eps = float(np.finfo(w.dtype).eps)
    bound = fft.error_bound(problem) + (30 * eps if case["epilogue"] else 0)
    assert error_of(case, w, problem, "fft", backend) <= bound


def test_large_kernels_are_given_to_it_and_small_ones_are_not() -> None:
    x = np.zeros((1, 1, 256, 256), "f4")
    rng = np.random.default_rng(0)
    large, small = (rng.standard_normal((1, 1, k, k)).astype("f4") for k in (31, 3))
    assert fastconv.explain(F.conv2d, x, Parameter(large), padding=15).algorithm == "fft"
    # A spectrum that is made at the call counts.
    wide = np.zeros((1, 1, 512, 512), "f4")
    assert fastconv.explain(F.conv2d, wide, large, padding=15).algorithm == "fft"
    assert fastconv.explain(F.conv2d, x, small, padding=1).algorithm != "fft"


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_same_bits_in_any_batch_and_on_any_number_of_threads(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    how: dict[str, Any] = {"algorithm": "fft", "backend": use(library, monkeypatch)}
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 2, 150, 130)).astype("f4")
    w = rng.standard_normal((2, 1, 21, 17)).astype("f4")
    assert_same_bits(lambda v: F.conv2d(v, w, groups=2, **how), x)


def test_blocks_cover_every_output_and_stay_in_the_second_cache() -> None:
    machine = get_machine()
    for size, kernel in (((512, 512), (31, 31)), ((70, 2000), (3, 101)), ((40, 40), (40, 40))):
        x, w = np.zeros((1, 1, *size), "f4"), np.zeros((1, 1, *kernel), "f4")
        problem = ConvProblem.of(2, x, w)
        blocks = Blocks.of(problem, machine)
        assert blocks is not None
        assert blocks.scratch_bytes <= machine.l2_bytes
        for i in range(2):
            assert blocks.outputs[i] * blocks.counts[i] >= problem.output_size[i]
            assert blocks.outputs[i] + kernel[i] - 1 <= blocks.size[i]
