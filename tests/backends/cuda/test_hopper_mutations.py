"""Hopper's convolution broken in one place: its check must see each."""

from __future__ import annotations

import pytest

from fastconv.backends.cuda.conv.hopper_gemm import Tile, hopper_gemm
from fastconv.backends.cuda.engine import hopper_emulation
from tests.backends.cuda.mutation import assert_caught
from tests.backends.cuda.test_hopper import SMALL, check


def small() -> None:
    """Five steps through two stages; the last pixels and columns of the tile are outside."""
    check("f2", SMALL, 1, (3, 20), 64, 60, (1, 5), {"padding": (0, 2)})


def two() -> None:
    """Two warpgroups."""
    check("f2", Tile(2, 64, 2), 1, (3, 30), 8, 64, (1, 1), {})


MUTATIONS = {
    "full": ("barrier_wait(full + stage * u32(8), parity)", "pass"),
    "empty": ("barrier_wait(empty + stage * u32(8), parity ^ u32(1))", "pass"),
    "one step's wait": ("wait_but_one(sums)", "pass"),
    "last wait": ("wait_all(sums)", "pass"),
    "bytes": ("barrier_expect(own, u32(STAGE))", "barrier_expect(own, u32(LEFT))"),
    "fence of maps": ("acquire_map(weight)", "pass"),
    "last pixels": ("(pixel < i32(PIXELS)) & (count", "(count"),
}


def test_whole_kernels_pass() -> None:
    small()
    two()


@pytest.mark.parametrize("name", MUTATIONS)
def test_broken_kernels_are_seen(name: str) -> None:
    assert_caught(hopper_gemm, *MUTATIONS[name], small)


def test_each_warpgroup_has_rows_of_its_own() -> None:
    assert_caught(hopper_gemm, "((left + own_rows) &", "(left &", two)


def test_a_swizzle_of_one_side_is_seen() -> None:
    whole = "swizzled(int(target) + 2 * np.arange(tile.size), line)"
    plain = "int(target) + 2 * np.arange(tile.size)"
    assert_caught(hopper_emulation._copy, whole, plain, small)
