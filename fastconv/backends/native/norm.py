"""Normalisations: means and variances of chunks, put together in order, then one affine step.

A chunk's variance is taken about its own mean, in float64, and chunks are combined as Chan, Golub
and LeVeque do (Algorithms for computing the sample variance, 1983): no digits cancel, and chunks
depend on the image alone.
"""

from __future__ import annotations

import functools
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.native.channelwise import Extent, Rows, image_stage, shared_stage
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    WORKSPACE,
    NativePlan,
    Packed,
    Slot,
    Stage,
    constant,
    float_bits,
)
from fastconv.backends.native.pointwise import BLOCK, Pointwise
from fastconv.backends.native.weights import packed_affine, packed_repeat
from fastconv.problem import BatchNormProblem, GroupNormProblem, LayerNormProblem

# The kernels' words. `row_moments`: input, means, `Rows.words`, sums of squares; one a chunk.
SOURCE, ROW_MEANS, ROW_SUMS = 0, 1, 7
# `pixel_moments`: input, sizes, pixels of a chunk, chunks of an image, means and sums of squares,
# as many as channels for each chunk.
(PIXELS, CHANNELS, PIXEL_CHUNK, PIXEL_CHUNKS, PIXEL_MEANS, PIXEL_SUMS) = range(1, 7)
# `combine`: means and sums of squares; groups of an image; a group's parts, PARTS_DOWN times
# PARTS_ACROSS that lie beside each other; the elements of a part (the last ones have what is left)
# and of all that lie below each other; numbers from an image's parts, a group's and a part's to
# the next one's; channels of a group, weight and bias of all; what comes out, and epsilon's bits.
(MEANS, SUMS, GROUPS, PARTS_DOWN, PARTS_ACROSS, PART_LENGTH, GROUP_LENGTH, IMAGE_STEP, GROUP_STEP,
 PART_STEP, GROUP_CHANNELS, WEIGHTS, BIASES, SCALES, SHIFTS, EPSILON) = range(16)  # fmt: skip
# `standardise`: input, output, `Rows.words`, numbers of rows, numbers of places.
TARGET = 1
(ROW_SCALES, ROW_SHIFTS, PLACE_WEIGHTS, PLACE_BIASES) = range(7, 11)


