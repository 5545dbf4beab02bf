"""Images read at computed places: for each block of points, places and weights for all channels."""

from __future__ import annotations

from math import prod
from typing import Any

from fastconv.backends.base import Array, Cost
from fastconv.backends.manifest.moves import SampleGrid, SampleOffsets
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    NativePlan,
    Stage,
    scratch_stride,
)
from fastconv.machine import Machine
from fastconv.problem.base import Shape
from fastconv.problem.sample import MODES, PADDINGS, DeformProblem, GridSampleProblem

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

    def fields(
        self, problem: Any, images: int, points: int, mode: str, padding: str, corners: bool
    ) -> tuple[dict[str, Any], int, int]:
        """Return the fields that both kernels have, bytes of scratch, and points of an item."""
        block = WIDE_BLOCK if problem.taps <= FEW_TAPS else BLOCK_OF_MANY
        scratch = problem.taps * block * (8 + problem.dtype.itemsize)
        channels = problem.image[0] * problem.image[1] // max(1, images)
        fields = {
            "source": INPUT(0), "places": INPUT(1), "target": OUTPUT, "channels": channels,
            "points": points, "size": filled(problem.image[2:]), "axes": problem.n,
            "mode": MODES.index(mode), "padding": PADDINGS.index(padding),
            "corners": int(corners), "block": block, "part": CHANNELS_AT_ONCE,
            "scratch_base": SCRATCH, "scratch_stride": scratch_stride(scratch),
        }  # fmt: skip
        return fields, scratch, block


def filled(sizes: Shape, one: int = 1) -> tuple[int, ...]:
    """Return sizes of three dimensions: ``one`` before those that there are."""
    return (one,) * (3 - len(sizes)) + tuple(sizes)


class GridSample(_Sample):
    """Places by a grid."""

    def plan(self, problem: GridSampleProblem, *parameters: Array | None) -> NativePlan:
        images, channels, points = *problem.image[:2], prod(problem.out)
        fields, scratch, block = self.fields(
            problem, images, points, problem.mode, problem.padding, problem.align_corners
        )
        arguments = SampleGrid(**fields, mask=0)
        items = images * -(-points // block) * -(-channels // CHANNELS_AT_ONCE)
        kernel = self.library.kernel("sample.grid", problem.dtype.name)
        return self.native_plan(problem, [Stage(kernel, items, arguments)], scratch_bytes=scratch)


class Deform(_Sample):
    """Places by offsets of a window's taps."""

    def plan(self, problem: DeformProblem, *parameters: Array | None) -> NativePlan:
        images = problem.image[0] * problem.groups
        taps, points = prod(problem.kernel_size), prod(problem.out)
        fields, scratch, block = self.fields(
            problem, images, taps * points, "linear", "zeros", True
        )
        arguments = SampleOffsets(
            **fields, mask=INPUT(2) if problem.masked else 0, group_points=points,
            out=filled(problem.out), taps=filled(problem.kernel_size),
            stride=filled(problem.stride), before=filled(problem.before, 0),
            dilation=filled(problem.dilation),
        )  # fmt: skip
        channels = problem.image[1] // problem.groups
        items = images * taps * -(-points // block) * -(-channels // CHANNELS_AT_ONCE)
        kernel = self.library.kernel("sample.offsets", problem.dtype.name)
        return self.native_plan(problem, [Stage(kernel, items, arguments)], scratch_bytes=scratch)
