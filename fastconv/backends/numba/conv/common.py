"""What the Numba convolutions share: who can, and how a plan is put together."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Algorithm
from fastconv.backends.cook_toom import sum_bound
from fastconv.backends.numba.engine import OUTPUT, NativePlan, Stage
from fastconv.backends.numba.gemm import fitting_tile, fused, tile_for
from fastconv.backends.numba.pointwise import activation_stages
from fastconv.backends.numba.simd import Tile
from fastconv.machine import Machine, get_machine

DTYPES = ("float32", "float64")


class NumbaConv(Algorithm):
    """Base of the convolutions: float32 and float64 alone."""

    backend = "numba"

    def why_not(self, problem: Any) -> str | None:
        if problem.dtype.name not in DTYPES:
            return f"dtype {problem.dtype.name}: these kernels are for {' and '.join(DTYPES)}"
        return None

    def error_bound(self, problem: Any) -> float:
        """Statistical bound of a sum in order (see ``cook_toom.sum_bound``)."""
        return sum_bound(problem.sum_length, unit(problem.dtype))

    def native_plan(
        self, problem: Any, stages: list[Stage], *, workspace_bytes: int, scratch_bytes: int
    ) -> NativePlan:
        """Put stages together, with the activation that the GEMM's epilogue leaves over."""
        if not fused(problem.activation):
            stages = [*stages, *activation_stages(problem, OUTPUT)]
        return NativePlan(
            problem,
            stages,
            workspace_bytes=workspace_bytes,
            scratch_bytes=scratch_bytes,
            seconds=self.cost(problem, get_machine()).seconds,
        )


def conv_tile(problem: Any, machine: Machine | None = None) -> Tile:
    """Give the register tile for a convolution's output channels a group."""
    machine = machine or get_machine()
    columns = problem.out_channels // problem.groups
    if columns <= machine.lanes(problem.dtype):
        return tile_for(problem.dtype, machine, columns)
    return fitting_tile(problem.dtype, machine, prod(problem.output_size), columns)


def register_tiles(problem: Any, tile: Tile) -> int:
    """Count the register tiles that cover the outputs of all images and groups."""
    rows = -(-prod(problem.output_size) // tile.rows)
    columns = -(-problem.out_channels // problem.groups // tile.columns)
    return int(problem.batch * problem.groups * rows * columns)


def unit(dtype: np.dtype[Any]) -> float:
    """Give the unit roundoff of a float dtype."""
    return float(np.finfo(dtype).eps) / 2
