"""Tensor cores' instructions as the simulator does them: layouts, order, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import cuda
from numba import float32 as f32
from numba import int32 as i32

from fastconv.backends.cuda.engine import tensor_emulation
from fastconv.backends.cuda.engine.device import SimulatedDevice
from fastconv.backends.cuda.engine.fragments import sum_places
from fastconv.backends.cuda.engine.halves import (
    load_first_halves,
    load_halves,
    narrowed,
    store_first_halves,
    store_halves,
    widened,
)
from fastconv.backends.cuda.engine.intrinsics import fill, put4, take4
from fastconv.backends.cuda.engine.kernel import Block, Float32, Int32, kernel
from fastconv.backends.cuda.engine.tensor import (
    commit_copies,
    copy_async,
    cut_tf32,
    matrices,
    multiplying,
    packing,
    rest_tf32,
    round_tf32,
    wait_copies,
)

ml_dtypes = pytest.importorskip("ml_dtypes")
RNG = np.random.default_rng(0)
HALVES = {"f16": np.float16, "bf16": ml_dtypes.bfloat16}


def run(kern: Any, *arrays: Any, result: Any) -> Any:
    """Run one block on arrays, and give what it wrote to a poisoned result."""
    device = SimulatedDevice()
    target = device.empty(result.nbytes)
    given = [(device.upload(np.ascontiguousarray(a)), 0) for a in arrays]
    device.launch(kern, (1, 1, 1), [*given, (target, 0)])
    device.download(target, result)
    return result


@kernel
def product(factor: str) -> Any:
    """Multiply 32 lines with 32 columns, both along lines of 32 bytes, as the PTX ISA lays out."""
    multiply, load = multiplying(factor, 2, 4), matrices(16 * 8)

    def body(left: Int32, right: Int32, y: Float32) -> None:
        words = cuda.shared.array(512, i32)
        sums = cuda.local.array(32, f32)
        a = cuda.local.array(8, i32)
        b = cuda.local.array(8, i32)
        lane = i32(cuda.threadIdx.x)
        fill(sums, 32, f32(0))
        for i in range(2):
            copy_async(words, (lane + i * 32) * 4, left, lane + i * 32, True)
            copy_async(words, 256 + (lane + i * 32) * 4, right, lane + i * 32, True)
        commit_copies()
        wait_copies(0)
        cuda.syncthreads()
        for i in range(2):
            put4(a, 4 * i, load(words, lane % 16 * 8 + lane // 16 * 4, i))
            column = lane % 8 + lane // 16 * 8
            put4(b, 4 * i, load(words, 256 + column * 8 + lane // 8 % 2 * 4, i))
        multiply(sums, a, b)
        for i in range(2):
            for j in range(4):
                for n, place in enumerate(sum_places(i, j, 4)):
                    line = 16 * i + lane // 4 + n // 2 * 8
                    y[line * 32 + 8 * j + lane % 4 * 2 + n % 2] = sums[place]

    return body, 32


FACTORS: dict[str, tuple[int, Any]] = {
    "f16": (16, np.float16),
    "bf16": (16, ml_dtypes.bfloat16),
    "tf32": (8, np.float32),
}


@pytest.mark.parametrize("factor", FACTORS)
def test_fragments_are_those_of_a_product(factor: str) -> None:
    depth, dtype = FACTORS[factor]
    left, right = (RNG.standard_normal((32, depth)).astype(dtype) for _ in range(2))
    if factor == "tf32":
        left, right = ((side.view("i4") & -0x2000).view("f4") for side in (left, right))
    found = run(product(factor), left, right, result=np.empty((32, 32), "f4"))
    expected = left.astype("f8") @ right.astype("f8").T
    np.testing.assert_allclose(found, expected, rtol=2**-23)
    assert np.all(np.abs(found) <= np.abs(expected))


def test_matrices_go_to_lanes_by_words() -> None:
    load = matrices(0)

    @kernel
    def loaded() -> Any:
        def body(x: Int32, y: Int32) -> None:
            words = cuda.shared.array(128, i32)
            lane = i32(cuda.threadIdx.x)
            copy_async(words, lane * 4, x, lane, True)
            commit_copies()
            wait_copies(0)
            cuda.syncthreads()
            put4(y, lane * 4, load(words, lane * 4, 0))

        return body, 32

    found = run(loaded(), np.arange(128, dtype="i4"), result=np.empty((32, 4), "i4"))
    lane = np.arange(32)[:, None]
    np.testing.assert_array_equal(found, 32 * np.arange(4) + 4 * (lane // 4) + lane % 4)


@kernel
def copies(allowed: int, away: int) -> Any:
    """Copy two chunks, as a group each, the second of zeros, and read them after a wait."""
    ALLOWED, AWAY = allowed, away

    def body(x: Int32, y: Int32) -> None:
        words = cuda.shared.array(256, i32)
        lane = i32(cuda.threadIdx.x)
        put4(words, lane * 8, (i32(7), i32(7), i32(7), i32(7)))
        copy_async(words, lane * 8 + AWAY, x, lane, True)
        commit_copies()
        copy_async(words, lane * 8 + 4, x, lane + 1000, False)
        commit_copies()
        wait_copies(ALLOWED)
        put4(y, lane * 8, take4(words, lane * 8))
        put4(y, lane * 8 + 4, take4(words, lane * 8 + 4))

    return body, 32


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_copies_arrive_when_they_are_waited_for(allowed: int) -> None:
    x = np.arange(1, 129, dtype="i4").reshape(32, 4)
    found = run(copies(allowed, 0), x, result=np.empty((32, 2, 4), "i4"))
    np.testing.assert_array_equal(found[:, 0], x if allowed < 2 else -1)
    np.testing.assert_array_equal(found[:, 1], 0 if allowed < 1 else -1)


def test_misaligned_copies_are_refused() -> None:
    with pytest.raises(ValueError, match="misaligned by 8"):
        run(copies(0, 2), np.zeros(128, "i4"), result=np.empty(256, "i4"))


@kernel
def divergent(kind: str) -> Any:
    """Let a lane stay away from what its warp does together."""
    AWAY, BARRIER, load = kind == "gone", kind == "at a barrier", matrices(0)
    multiply = multiplying("f16", 1, 2)

    def body(y: Int32) -> None:
        words = cuda.shared.array(128, i32)
        lane = i32(cuda.threadIdx.x)
        if lane != 3:
            put4(y, 0, load(words, lane * 4, 0))
        elif BARRIER:
            cuda.syncthreads()
        elif not AWAY:
            multiply(y, y, y)

    return body, Block(32)


@pytest.mark.parametrize("kind", ["gone", "at a barrier", "elsewhere"])
def test_divergent_warps_are_refused(kind: str) -> None:
    with pytest.raises(tensor_emulation.Divergence, match="a warp's"):
        run(divergent(kind), result=np.empty(4, "i4"))


SPECIAL = np.array(
    [0, -0.0, 1 + 2**-11, -1 - 2**-11, 1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, 65520, 65519, 1e-8,
     3.4e38, -np.inf, np.nan, 2**-25, 6e-8, 1 / 3], "f4",
)  # fmt: skip


def test_roundings() -> None:
    with np.errstate(all="ignore"):
        for kind, dtype in HALVES.items():
            expected = SPECIAL.astype(dtype)
            found = narrowed(SPECIAL, kind)
            same = (found == expected.view("u2")) | np.isnan(SPECIAL)
            assert same.all(), SPECIAL[~same]
            np.testing.assert_array_equal(widened(found, kind), expected.astype("f4"))
    rounded = np.array(round_tf32(tuple(SPECIAL.view("i4")))).view("f4")
    assert rounded[2] == 1 + 2**-10
    assert rounded[3] == -1 - 2**-10
    assert rounded[4] == 1 + 2**-9
    assert np.isnan(rounded[12])
    x = RNG.standard_normal(1000).astype("f4")
    words = tuple(x.view("i4"))
    main, rest = (np.array(w, "i4").view("f4") for w in (
        cut_tf32(words), rest_tf32(words, cut_tf32(words))
    ))  # fmt: skip
    kept = (rest.view("i4") & -0x2000).view("f4")
    error = np.abs(main.astype("f8") + kept - x) / np.abs(x)
    assert 2**-24 < error.max() <= 2**-21


@pytest.mark.parametrize("kind", HALVES)
def test_halves_are_packed_as_fragments_pair_them(kind: str) -> None:
    four = np.arange(8, dtype="f4").reshape(2, 4)
    words = packing(kind)(*(tuple(half) for half in four.view("i4")))
    found = widened(np.array(words, "i4").view("u2"), kind)
    np.testing.assert_array_equal(found, [0, 2, 1, 3, 4, 6, 5, 7])


@pytest.mark.parametrize("kind", HALVES)
def test_halves_are_loaded_and_stored(kind: str) -> None:
    halves = np.zeros(8, "u2")
    store_halves(kind)(halves, 4, (1.0, -2.0, 0.5, 3.0))
    store_first_halves(kind)(halves, 1, (7.0, 8.0, 9.0, 10.0), 2)
    assert [*widened(halves, kind)] == [0, 7, 8, 0, 1, -2, 0.5, 3]
    assert load_halves(kind)(halves, 4) == (1, -2, 0.5, 3)
    assert load_first_halves(kind)(halves, 5, 2) == (-2, 0.5, 0, 0)
    with pytest.raises(ValueError, match="misaligned"):
        load_halves(kind)(halves, 2)
