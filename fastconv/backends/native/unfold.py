"""Windows as columns and back: rows of the columns copied, rows of the image summed."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array, Cost, roofline
from fastconv.backends.manifest.moves import Windows
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.move import CELLS
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    NativePlan,
    Stage,
    scratch_stride,
)
from fastconv.machine import Machine
from fastconv.problem import FoldProblem, UnfoldProblem


class _Windows(NativeAlgorithm):
    """What both directions share."""

    name = "rows"

    def cost(self, problem: Any, machine: Machine) -> Cost:
        # The image stays in cache, the columns do not.
        bytes = prod(problem.columns_shape) * problem.dtype.itemsize * 2
        cells = prod(problem.columns_shape)
        return Cost(1e-6 + roofline(problem, machine, flops=4 * cells, bytes=bytes))

    def windows_plan(
        self, problem: Any, kernel: int, items: int, scratch_bytes: int = 0
    ) -> NativePlan:
        """Bind sizes and steps."""
        channels, (height, width) = problem.channels, problem.image_size
        if problem.channels_last:
            steps = (height * width * channels, 1, width * channels, channels)
        else:
            steps = (channels * height * width, height * width, width, 1)
        (top, _), (left, _) = problem.padding
        image_step, channel_step, y_step, x_step = steps
        (rows, columns), (y_stride, x_stride) = problem.blocks, problem.stride
        arguments = Windows(
            source=INPUT(0), target=OUTPUT, channels=channels, height=height, width=width,
            image_step=image_step, channel_step=channel_step, y_step=y_step, x_step=x_step,
            kernel_height=problem.kernel_size[0], kernel_width=problem.kernel_size[1],
            rows=rows, columns=columns, y_stride=y_stride, x_stride=x_stride, top=top, left=left,
            y_dilation=problem.dilation[0], x_dilation=problem.dilation[1], scratch_base=SCRATCH,
            scratch_stride=scratch_stride(scratch_bytes),
        )  # fmt: skip
        stage = Stage(kernel, items, arguments)
        return self.native_plan(problem, [stage], scratch_bytes=scratch_bytes)


class Unfold(_Windows):
    """Each row of the columns copied from strided rows of the image."""

    def why_not(self, problem: UnfoldProblem) -> str | None:
        size = problem.dtype.itemsize
        return None if size in CELLS else f"cells of {size} bytes are for the reference"

    def plan(self, problem: UnfoldProblem, *parameters: Array | None) -> NativePlan:
        items = problem.batch * problem.channels * prod(problem.kernel_size)
        kernel = self.library.kernel("move.unfold", CELLS[problem.dtype.itemsize])
        return self.windows_plan(problem, kernel, items)


class Fold(_Windows):
    """Each row of the image summed from the rows of the columns that reach it."""

    def error_bound(self, problem: FoldProblem) -> float:
        # A sum of one cell a tap.
        return float(np.finfo(problem.dtype).eps) * prod(problem.kernel_size)

    def plan(self, problem: FoldProblem, *parameters: Array | None) -> NativePlan:
        items = problem.batch * problem.channels * problem.image_size[0]
        row = problem.image_size[1] * problem.dtype.itemsize if problem.channels_last else 0
        kernel = self.library.kernel("fold", problem.dtype.name)
        return self.windows_plan(problem, kernel, items, row)
