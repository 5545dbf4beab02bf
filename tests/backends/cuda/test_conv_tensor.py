"""Convolutions on tensor cores in Numba's simulator: exact on small integers, bounded on others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from fastconv.backends.cuda.algorithm import HostPlan
from fastconv.backends.cuda.conv.direct_tensor import DirectTensor, plan_tensor
from fastconv.backends.cuda.conv.tensor_gemm import tensor_gemm
from fastconv.backends.cuda.conv.tensor_pack import table_of
from fastconv.backends.cuda.conv.tensor_plan import TILES
from fastconv.backends.cuda.conv.tensor_tile import CHUNKS, TensorTile, swizzle
from fastconv.backends.cuda.conv.transposed_tensor import plan_transposed
from fastconv.backends.cuda.engine.device import SimulatedDevice
from fastconv.backends.reference.conv import Conv, ConvTranspose
from fastconv.dispatch import choose
from fastconv.problem import ConvProblem, ConvTransposeProblem, LinearProblem
from tests.backends.cuda.device_memory import OnDevice, on_host
from tests.backends.cuda.mutation import assert_caught
from tests.backends.cuda.test_transposed import CASES as TRANSPOSED

ml_dtypes = pytest.importorskip("ml_dtypes")

RNG = np.random.default_rng(0)
HALVES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
# Of two warps, so that they meet at barriers, and fill the right side's lines.
SMALL = TensorTile(32, 64, 32, 32)
LAYOUTS = {1: "NWC", 2: "NHWC", 3: "NDHWC"}


def integers(*shape: int) -> Any:
    return RNG.integers(-3, 4, shape).astype("f4")


CASES: dict[str, Any] = {
    "3x3": (1, (5, 7), 16, 20, (3, 3), {"padding": 1}),
    "stem": (2, (9, 7), 3, 10, (3, 3), {"padding": 1, "stride": 2}),
    "1x1 in groups": (1, (5, 5), 16, 14, (1, 1), {"groups": 2}),
    "signal, dilated": (2, (21,), 8, 5, (3,), {"dilation": 4, "padding": 3}),
    "volume": (1, (3, 4, 5), 8, 8, (2, 3, 2), {"padding": (1, 0, 1), "stride": (1, 2, 1)}),
    "long sum": (1, (3, 3), 320, 8, (1, 1), {}),
    "many taps": (1, (20,), 8, 4, (33,), {"padding": 16}),
    "stages": (1, (4, 5), 40, 20, (3, 3), {"padding": 1}),
    "large": (1, (70,), 16, 70, (3,), {"padding": 1}),
}


def problem_of(case: Any, dtype: Any, precision: str | None) -> tuple[ConvProblem, Any]:
    batch, size, inputs, outputs, kernel, options = case
    n = len(size)
    x = integers(batch, *size, inputs).astype(dtype)
    weight = integers(outputs, inputs // options.get("groups", 1), *kernel).astype(dtype)
    bias = integers(outputs).astype(dtype)
    shape = ConvProblem.of(n, x, weight, layout=LAYOUTS[n], **options).output_shape
    residual = integers(*shape).astype(dtype)
    problem = ConvProblem.of(
        n, x, weight, bias, layout=LAYOUTS[n], residual=residual, activation="relu",
        precision=precision, **options,
    )  # fmt: skip
    return problem, (x, weight, bias, residual)


def run(problem: ConvProblem, arrays: Any, tile: TensorTile) -> Any:
    x, weight, bias, residual = arrays
    device = SimulatedDevice()
    result = np.empty(problem.output_shape, problem.output_dtype)
    output = device.empty(result.nbytes)
    inputs = [device.upload(x), None if residual is None else device.upload(residual)]
    plan_tensor(problem, weight, bias, tile).enqueue(device, inputs, output)
    device.download(output, result)
    return result


KINDS: dict[str, tuple[Any, str | None]] = {
    "float16": (np.float16, None),
    "bfloat16": (ml_dtypes.bfloat16, None),
    "tf32": (np.float32, "tf32"),
    "3xtf32": (np.float32, "3xtf32"),
    "fp16": (np.float32, "fp16"),
    "bf16": (np.float32, "bf16"),
}


def check(case: str, kind: str, tile: TensorTile = SMALL) -> None:
    problem, arrays = problem_of(CASES[case], *KINDS[kind])
    x, weight, bias, residual = arrays
    expected = Conv().plan(problem, weight, bias).run(x, residual)
    np.testing.assert_array_equal(run(problem, arrays, tile), expected)


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        *((case, "float16") for case in CASES if case != "large"),
        ("stem", "bfloat16"),
        ("1x1 in groups", "tf32"),
        ("stem", "tf32"),
        ("3x3", "3xtf32"),
        ("volume", "fp16"),
        ("3x3", "bf16"),
    ],
)
def test_small_integers_are_exact(case: str, kind: str) -> None:
    check(case, kind)


@pytest.mark.parametrize("tile", TILES, ids=str)
def test_the_card_s_tiles_are_exact(tile: TensorTile) -> None:
    check("large", "float16", tile)


def nearest_tf32(x: Any) -> Any:
    return ((x.view("i4") + 0x1000) & -0x2000).view("f4")


# What becomes of a factor; of 3xtf32's nothing that a sum would show.
ROUNDED: dict[str, Any] = {
    "tf32": nearest_tf32,
    "3xtf32": lambda x: x,
    "fp16": lambda x: x.astype(np.float16),
    "bf16": lambda x: x.astype(ml_dtypes.bfloat16),
}


@pytest.mark.parametrize("kind", ROUNDED)
def test_errors_are_within_their_bounds(kind: str) -> None:
    x = RNG.standard_normal((1, 5, 5, 192)).astype("f4")
    weight = RNG.standard_normal((16, 192, 1, 1)).astype("f4")
    problem = ConvProblem.of(2, x, weight, layout="NHWC", precision=kind)
    result = run(problem, (x, weight, None, None), SMALL)

    def error(rounded: Any) -> float:
        left, right = rounded(x).astype("f8"), rounded(weight[:, :, 0, 0]).astype("f8")
        expected = left @ right.T
        return float(np.abs(result - expected).max() / expected.std())

    limit = DirectTensor().error_bound(problem)
    # Neither nothing was rounded, nor is the bound one that anything would keep.
    assert limit / 50 < error(lambda x: x) <= limit
    assert error(ROUNDED[kind]) <= 192 * 2**-23 / 2


def test_the_bits_are_those_of_an_image_alone_and_of_any_tile() -> None:
    x = RNG.standard_normal((3, 3, 5, 40)).astype("f4")
    weight = RNG.standard_normal((12, 40, 1, 1)).astype("f4")
    found = []
    for batch, tile in ((x, SMALL), (x[1:2], TILES[-1])):
        problem = ConvProblem.of(2, batch, weight, layout="NHWC", precision="tf32")
        found.append(run(problem, (batch, weight, None, None), tile))
    np.testing.assert_array_equal(found[0][1:2], found[1])


def test_what_tensor_cores_refuse() -> None:
    x, weight = np.zeros((1, 8, 40, 40), "f4"), np.zeros((8, 8, 3, 3), "f4")
    asked = {"precision": "tf32", "padding": 1}
    for problem, words in (
        (ConvProblem.of(2, x, weight), "ask for it by precision="),
        (ConvProblem.of(2, x.astype("f8"), weight.astype("f8")), "float64"),
        (ConvProblem.of(2, x, np.zeros((8, 8, 40, 40), "f4"), **asked), "62 taps or more"),
        (ConvProblem.of(2, x, np.zeros((8, 8, 40, 40), "f4"), precision="tf32"), None),
    ):
        found = DirectTensor().why_not(problem)
        assert (found is None) == (words is None), found
        assert str(words) in str(found)


@pytest.mark.parametrize("case", ["3x3, stride 2", "phases without taps", "dilated, in groups"])
def test_transposed_convolutions_are_exact(case: str) -> None:
    size, inputs, outputs, kernel, options = TRANSPOSED[case]
    groups, dtype = options.get("groups", 1), "f4" if "groups" in options else "f2"
    x = integers(2, *size, groups * inputs).astype(dtype)
    weight = integers(groups * inputs, outputs, *kernel).astype(dtype)
    bias = integers(groups * outputs).astype(dtype)
    options = {**options, "layout": "NHWC", "precision": "tf32" if dtype == "f4" else None}
    plain = ConvTransposeProblem.of(2, x, weight, **options)
    residual = integers(*plain.output_shape).astype(dtype)
    problem = ConvTransposeProblem.of(
        2, x, weight, bias, residual=residual, activation="relu", **options
    )
    expected = ConvTranspose().plan(problem, weight, bias).run(x, residual)
    plan = plan_transposed(problem, weight, bias, SMALL)
    np.testing.assert_array_equal(HostPlan(problem, plan).run(x, residual), expected)
    assert choose(problem, backend="cuda").algorithm.name == "direct_tensor"


@pytest.mark.parametrize(("dtype", "precision"), [("f2", None), ("f4", "tf32")])
def test_linear_layers_and_weights_on_the_card(dtype: str, precision: str | None) -> None:
    x, weight, bias = (integers(*shape).astype(dtype) for shape in ((2, 3, 21), (9, 21), (9,)))
    found = F.linear(
        OnDevice(x), OnDevice(weight), OnDevice(bias), activation="relu", precision=precision
    )
    expected = F.linear(x, weight, bias, activation="relu", backend="reference")
    np.testing.assert_array_equal(on_host(found), expected)
    problem = LinearProblem.of(x, weight, precision=precision)
    assert choose(problem, backend="cuda").algorithm.name == "gemm_tensor"


def test_lines_that_are_read_together_lie_in_different_banks() -> None:
    lines, chunks = np.arange(8)[:, None], np.arange(CHUNKS)
    # Of 128 bytes, which are all banks, the 16 that each of 8 lines has a chunk in.
    banks = (lines * CHUNKS + (chunks ^ swizzle(lines))) % 8
    assert all(sorted(column) == list(range(8)) for column in banks.T.tolist())


# What is left out of the kernel, or of its table.
MUTATIONS: dict[str, tuple[Any, str, str]] = {
    "the wait": (tensor_gemm, "wait_copies(WAITING)", "pass"),
    "a stage too few": (tensor_gemm, "wait_copies(WAITING)", "wait_copies(AHEAD)"),
    "the barrier": (tensor_gemm, "cuda.syncthreads()", "pass"),
    "a slot": (tensor_gemm, "i32(AHEAD * STAGE)", "i32((AHEAD - 1) * STAGE)"),
    "a group": (tensor_gemm, "commit_copies()\n            compute", "compute"),
    "the last pixel": (tensor_gemm, "own if pixel < i32(PIXELS) else bits(0)", "own"),
    "the image's edge": (tensor_gemm, "(seen[row] & need) == need", "True"),
    "the last column": (tensor_gemm, "& (column < i32(GROUP_OUT))", ""),
    "the swizzle, written": (tensor_gemm, "own_chunk ^ (own_line & i32(7))", "own_chunk"),
    "the swizzle, read": (tensor_gemm, "(lane >> i32(4)) ^ (lane & i32(7))", "lane >> i32(4)"),
    "the sum's end": (table_of, "1 << end", "1"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_broken_kernels_are_seen(name: str) -> None:
    assert_caught(*MUTATIONS[name], lambda: check("stages", "float16"))
