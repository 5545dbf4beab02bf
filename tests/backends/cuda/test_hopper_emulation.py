"""The simulator's Hopper instructions: as late as the hardware may be, and strict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import cuda
from numba import float32 as f32

from fastconv.backends.cuda.engine import hopper_emulation
from fastconv.backends.cuda.engine.hopper import (
    acquire_map,
    barrier_arrive,
    barrier_expect,
    barrier_init,
    barrier_wait,
    commit_products,
    fence_barriers,
    load_tile,
    multiply_tiles,
    products_fence,
    products_wait,
    shared_address,
    spread,
)
from fastconv.backends.cuda.engine.tensormap import Matrix, SimulatedMap
from fastconv.backends.cuda.engine.warpgroup import descriptor

# Tiles begin here; one of 64 lines has 8 KiB.
BASE, TILE, SHARED = 0x800, 64 * 128, 0x800 + 2 * 64 * 128
BARRIER = BASE + 2 * TILE
DESCRIPTOR = descriptor(128)


def run(body: Callable[..., None], threads: int, *arguments: Any) -> None:
    cuda.jit(body)[1, threads, 0, SHARED](*arguments)


def matrix(seed: int, terms: int = 64, dtype: str = "f2") -> Any:
    return np.random.default_rng(seed).integers(-4, 5, (64, terms)).astype(dtype)


def map_of(tile: Any) -> SimulatedMap:
    spec = Matrix(tile.dtype.name, *tile.shape, *tile.shape)
    return SimulatedMap(spec, tile.reshape(-1).view(np.uint8))


def test_a_copy_is_not_there_before_it_is_waited_for() -> None:
    tile, early, late = matrix(0), np.zeros(4096, np.uint16), np.zeros(4096, np.uint16)

    def body(map: Any, early: Any, late: Any) -> None:
        memory = cuda.shared.array(0, f32)
        shared_address(memory)
        barrier_init(BARRIER, 1)
        fence_barriers()
        acquire_map(map)
        barrier_expect(BARRIER, TILE)
        load_tile(map, BASE, BARRIER, 0, 0)
        start = (BASE - hopper_emulation._START) // 2
        words = memory.view(np.uint16)
        early[:] = words[start : start + 4096]
        barrier_wait(BARRIER, 0)
        late[:] = words[start : start + 4096]

    run(body, 1, map_of(tile), early, late)
    assert (early == 0xFFFF).all()
    # Lines of eight 16-byte pieces: in line r piece c is at c ^ r % 8.
    pieces = late.reshape(64, 8, 8)
    for line, piece in ((0, 3), (1, 0), (6, 5), (63, 2)):
        expected = tile.view(np.uint16)[line, 8 * piece : 8 * piece + 8]
        np.testing.assert_array_equal(pieces[line, piece ^ line % 8], expected)


@pytest.mark.parametrize(("line", "lines"), [(128, 1), (64, 2), (32, 4)])
def test_swizzles(line: int, lines: int) -> None:
    """A piece of 16 bytes of a line is crossed with the line's number, by so many lines."""
    for row in range(64):
        for piece in range(line // 16):
            expected = row * line + 16 * (piece ^ row // lines % (line // 16)) + 6
            assert hopper_emulation.swizzled(row * line + 16 * piece + 6, line) == expected


def products(
    touch: Callable[..., None] = lambda *given: None,
    wait: bool = True,
    line: int = 128,
    kind: str = "f16",
) -> Any:
    """Multiply two tiles by 128 threads, doing something while the product is in flight."""
    dtype, item = ("f4", 4) if kind == "tf32" else ("f2", 2)
    left, right = (matrix(seed, line // item, dtype) for seed in (1, 2))
    result = np.zeros((64, 64), "f4")
    fence, multiply = products_fence(32), multiply_tiles(64, line, kind)
    told = descriptor(line)
    finish, store = products_wait(32, 0), spread(64, 64)

    def body(a: Any, b: Any, out: Any) -> None:
        memory = cuda.shared.array(0, f32)
        sums = cuda.local.array(32, f32)
        thread = cuda.threadIdx.x
        shared_address(memory)
        if thread == 0:
            barrier_init(BARRIER, 1)
            fence_barriers()
            acquire_map(a)
            acquire_map(b)
            barrier_expect(BARRIER, 2 * left.nbytes)
            load_tile(a, BASE, BARRIER, 0, 0)
            load_tile(b, BASE + TILE, BARRIER, 0, 0)
        cuda.syncthreads()
        barrier_wait(BARRIER, 0)
        sums[:] = 1
        fence(sums)
        multiply(sums, told | BASE >> 4, told | (BASE + TILE) >> 4)
        commit_products()
        touch(thread, memory, sums)
        if wait:
            finish(sums)
        start = (thread // 32 * 16 + thread % 32 // 4) * 64 + thread % 4 * 2
        store(out, start, sums)

    run(body, 128, map_of(left), map_of(right), result.reshape(-1))
    return result, 1 + left.astype("f4") @ right.astype("f4").T


@pytest.mark.parametrize(
    ("line", "kind"), [(128, "f16"), (64, "f16"), (32, "f16"), (128, "tf32"), (32, "tf32")]
)
def test_products_lie_as_fragments_do(line: int, kind: str) -> None:
    result, expected = products(line=line, kind=kind)
    np.testing.assert_array_equal(result, expected)


def test_sums_are_poisoned_until_they_are_waited_for() -> None:
    result, _ = products(wait=False)
    assert np.isnan(result).all()


def write_shared(thread: int, memory: Any, sums: Any) -> None:
    if thread == 7:
        memory[(BASE - hopper_emulation._START) // 4 + 5] = 0


def write_sums(thread: int, memory: Any, sums: Any) -> None:
    if thread == 7:
        sums[3] = 0


@pytest.mark.parametrize(
    ("touch", "reason"), [(write_shared, "written while"), (write_sums, "touched while")]
)
def test_what_products_use_stays_as_it_is(touch: Any, reason: str) -> None:
    with pytest.raises(RuntimeError, match=reason):
        products(touch)


def test_all_of_a_warpgroup_multiply() -> None:
    fence, multiply, finish = (
        products_fence(32),
        multiply_tiles(64, 128, "f16"),
        products_wait(32, 0),
    )

    def body() -> None:
        shared_address(cuda.shared.array(0, f32))
        sums = cuda.local.array(32, f32)
        fence(sums)
        multiply(sums, DESCRIPTOR | BASE >> 4, DESCRIPTOR | (BASE + TILE) >> 4)
        commit_products()
        finish(sums)

    with pytest.raises(RuntimeError, match="does not come to it"):
        run(body, 64)


@pytest.mark.parametrize(("size", "arrivals"), [(TILE + 16, 1), (TILE, 2)])
def test_a_phase_without_end_is_an_error(size: int, arrivals: int) -> None:
    def body(map: Any) -> None:
        shared_address(cuda.shared.array(0, f32))
        barrier_init(BARRIER, arrivals)
        fence_barriers()
        acquire_map(map)
        barrier_expect(BARRIER, size)
        load_tile(map, BASE, BARRIER, 0, 0)
        barrier_wait(BARRIER, 0)

    with pytest.raises(RuntimeError, match="does not"):
        run(body, 1, map_of(matrix(3)))


def test_barriers_go_through_phases() -> None:
    seen: list[int] = []

    def body() -> None:
        shared_address(cuda.shared.array(0, f32))
        barrier_init(BARRIER, 1)
        # The phase before the first counts as ended.
        barrier_wait(BARRIER, 1)
        for phase in range(3):
            barrier_arrive(BARRIER)
            barrier_wait(BARRIER, phase % 2)
            seen.append(phase)
        barrier_wait(BARRIER, 1)

    with pytest.raises(RuntimeError, match="does not"):
        run(body, 1)
    assert seen == [0, 1, 2]


def test_what_is_not_fenced_or_aligned_is_refused() -> None:
    def unfenced(map: Any) -> None:
        shared_address(cuda.shared.array(0, f32))
        barrier_init(BARRIER, 1)
        load_tile(map, BASE, BARRIER, 0, 0)

    def misaligned(map: Any) -> None:
        shared_address(cuda.shared.array(0, f32))
        barrier_init(BARRIER, 1)
        fence_barriers()
        acquire_map(map)
        load_tile(map, BASE + 64, BARRIER, 0, 0)

    with pytest.raises(RuntimeError, match="fenced"):
        run(unfenced, 1, map_of(matrix(4)))
    with pytest.raises(ValueError, match="not by 128 bytes"):
        run(misaligned, 1, map_of(matrix(4)))
