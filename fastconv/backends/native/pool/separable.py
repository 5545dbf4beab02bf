"""Max, average and Lp pools of any layout, and the places of maxima: a tile of a row at a time.

Rows of a window are brought together before its columns: where windows overlap, h + w steps an
output do for h x w cells. Sums run in this order whatever the tile, so that an output's bits
depend on its image alone.
"""

from __future__ import annotations

from math import isinf, prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array, Cost, roofline
from fastconv.backends.manifest.pools import PoolIndices
from fastconv.backends.manifest.pools import Separable as SeparableArgs
from fastconv.backends.native import INPUT, NativePlan, Stage, constant
from fastconv.backends.native.algorithm import DTYPES, NativeAlgorithm
from fastconv.backends.native.pool.block import shared_fields
from fastconv.backends.native.pool.cuts import AnyPoolProblem, cells
from fastconv.backends.native.pool.geometry import Geometry
from fastconv.machine import Machine
from fastconv.problem.values import INTEGERS

# The largest vectors.
VECTOR_BYTES = 64
# Operations that a power, or a root, by the library's general function counts for.
POWER_FLOPS = 40


class Separable(NativeAlgorithm):
    """Rows first, then columns."""

    name = "separable"

    def why_not(self, problem: AnyPoolProblem) -> str | None:
        if problem.kind == "weighted":
            return "weights need not be separable"
        if problem.return_indices and prod(problem.input_size) >= 2**31:
            return "planes of 2^31 cells and more"
        dtype = problem.dtype.name
        served = DTYPES + INTEGERS if problem.kind == "max" else DTYPES
        if dtype in served and self.library.has(*_kernel(problem)):
            return None
        return f"dtype {dtype}: these kernels are for {' and '.join(DTYPES)}"

    def objects_as_twin(self, problem: AnyPoolProblem) -> bool:
        # Libraries have kernels of other dtypes.
        return False

    def cost(self, problem: AnyPoolProblem, machine: Machine) -> Cost:
        # An operation a cell for each row that sees it, and one an output and column.
        geometry = Geometry.of(problem)
        rows = prod(_mean_cells(geometry, i) * geometry.output[i] for i in (0, 1))
        columns = prod(geometry.output) * _mean_cells(geometry, 2)
        flops = (rows * geometry.size[2] + columns) * geometry.lanes * geometry.images
        if problem.kind == "lp":
            flops *= POWER_FLOPS
        return Cost(roofline(problem, machine, flops=flops, bytes=problem.bytes))

    def error_bound(self, problem: AnyPoolProblem) -> float:
        if problem.kind == "max":
            return 0.0
        # The longest chain of additions.
        steps = sum(int((w.stop - w.start).max()) for w in Geometry.of(problem).windows)
        eps = float(np.finfo(problem.dtype).eps)
        return eps if problem.kind == "lp" else steps * eps

    def plan(self, problem: AnyPoolProblem, *parameters: Array | None) -> NativePlan:
        geometry = Geometry.of(problem)
        make: Any = _with_indices if problem.return_indices else _separable
        arguments, scratch = make(problem, geometry)
        stage = Stage(self.library.kernel(*_kernel(problem)), geometry.items, arguments)
        extra = (problem.output_shapes or [])[1:]
        return self.native_plan(problem, [stage], scratch_bytes=scratch, extra_outputs=extra)


def _kernel(problem: AnyPoolProblem) -> tuple[str, ...]:
    """Name the kernel, and what it is made for."""
    if problem.return_indices:
        return "pool.indices", problem.dtype.name
    largest = problem.kind == "lp" and isinf(problem.norm_type or 0.0)
    return "pool.separable", "largest" if largest else problem.kind, problem.dtype.name


def _separable(problem: AnyPoolProblem, geometry: Geometry) -> tuple[SeparableArgs, int]:
    """Return the argument block, and the scratch bytes that the kernel needs."""
    # Powers are summed in float64.
    size = 8 if problem.kind == "lp" else problem.dtype.itemsize
    line, sums = geometry.line_elements * size, geometry.tile_elements * size
    scratch = 2 * line + sums + SeparableArgs.RUN_LANES * size
    counts = [w.counted for w in geometry.windows]
    override = getattr(problem, "divisor_override", None)
    if override is not None:
        counts = [np.full_like(count, override if i == 0 else 1) for i, count in enumerate(counts)]
    d_count, h_count, w_count = (constant(count, np.int64) for count in counts)
    arguments = SeparableArgs(
        **shared_fields(problem, geometry, scratch), d_count=d_count, h_count=h_count,
        w_count=w_count, power=problem.norm_type or 0.0, line_bytes=line, sum_bytes=sums,
    )  # fmt: skip
    return arguments, scratch


def _with_indices(problem: AnyPoolProblem, geometry: Geometry) -> tuple[PoolIndices, int]:
    """Return the argument block, and the scratch bytes that the kernel needs."""
    rows = geometry.line_elements * 8
    # A vector past the end of a line may be read.
    scratch = rows + geometry.line_elements * problem.dtype.itemsize + VECTOR_BYTES
    shared = shared_fields(problem, geometry, scratch)
    return PoolIndices(**shared, indices=INPUT(1), row_line_bytes=rows), scratch


def _mean_cells(geometry: Geometry, dimension: int) -> float:
    return float(np.mean(cells(geometry.windows[dimension])))
