"""Sums in slices: in blocks of their own or in one, they are added to the same bits."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from fastconv.backends.cuda.conv import split
from fastconv.backends.cuda.conv.direct import geometry_of, plan_direct
from fastconv.backends.cuda.conv.implicit_gemm import implicit_gemm
from fastconv.backends.cuda.engine.device import SimulatedDevice
from fastconv.backends.reference.conv import Conv
from fastconv.problem import ConvProblem
from tests.backends.cuda.mutation import assert_caught

RNG = np.random.default_rng(11)
X = RNG.standard_normal((3, 5, 5, 40)).astype("f4")
WEIGHT = RNG.standard_normal((8, 40, 1, 1)).astype("f4")
BIAS = RNG.standard_normal(8).astype("f4")
RESIDUAL = RNG.standard_normal((3, 5, 5, 8)).astype("f4")
PROBLEM = ConvProblem.of(2, X, WEIGHT, BIAS, layout="NHWC", residual=RESIDUAL, activation="relu")


def run(batch: int) -> Any:
    """Convolve the last images."""
    problem = dataclasses.replace(PROBLEM, batch=batch)
    device = SimulatedDevice()
    result = np.empty(problem.output_shape, "f4")
    output = device.empty(result.nbytes)
    inputs = [device.upload(given[-batch:]) for given in (X, RESIDUAL)]
    plan_direct(problem, WEIGHT, BIAS).enqueue(device, inputs, output)
    device.download(output, result)
    return result


def check() -> None:
    alone, together = run(1), run(3)
    np.testing.assert_array_equal(alone, together[-1:])
    expected = Conv().plan(PROBLEM, WEIGHT, BIAS).run(X, RESIDUAL)
    np.testing.assert_allclose(together, expected, rtol=1e-5, atol=1e-4)


@pytest.fixture
def small_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two blocks be enough, which three images have and one has not, and slices be short."""
    monkeypatch.setattr(split, "BLOCKS", 2)
    monkeypatch.setattr(split, "LEAST_STEPS", 2)


@pytest.mark.usefixtures("small_card")
def test_slices_are_added_to_the_same_bits() -> None:
    geometries = [geometry_of(dataclasses.replace(PROBLEM, batch=batch)) for batch in (1, 3)]
    found = [(cut.slices, cut.apart) for cut in map(split.sliced, geometries)]
    assert found == [(2, True), (2, False)]
    check()


MUTATIONS: dict[str, Any] = {
    "where a slice begins": (
        implicit_gemm,
        "begin = i32(group % i32(SLICES) * i32(SLICE))",
        "begin = i32(0)",
    ),
    "where a slice's sums are": (implicit_gemm, "slice_start + cell_of", "cell_of"),
    "what a block has summed": (implicit_gemm, "add4(load4(totals, place), four)", "four"),
    "the last slice": (split.added, "range(1, SLICES)", "range(1, SLICES - 1)"),
}


@pytest.mark.usefixtures("small_card")
@pytest.mark.parametrize("name", MUTATIONS)
def test_broken_slices_are_seen(name: str) -> None:
    assert_caught(*MUTATIONS[name], check)


def test_slices_hang_on_one_image() -> None:
    problem = dataclasses.replace(PROBLEM, input_size=(7, 7), in_channels=4608, out_channels=512)
    one, many = (
        split.sliced(geometry_of(dataclasses.replace(problem, batch=batch))) for batch in (1, 256)
    )
    assert (one.slices, one.apart) == (32, True)
    assert (many.slices, many.apart) == (32, False)
    large = dataclasses.replace(problem, input_size=(224, 224))
    assert split.sliced(geometry_of(large)).slices == 1
