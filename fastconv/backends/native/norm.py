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

from fastconv.backends.manifest.elements import (
    CombineMoments,
    PixelMoments,
    RowMoments,
    Standardise,
)
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
)
from fastconv.backends.native.pointwise import BLOCK, Pointwise
from fastconv.backends.native.weights import packed_affine, packed_repeat
from fastconv.problem import BatchNormProblem, GroupNormProblem, LayerNormProblem


class _Workspace:
    """Hands out float64 arrays in the workspace."""

    def __init__(self) -> None:
        self.bytes = 0

    def take(self, count: int) -> Slot:
        """Return the slot of so many numbers."""
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
        moments, fields = parts(self.library, problem, extent, space)
        tables = [space.take(extent.images * extent.channels) for _ in range(2)]
        weights, biases = _widened(self.library, name, extent.channels)
        arguments = CombineMoments(
            group_channels=extent.channels // problem.groups, weights=weights, biases=biases,
            scales=tables[0], shifts=tables[1], epsilon=problem.eps, **fields,
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
        whole = CombineMoments(
            means=means, sums=sums, groups=1, parts_down=rows.chunks, parts_across=1,
            part_length=BLOCK, group_length=rows.length, image_step=rows.chunks, group_step=0,
            part_step=1, group_channels=1, weights=one, biases=zero, scales=scale, shifts=shift,
            epsilon=problem.eps,
        )  # fmt: skip
        weights, biases = _widened(self.library, name, rows.length)
        arguments = Standardise(
            source=INPUT(0), target=OUTPUT, row_scales=scale, row_shifts=shift,
            place_weights=weights, place_biases=biases, **rows.fields,
        )  # fmt: skip
        stages = [
            moments,
            Stage(_combine(self.library), rows.rows, whole),
            Stage(self.library.kernel("norm.standardise", name), rows.items, arguments),
        ]
        return self.native_plan(problem, stages, workspace_bytes=space.bytes)


def _widened(library: Library, name: str, count: int) -> list[Packed]:
    """Return weight and bias in float64: one and zero where there is none."""
    values = enumerate((1.0, 0.0))
    return [packed_repeat(library, name, i, count, value=v, widened=True) for i, v in values]


def _extent(problem: BatchNormProblem | GroupNormProblem) -> Extent:
    inner = prod(problem.size)
    return Extent(problem.batch, problem.channels, inner, problem.channels_last or inner == 1)


def _combine(library: Library) -> int:
    """Return the kernel that puts moments together: float64 whatever the elements are."""
    return library.kernel("norm.combine", "float64")


def _row_moments(
    library: Library, name: str, rows: Rows, space: _Workspace
) -> tuple[Stage, Slot, Slot]:
    means, sums = (space.take(rows.rows * rows.chunks) for _ in range(2))
    arguments = RowMoments(source=INPUT(0), means=means, sums=sums, **rows.fields)
    return Stage(library.kernel("norm.row_moments", name), rows.items, arguments), means, sums


def _row_parts(
    library: Library, problem: GroupNormProblem, extent: Extent, space: _Workspace
) -> tuple[Stage, dict[str, Any]]:
    """Return the stage of a group's moments where it is contiguous, and fields of ``combine``."""
    rows = Rows(extent.images * problem.groups, extent.image // problem.groups)
    stage, means, sums = _row_moments(library, problem.dtype.name, rows, space)
    return stage, {
        "means": means, "sums": sums, "groups": problem.groups, "parts_down": rows.chunks,
        "parts_across": 1, "part_length": BLOCK, "group_length": rows.length,
        "image_step": problem.groups * rows.chunks, "group_step": rows.chunks, "part_step": 1,
    }  # fmt: skip


def _pixel_parts(
    library: Library, problem: GroupNormProblem, extent: Extent, space: _Workspace
) -> tuple[Stage, dict[str, Any]]:
    """Return the same where channels are last."""
    chunk = max(32, BLOCK // extent.channels)
    chunks = -(-extent.inner // chunk)
    items = extent.images * chunks
    means, sums = (space.take(items * extent.channels) for _ in range(2))
    arguments = PixelMoments(
        source=INPUT(0), pixels=extent.inner, channels=extent.channels, chunk=chunk,
        chunks=chunks, means=means, sums=sums,
    )  # fmt: skip
    address = library.kernel("norm.pixel_moments", problem.dtype.name)
    width = extent.channels // problem.groups
    return Stage(address, items, arguments), {
        "means": means, "sums": sums, "groups": problem.groups, "parts_down": chunks,
        "parts_across": width, "part_length": chunk, "group_length": extent.inner,
        "image_step": chunks * extent.channels, "group_step": width,
        "part_step": extent.channels,
    }  # fmt: skip
