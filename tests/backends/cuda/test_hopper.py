"""Hopper's convolution in Numba's simulator: its source, exact on small integers."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastconv.functional as F
from fastconv.backends.cuda.conv.hopper import DirectHopper, plan_hopper, tile_of
from fastconv.backends.cuda.conv.hopper_gemm import Tile
from fastconv.backends.cuda.conv.implicit_gemm import Geometry
from fastconv.backends.cuda.engine.device import SimulatedDevice
from fastconv.backends.reference.conv import Conv
from fastconv.problem import ConvProblem
from tests.backends.cuda.device_memory import OnDevice, on_host

RNG = np.random.default_rng(0)
SMALL = Tile(1, 64, 2)
BF16 = np.dtype(ml_dtypes.bfloat16)
LAYOUTS = {1: "NWC", 2: "NHWC", 3: "NDHWC"}


def integers(dtype: Any, *shape: int) -> Any:
    return RNG.integers(-4, 5, shape).astype(dtype)


# dtype, tile, batch, size, channels in and out, kernel, options.
CASES: dict[str, Any] = {
    "3x3, ragged": ("f2", SMALL, 1, (5, 7), 8, 72, (3, 3), {"padding": 1}),
    "stride": (BF16, SMALL, 2, (9, 8), 72, 10, (3, 2), {"stride": (2, 3), "padding": (1, 0)}),
    "dilated": (
        "f2",
        Tile(1, 128, 2),
        1,
        (11, 9),
        16,
        72,
        (2, 3),
        {"dilation": (3, 2), "padding": 2},
    ),
    "16 channels": ("f2", Tile(1, 64, 3, 32), 1, (4, 9), 24, 8, (1, 3), {"padding": (0, 1)}),
    "32 channels, alone on its multiprocessor": (
        BF16,
        Tile(1, 64, 18, 64),
        1,
        (6, 8),
        96,
        8,
        (2, 1),
        {},
    ),
    "groups": (BF16, SMALL, 1, (4, 6), 128, 20, (1, 1), {"groups": 2}),
    "signal": ("f2", SMALL, 2, (50,), 64, 7, (5,), {"padding": ((3, 1),), "dilation": 2}),
    "volume": (
        BF16,
        SMALL,
        1,
        (3, 5, 4),
        24,
        12,
        (2, 3, 1),
        {"padding": (1, 0, 1), "stride": (1, 2, 1)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_convolutions_are_exact(case: str) -> None:
    check(*CASES[case])


def test_float32_is_rounded_where_it_may_be() -> None:
    tile = Tile(1, 64, 2, 128, 4)
    check("f4", tile, 1, (5, 7), 36, 9, (2, 3), {"padding": 1, "precision": "tf32"})
    check("f4", tile, 1, (5, 7), 36, 12, (1, 2), {"stride": 2, "precision": "bf16"})


def check(dtype: Any, tile: Tile, batch: int, size: Any, inputs: int, outputs: int, kernel: Any,
          options: Any) -> None:  # fmt: skip
    """Compare with the reference, bias, residual and activation with it."""
    n = len(size)
    x = integers(dtype, batch, *size, inputs)
    weight = integers(dtype, outputs, inputs // options.get("groups", 1), *kernel)
    bias, layout = integers(dtype, outputs), LAYOUTS[n]
    shape = ConvProblem.of(n, x, weight, layout=layout, **options).output_shape
    residual = integers(dtype, *shape)
    problem = ConvProblem.of(
        n, x, weight, bias, layout=layout, residual=residual, activation="relu", **options
    )
    expected = Conv().plan(problem, weight, bias).run(x, residual)
    device = SimulatedDevice()
    output = device.empty(expected.nbytes)
    plan_hopper(problem, weight, bias, tile).enqueue(
        device, [device.upload(x), device.upload(residual)], output
    )
    result = np.empty_like(expected)
    device.download(output, result)
    np.testing.assert_array_equal(result.astype("f4"), expected.astype("f4"))


def test_halves_are_convolved_by_name() -> None:
    x, weight = integers("f2", 1, 4, 5, 8), integers("f2", 6, 8, 3, 3)
    options: Any = {"layout": "NHWC", "padding": 1}
    found = F.conv2d(x, weight, **options, backend="cuda", algorithm="direct_hopper")
    np.testing.assert_array_equal(found, F.conv2d(x, weight, **options, backend="reference"))


@pytest.mark.parametrize(("dtype", "precision"), [("f4", "tf32"), ("f2", None)])
def test_channels_first_are_turned(dtype: str, precision: str | None) -> None:
    x, weight = integers(dtype, 2, 8, 5, 3), integers(dtype, 6, 8, 3, 1)
    options: Any = {"precision": precision, "backend": "cuda", "algorithm": "direct_hopper"}
    found = F.conv2d(x, weight, **options)
    np.testing.assert_array_equal(found, F.conv2d(x, weight, backend="reference"))


def test_weights_on_the_card_are_packed_there() -> None:
    x, weight, bias = integers("f2", 1, 4, 5, 8), integers("f2", 6, 8, 1, 3), integers("f2", 6)
    given = map(OnDevice, (x, weight, bias))
    found = F.conv2d(*given, layout="NHWC", algorithm="direct_hopper")
    expected = F.conv2d(x, weight, bias, layout="NHWC", backend="reference")
    np.testing.assert_array_equal(on_host(found), expected)


@pytest.mark.parametrize(("dtype", "precision"), [("f4", "tf32"), ("f2", None)])
def test_rows_are_multiplied(dtype: str, precision: str | None) -> None:
    x, weight, bias = integers(dtype, 3, 2, 40), integers(dtype, 9, 40), integers(dtype, 9)
    options: Any = {"precision": precision, "algorithm": "gemm_hopper", "activation": "relu"}
    expected = F.linear(x, weight, bias, activation="relu", backend="reference")
    found = F.linear(x, weight, bias, backend="cuda", **options)
    np.testing.assert_array_equal(found, expected)
    found = F.linear(OnDevice(x), OnDevice(weight), OnDevice(bias), **options)
    np.testing.assert_array_equal(on_host(found), expected)


REFUSED: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "dtype": ("f4", (8, 8, 3, 3), {}, "precision None"),
    "precision": ("f4", (8, 8, 3, 3), {"precision": "3xtf32"}, "precision 3xtf32"),
    "channels": ("f2", (8, 12, 3, 3), {}, "12 channels"),
    "groups": ("f2", (8, 8, 3, 3), {"groups": 2}, "groups of 8 channels: not a multiple of 16"),
    "stride": ("f2", (8, 8, 1, 1), {"stride": 9}, "stride 9"),
    "window": ("f2", (8, 8, 3, 3), {"dilation": 128, "padding": 128}, "window of 257"),
    "corner": ("f2", (8, 8, 1, 1), {"padding": 129}, "-128 to 127"),
    "mode": ("f2", (8, 8, 3, 3), {"padding": 1, "padding_mode": "reflect"}, "reflect"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_cannot_do_is_told(case: str) -> None:
    dtype, (outputs, each, *kernel), options, reason = REFUSED[case]
    options = {"layout": "NHWC", **options}
    inputs = each * options.get("groups", 1)
    x = np.zeros((1, 20, 20, inputs), dtype)
    weight = np.zeros((outputs, each, *kernel), dtype)
    problem = ConvProblem.of(2, x, weight, **options)
    assert reason in str(DirectHopper().why_not(problem))


def test_tiles_fill_the_card_and_waste_little() -> None:
    def tile(batch: int, side: int, inputs: int, outputs: int, groups: int = 1) -> Any:
        size, ones = (1, side, side), (1, 1, 1)
        given = (batch, size, size, ones, (0, 1, 1), inputs, outputs, groups, 9, (False,) * 3)
        found = tile_of(Geometry(*given), 2)
        assert found.resident >= 1
        return found.rows, found.columns, found.depth

    assert tile(32, 56, 256, 256) == (128, 256, 64)
    assert tile(32, 56, 64, 256) == (128, 128, 64)
    assert tile(32, 56, 256, 192) == (128, 192, 64)
    assert tile(32, 56, 256, 96) == (128, 96, 64)
    assert tile(32, 56, 64, 64) == (128, 64, 64)
    assert tile(1, 14, 64, 64) == (64, 64, 64)
    assert tile(32, 56, 8, 64)[2] == 16
    assert tile(32, 56, 96, 64)[2] == 32
    assert tile(32, 56, 128, 128, 4)[2] == 32
