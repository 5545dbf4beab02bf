"""Images read at computed places: for each block of points, places and weights for all channels."""

from __future__ import annotations

from math import prod
from typing import Any

from fastconv.backends.base import Array, Cost
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    Argument,
    NativePlan,
    Stage,
    scratch_stride,
)
from fastconv.machine import Machine
from fastconv.problem.base import Shape
from fastconv.problem.sample import MODES, PADDINGS, DeformProblem, GridSampleProblem

# `sample.grid`: images, the grid, nothing, the output; channels of an image and points of it; the
# image's sizes, three of them, the last ones filled; how many dimensions it has; mode, padding and
# whether corners' centres are the ends; points and channels of an item; scratch memory.
(SOURCE, PLACES, MASK, TARGET, CHANNELS, POINTS, SIZE_A, SIZE_B, SIZE_C, AXES, MODE, PADDING,
 CORNERS, BLOCK, PART, SCRATCH_BASE, SCRATCH_STRIDE) = range(17)  # fmt: skip
# `sample.offsets` has after them: points of a tap, and three each of the output's sizes, the
# window's, strides, the padding before the image, dilations. Its images are groups of channels.
(GROUP_POINTS, OUT_A, OUT_B, OUT_C, TAPS_A, TAPS_B, TAPS_C, STRIDE_A, STRIDE_B, STRIDE_C, BEFORE_A,
 BEFORE_B, BEFORE_C, DILATION_A, DILATION_B, DILATION_C) = range(17, 33)  # fmt: skip

# Points of an item, and of one whose points are summed from many cells.
FEW_TAPS, WIDE_BLOCK, BLOCK_OF_MANY = 16, 256, 64
# Channels of an item: places are computed once for them.
CHANNELS_AT_ONCE = 64
# Seconds that a point's places take, and one of its cells for each channel.
_PLACE_SECONDS, _CELL_SECONDS = 15e-9, 0.4e-9


class _Sample(NativeAlgorithm):
    """What both kinds share."""

    name = "blocks"

    def cost(self, problem: Any, machine: Machine) -> Cost:
        cells = prod(problem.output_shape)
        points = cells / max(1, problem.image[1])
        return Cost(1e-6 + points * _PLACE_SECONDS + cells * problem.taps * _CELL_SECONDS)

    def words(
        self, problem: Any, images: int, points: int, mode: str, padding: str, corners: bool
    ) -> tuple[list[Argument], int, int]:
        """Return the words that both kernels have, bytes of scratch, and points of an item."""
        block = WIDE_BLOCK if problem.taps <= FEW_TAPS else BLOCK_OF_MANY
        scratch = problem.taps * block * (8 + problem.dtype.itemsize)
        channels = problem.image[0] * problem.image[1] // max(1, images)
        words: list[Argument] = [
            INPUT(0), INPUT(1), INPUT(2), OUTPUT, channels, points, *filled(problem.image[2:]),
            problem.n, MODES.index(mode), PADDINGS.index(padding), int(corners), block,
            CHANNELS_AT_ONCE, SCRATCH, scratch_stride(scratch),
        ]  # fmt: skip
        return words, scratch, block


def filled(sizes: Shape, one: int = 1) -> tuple[int, ...]:
    """Return sizes of three dimensions: ``one`` before those that there are."""
    return (one,) * (3 - len(sizes)) + tuple(sizes)


class GridSample(_Sample):
    """Places by a grid."""

    def plan(self, problem: GridSampleProblem, *parameters: Array | None) -> NativePlan:
        images, channels, points = *problem.image[:2], prod(problem.out)
        words, scratch, block = self.words(
            problem, images, points, problem.mode, problem.padding, problem.align_corners
        )
        words[MASK] = 0
        items = images * -(-points // block) * -(-channels // CHANNELS_AT_ONCE)
        kernel = self.library.kernel("sample.grid", problem.dtype.name)
        return self.native_plan(problem, [Stage(kernel, items, words)], scratch_bytes=scratch)


class Deform(_Sample):
    """Places by offsets of a window's taps."""

    def plan(self, problem: DeformProblem, *parameters: Array | None) -> NativePlan:
        images = problem.image[0] * problem.groups
        taps, points = prod(problem.kernel_size), prod(problem.out)
        words, scratch, block = self.words(problem, images, taps * points, "linear", "zeros", True)
        if not problem.masked:
            words[MASK] = 0
        words += [
            points, *filled(problem.out), *filled(problem.kernel_size), *filled(problem.stride),
            *filled(problem.before, 0), *filled(problem.dilation),
        ]  # fmt: skip
        channels = problem.image[1] // problem.groups
        items = images * taps * -(-points // block) * -(-channels // CHANNELS_AT_ONCE)
        kernel = self.library.kernel("sample.offsets", problem.dtype.name)
        return self.native_plan(problem, [Stage(kernel, items, words)], scratch_bytes=scratch)
