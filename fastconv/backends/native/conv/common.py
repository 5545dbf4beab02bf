"""What the convolutions share: who can, and how a plan is put together."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.bounds import sum_bound
from fastconv.backends.native.gemm import fitting_tile, fused
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import OUTPUT, NativePlan, Stage
from fastconv.backends.native.pointwise import activation_stages
from fastconv.backends.native.tile import Tile
from fastconv.machine import Machine, get_machine


class NativeConv(NativeAlgorithm):
    """Base of the convolutions, and of what ends in an epilogue as they do."""

    def error_bound(self, problem: Any) -> float:
        """Statistical bound of a sum in order (see `sum_bound`)."""
        return sum_bound(problem.sum_length, unit(problem.dtype))

    def native_plan(self, problem: Any, stages: list[Stage], **options: Any) -> NativePlan:
        """Put stages together, with the activation that the GEMM's epilogue leaves over."""
        if not fused(problem.activation):
            stages = [*stages, *activation_stages(self.library, problem, OUTPUT)]
        return super().native_plan(problem, stages, **options)


class PlaneByPlane(NativeConv):
    """Base of what filters planes one by one: one input channel a group, channels first."""

    def why_not(self, problem: Any) -> str | None:
        if problem.in_channels != problem.groups:
            return (
                f"{problem.in_channels} channels in {problem.groups} groups: this kernel is for "
                "one channel a group"
            )
        if problem.channels_last and problem.in_channels > 1:
            return "channels last: this kernel is for channels first"
        if problem.channels_last and problem.out_channels > 1:
            return "channels last: this kernel is for channels first"
        if problem.n > 2:
            return f"{problem.n} dimensions: this kernel is for one or two"
        return super().why_not(problem)


def conv_tile(library: Library, problem: Any, machine: Machine | None = None) -> Tile:
    """Return the register tile for a convolution's output channels a group."""
    machine = machine or get_machine()
    columns = problem.out_channels // problem.groups
    pixels = prod(problem.output_size)
    # What weights are packed for depends on the tile. Those of images of many sizes have one form,
    # but for the few pixels of a step of a stream, which a tile of many rows would take thrice as
    # long for.
    if getattr(problem, "any_size", False) and pixels > FEW_PIXELS:
        pixels = MANY_PIXELS
    return fitting_tile(library, problem.dtype, machine, pixels, columns)


# Pixels of an image that stands for those of any size, and up to which one stands for itself.
MANY_PIXELS, FEW_PIXELS = 1 << 12, 16


def register_tiles(problem: Any, tile: Tile) -> int:
    """Count the register tiles that cover the outputs of all images and groups."""
    rows = -(-prod(problem.output_size) // tile.rows)
    columns = -(-problem.out_channels // problem.groups // tile.columns)
    return int(problem.batch * problem.groups * rows * columns)


def unit(dtype: np.dtype[Any]) -> float:
    """Return the unit roundoff of a float dtype."""
    return float(np.finfo(dtype).eps) / 2
