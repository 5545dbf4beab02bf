"""Regions of images pooled by samples between cells."""

from __future__ import annotations

from math import prod

from fastconv.backends.base import Array, Cost
from fastconv.backends.manifest.moves import RoiAlign as RoiAlignArgs
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
from fastconv.problem.choosing import RoiAlignProblem

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
        parts = -(-channels // RoiAlignArgs.CHANNELS_AT_ONCE)
        stage = Stage(
            self.library.kernel("roi_align", problem.dtype.name),
            problem.regions * parts,
            RoiAlignArgs(
                source=INPUT(0), regions=INPUT(1), images=INPUT(2), target=OUTPUT,
                channels=channels, height=height, width=width, out_rows=problem.size[0],
                out_columns=problem.size[1], ratio=problem.ratio, scale=problem.scale,
                half_pixel=int(problem.half_pixel), largest=int(problem.largest),
                scratch_base=SCRATCH, scratch_stride=scratch_stride(scratch),
                most_rows=problem.most[0], most_columns=problem.most[1],
            ),
        )  # fmt: skip
        return self.native_plan(problem, [stage], scratch_bytes=scratch)