class _Workspace:
    """Hands out float64 arrays in the workspace."""

    def __init__(self) -> None:
        self.bytes = 0

    def take(self, count: int) -> Slot:
        """Give the slot of so many numbers."""
        slot = WORKSPACE + self.bytes
        self.bytes += -(-8 * count // 64) * 64
        return slot


class BatchNorm(Pointwise):
    """A scale and a shift per channel."""

    name = "affine"

    def operations(self, problem: BatchNormProblem) -> float:
        return 4 + self.ending(problem)

    def geometry(self, problem: BatchNormProblem) -> NativePlan:
        name = problem.dtype.name
        tables = functools.partial(packed_affine, self.library, name, problem.channels, problem.eps)
        stage = shared_stage(
            self.library, "affine", name, _extent(problem), tables, problem.activation
        )
        return self.ended_plan(problem, [stage])


class GroupNorm(Pointwise):
    """Moments of chunks, their combination a group, an affine step a channel."""

    name = "two_pass"

    def operations(self, problem: GroupNormProblem) -> float:
        return 12 + self.ending(problem)

    def geometry(self, problem: GroupNormProblem) -> NativePlan:
        extent, space, name = _extent(problem), _Workspace(), problem.dtype.name
        parts = _pixel_parts if extent.last else _row_parts
        moments, words = parts(self.library, problem, extent, space)
        tables = [space.take(extent.images * extent.channels) for _ in range(2)]
        affine = _widened(self.library, name, extent.channels)
        arguments = (
            *words, extent.channels // problem.groups, *affine, *tables, float_bits(problem.eps)
        )  # fmt: skip
        stages = [
            moments,
            Stage(_combine(self.library), extent.images * problem.groups, arguments),
            image_stage(
                self.library, "affine", name, extent, tables[0], tables[1], problem.activation
            ),
        ]
        return self.ended_plan(problem, stages, workspace_bytes=space.bytes)


class LayerNorm(Pointwise):
    """Moments of chunks, their combination a row, an affine step a place."""

    name = "two_pass"

    def operations(self, problem: LayerNormProblem) -> float:
        return 12

    def geometry(self, problem: LayerNormProblem) -> NativePlan:
        name, space = problem.dtype.name, _Workspace()
        rows = Rows(problem.rows, problem.length)
        moments, means, sums = _row_moments(self.library, name, rows, space)
        scale, shift = (space.take(rows.rows) for _ in range(2))
        one, zero = constant(np.ones(1)), constant(np.zeros(1))
        whole = (
            means, sums, 1, rows.chunks, 1, BLOCK, rows.length, rows.chunks, 0, 1, 1, one, zero,
            scale, shift, float_bits(problem.eps),
        )  # fmt: skip
        affine = _widened(self.library, name, rows.length)
        stages = [
            moments,
            Stage(_combine(self.library), rows.rows, whole),
            Stage(
                self.library.kernel("norm.standardise", name),
                rows.items,
                (INPUT(0), OUTPUT, *rows.words, scale, shift, *affine),
            ),
        ]
        return self.native_plan(problem, stages, workspace_bytes=space.bytes)


def _widened(library: Library, name: str, count: int) -> list[Packed]:
    """Return weight and bias in float64: one and zero where there is none."""
    values = enumerate((1.0, 0.0))
    return [packed_repeat(library, f"widened {name}", i, count, value=v) for i, v in values]


def _extent(problem: BatchNormProblem | GroupNormProblem) -> Extent:
    inner = prod(problem.size)
    return Extent(problem.batch, problem.channels, inner, problem.channels_last or inner == 1)


def _combine(library: Library) -> int:
    """Give the kernel that puts moments together: float64 whatever the elements are."""
    return library.kernel("norm.combine", "float64")


def _row_moments(
    library: Library, name: str, rows: Rows, space: _Workspace
) -> tuple[Stage, Slot, Slot]:
    means, sums = (space.take(rows.rows * rows.chunks) for _ in range(2))
    arguments = (INPUT(0), means, *rows.words, sums)
    return Stage(library.kernel("norm.row_moments", name), rows.items, arguments), means, sums


def _row_parts(
    library: Library, problem: GroupNormProblem, extent: Extent, space: _Workspace
) -> tuple[Stage, tuple[Any, ...]]:
    """Give the stage of a group's moments where it is contiguous, and ``combine``'s first words."""
    rows = Rows(extent.images * problem.groups, extent.image // problem.groups)
    stage, means, sums = _row_moments(library, problem.dtype.name, rows, space)
    return stage, (
        means, sums, problem.groups, rows.chunks, 1, BLOCK, rows.length,
        problem.groups * rows.chunks, rows.chunks, 1,
    )  # fmt: skip


def _pixel_parts(
    library: Library, problem: GroupNormProblem, extent: Extent, space: _Workspace
) -> tuple[Stage, tuple[Any, ...]]:
    """Give the same where channels are last."""
    chunk = max(32, BLOCK // extent.channels)
    chunks = -(-extent.inner // chunk)
    items = extent.images * chunks
    means, sums = (space.take(items * extent.channels) for _ in range(2))
    arguments = (INPUT(0), extent.inner, extent.channels, chunk, chunks, means, sums)
    address = library.kernel("norm.pixel_moments", problem.dtype.name)
    return Stage(address, items, arguments), (
        means, sums, problem.groups, chunks, extent.channels // problem.groups, chunk,
        extent.inner, chunks * extent.channels, extent.channels // problem.groups,
        extent.channels,
    )  # fmt: skip
