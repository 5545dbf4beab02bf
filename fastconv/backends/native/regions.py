"""Regions of images pooled by samples between cells."""

from __future__ import annotations

from math import prod

from fastconv.backends.base import Array, Cost
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    NativePlan,
    Stage,
    float_bits,
    scratch_stride,
)
from fastconv.machine import Machine
from fastconv.problem.choosing import RoiAlignProblem

# Channels of a work item.
CHANNELS_AT_ONCE = 64

# Images, regions, their images and the output; channels, height and width; the bins' rows and
# columns; samples along a bin, 0: by the region; the scale, as bits of float64; whether cells'
# centres are at halves, and the largest is wanted; scratch memory, and the rows and columns of
# samples that it has room for.
(SOURCE, REGIONS, IMAGES, TARGET, CHANNELS, HEIGHT, WIDTH, OUT_ROWS, OUT_COLUMNS, RATIO, SCALE,
 HALF_PIXEL, LARGEST, SCRATCH_BASE, SCRATCH_STRIDE, MOST_ROWS,
 MOST_COLUMNS) = range(17)  # fmt: skip
# Bytes of a sample: two places, and two weights in float64.
SAMPLE = 32


class RoiAlign(NativeAlgorithm):
    """Means of bins: rows first, in vectors, then columns; the largest sample by sample."""

    name = "separable"

    def cost(self, problem: RoiAlignProblem, machine: Machine) -> Cost:
        samples = max(1, problem.ratio) ** 2
        return Cost(1e-6 + 2e-9 * prod(problem.output_shape) * samples)

    def plan(self, problem: RoiAlignProblem, *parameters: Array | None) -> NativePlan:
        _, channels, height, width = problem.image
        scratch = SAMPLE * sum(problem.most) + width * problem.dtype.itemsize + 64
        parts = -(-channels // CHANNELS_AT_ONCE)
        stage = Stage(
            self.library.kernel("roi_align", problem.dtype.name),
            problem.regions * parts,
            [
                INPUT(0), INPUT(1), INPUT(2), OUTPUT, channels, height, width, *problem.size,
                problem.ratio, float_bits(problem.scale), int(problem.half_pixel),
                int(problem.largest), SCRATCH, scratch_stride(scratch), *problem.most,
            ],
        )  # fmt: skip
        return self.native_plan(problem, [stage], scratch_bytes=scratch)
