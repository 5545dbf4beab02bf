"""Kernels other than convolutions, broken in one place each: their checks must see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fastconv.backends.cuda import linear, norm, pool_indices, resample, unfold
from fastconv.backends.cuda.conv import depthwise_transposed
from fastconv.backends.cuda.engine import blocks
from tests.backends.cuda import (
    test_linear,
    test_norm,
    test_pool,
    test_resample,
    test_transposed,
    test_unfold,
)
from tests.backends.cuda.mutation import assert_caught


def rows() -> None:
    x = test_norm.normal(3, 40) + 300
    problem = norm.LayerNormProblem.of(x, 40)
    theirs = test_norm.reference.LayerNorm
    test_norm.check(norm.LayerNorm, theirs, problem, x, None, None)


def batches() -> None:
    with pytest.MonkeyPatch.context() as patch:
        test_linear.test_a_row_has_the_same_bits_in_every_batch(70, patch)


TREE, BARRIER = blocks._sum_tree, "        barrier()\n        half = half // 2"
MUTATIONS: dict[str, tuple[Any, str, str, Callable[[], None]]] = {
    "a barrier between levels": (TREE, BARRIER, "        half = half // 2", rows),
    "a barrier before a tree": (TREE, "    barrier()\n    half =", "    half =", rows),
    "a barrier after a tree": (TREE, "    barrier()\n    return", "    return", rows),
    "ends": (linear.slices, "inside = first + i32(k) < i32(INPUTS)", "inside = True", batches),
    "ties": (
        pool_indices.pool_indices, "value > most", "value >= most",
        lambda: test_pool.test_places_of_the_largest("NCHW"),
    ),
    "weights of planes": (
        resample.weigh, "weight[i] * weight[j]", "weight[j]",
        lambda: test_resample.test_weighted("trilinear"),
    ),
    "blocks of a line": (
        unfold.sum_windows, "fits & (u32(block_x) < u32(BLOCKS_X))", "fits",
        lambda: test_unfold.test_windows_as_columns_and_back("dilated", "NCHW"),
    ),
    "whole strides": (
        depthwise_transposed.depthwise_transposed, "(u * i32(STRIDE_W) == far) & ", "",
        lambda: test_transposed.test_transposed_depthwise_convolutions_are_exact("doubling"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_broken_kernels_are_seen(name: str) -> None:
    assert_caught(*MUTATIONS[name])
