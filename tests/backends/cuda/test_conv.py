"""Convolutions' source in Numba's simulator: exact on small integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.backends.cuda.conv.depthwise import plan_depthwise
from fastconv.backends.cuda.conv.direct import plan_direct
from fastconv.backends.cuda.conv.implicit_gemm import implicit_gemm
from fastconv.backends.cuda.engine.device import SimulatedDevice
from fastconv.backends.cuda.tile import TILES
from fastconv.backends.reference.conv import Conv
from fastconv.problem import ConvProblem
from tests.backends.cuda.mutation import assert_caught

RNG = np.random.default_rng(0)


def integers(*shape: int) -> Any:
    return RNG.integers(-4, 5, shape).astype("f4")


CASES = {
    "3x3": (1, (7, 9), 8, 20, (3, 3), {"padding": 1}),
    "stem": (2, (9, 7), 3, 10, (3, 3), {"padding": 1, "stride": 2}),
    "1x1 in groups": (1, (5, 5), 16, 14, (1, 1), {"groups": 2}),
    "signal, dilated": (2, (21,), 4, 5, (3,), {"dilation": 4, "padding": 3}),
    "few channels, dilated": (1, (6, 9), 2, 5, (3, 4), {"dilation": (1, 2), "padding": (0, 3)}),
    "a long window": (1, (40,), 1, 4, (31,), {"padding": 15}),
    "volume": (1, (3, 4, 5), 8, 8, (2, 3, 2), {"padding": (1, 0, 1), "stride": (1, 2, 1)}),
    "no window leaves": (1, (9, 9), 8, 8, (3, 3), {}),
}


# One of each kind is enough for the larger tiles, which take long.
CASES_OF_TILES = [
    (tile, case) for tile in TILES for case in CASES if tile.rows < 128 or case in ("3x3", "stem")
]


@pytest.mark.parametrize(("tile", "case"), CASES_OF_TILES, ids=str)
def test_the_implicit_gemm_is_exact(case: str, tile: Any) -> None:
    check(CASES[case], lambda *given: plan_direct(*given, tile))


DEPTHWISE = {
    "3x3": (2, (5, 9), 8, 8, (3, 3), {"padding": 1, "groups": 8}),
    "stride 2": (1, (7, 8), 4, 4, (3, 3), {"padding": 1, "stride": 2, "groups": 4}),
    "5x3, dilated": (1, (9, 11), 4, 4, (5, 3), {"padding": (3, 2), "dilation": 2, "groups": 4}),
    "signal": (2, (13,), 4, 4, (7,), {"padding": 3, "groups": 4}),
    "volume": (1, (3, 4, 5), 4, 4, (3, 1, 2), {"padding": (1, 0, 0), "groups": 4}),
}


@pytest.mark.parametrize("case", DEPTHWISE)
def test_depthwise_is_exact(case: str) -> None:
    check(DEPTHWISE[case], plan_depthwise)


def check(case: Any, plan: Any) -> None:
    """Compare with the reference, bias, residual and activation with it."""
    batch, size, inputs, outputs, kernel, options = case
    x = integers(batch, *size, inputs)
    weight = integers(outputs, inputs // options.get("groups", 1), *kernel)
    bias, n = integers(outputs), len(size)
    layout = {1: "NWC", 2: "NHWC", 3: "NDHWC"}[n]
    shape = ConvProblem.of(n, x, weight, layout=layout, **options).output_shape
    residual = integers(*shape)
    problem = ConvProblem.of(
        n, x, weight, bias, layout=layout, residual=residual, activation="relu", **options
    )
    expected = Conv().plan(problem, weight, bias).run(x, residual)
    device = SimulatedDevice()
    output = device.empty(expected.nbytes)
    plan(problem, weight, bias).enqueue(device, [device.upload(x), device.upload(residual)], output)
    result = np.empty_like(expected)
    device.download(output, result)
    np.testing.assert_array_equal(result, expected)


MUTATIONS = {
    "a barrier": ("            cuda.syncthreads()\n            return", "            return"),
    "a wait for copies": ("            wait_copies()\n", "            pass\n"),
    "lines above and below": ("inside = inside & (u32(h) < u32(IN_H))", "pass"),
    "pixels' lines": ("i32((4 * load + i) * LINE)", "i32((4 * load + i) * ROWS)"),
    "the half that is fetched": ("fetch(step, i32(half ^ i32(1)))", "fetch(step, half)"),
    "pixels behind the last": ("(pixel < i32(PIXELS))", "True"),
}


MUTATIONS_OF_BITS = {
    "lines above": ("i32(1 << (BITS_D + i))", "i32(0)"),
    "neighbouring pixels": ("i32(1 << (BITS_D + BITS_H + i))", "i32(1 << (BITS_D + i))"),
    "the second of two products": ("two[2 * j + 1]", "two[1]"),
}


@pytest.mark.parametrize("name", MUTATIONS_OF_BITS)
def test_broken_bits_of_taps_are_seen(name: str) -> None:
    case = (1, (5, 5), 3, 12, (3, 3), {"padding": 1})
    assert_caught(
        implicit_gemm,
        *MUTATIONS_OF_BITS[name],
        lambda: check(case, lambda *given: plan_direct(*given, TILES[-1])),
    )


@pytest.mark.parametrize("name", MUTATIONS)
def test_broken_implicit_gemms_are_seen(name: str) -> None:
    case = (1, (5, 5), 8, 12, (3, 3), {"padding": 1})
    assert_caught(
        implicit_gemm,
        *MUTATIONS[name],
        lambda: check(case, lambda *given: plan_direct(*given, TILES[-1])),
    )
