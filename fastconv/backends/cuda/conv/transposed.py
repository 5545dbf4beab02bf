"""Transposed convolution on the GPU: one convolution of stride 1 an output phase.

With stride s the outputs at places r + s j see the same taps for every j: such a phase is an
implicit GEMM over the input, whose tile is written straight to those places.
"""

from __future__ import annotations

import dataclasses
from itertools import product
from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.carry import in_floats
from fastconv.backends.cuda.conv.direct import (
    gemm_launch,
    table_of,
    tile_of,
    why_not_outsized,
)
from fastconv.backends.cuda.conv.implicit_gemm import Geometry, Spread
from fastconv.backends.cuda.engine.cells import DTYPES, as_floats
from fastconv.backends.cuda.engine.plan import OUTPUT, CudaPlan
from fastconv.backends.cuda.tile import Tile
from fastconv.backends.cuda.transpose import channels_last
from fastconv.backends.native.conv.geometry import lead
from fastconv.backends.native.conv.phases import phase_length, phase_taps
from fastconv.backends.native.plan import INPUT, constant
from fastconv.problem import ConvTransposeProblem, Shape


class Transposed(CudaAlgorithm):
    """Implicit GEMM, a phase at a time."""

    name = "direct"
    moves_parameters = True
    dtypes = DTYPES

    def why_not(self, problem: ConvTransposeProblem) -> str | None:
        return why_not_outsized(problem) or super().why_not(problem)

    def error_bound(self, problem: ConvTransposeProblem) -> float:
        return problem.sum_length * float(np.finfo(np.float32).eps)

    def launches(self, problem: ConvTransposeProblem, *parameters: Array | None) -> CudaPlan:
        weight, bias = (None if p is None else as_floats(p, problem.dtype) for p in parameters)
        assert weight is not None

        def inner(wide: ConvTransposeProblem) -> CudaPlan:
            return channels_last(wide, lambda turned: plan_transposed(turned, weight, bias))

        return in_floats(problem, inner)


def plan_transposed(
    problem: ConvTransposeProblem, weight: Array, bias: Array | None, tile: Tile | None = None
) -> CudaPlan:
    """Plan a transposed convolution of channels-last images."""
    offsets = None if bias is None else constant(bias)
    launches = []
    for phase in phases_of(problem, weight):
        geometry, first = phase.geometry, phase.first * problem.dtype.itemsize
        launch = gemm_launch(
            tile_of(geometry) if tile is None else tile, geometry, phase.weight,
            table_of(geometry, phase.shifts), bias=offsets, activation=problem.activation,
            residual=INPUT(1) + first if problem.residual else None, target=OUTPUT + first,
        )  # fmt: skip
        launches.append(launch)
    return CudaPlan(launches)


@dataclasses.dataclass(frozen=True)
class Phase:
    """One phase as a convolution.

    Parameters
    ----------
    geometry
        What is baked into its kernel: the same for phases of as many taps and outputs.
    shifts
        Where the taps are in its windows, a dimension: each further to the left.
    weight
        (groups, out / groups, in / groups, taps).
    first
        The element of the output that is its first.
    """

    geometry: Geometry
    shifts: list[Array]
    weight: Array
    first: int


def phases_of(problem: ConvTransposeProblem, weight: Array) -> list[Phase]:
    """Return the phases that have outputs."""
    found = (_phase(problem, phase, weight) for phase in product(*map(range, problem.stride)))
    return [phase for phase in found if 0 not in phase.geometry.output_size]


def _phase(problem: ConvTransposeProblem, phase: Shape, weight: Array) -> Phase:
    geometry = _geometry(problem, phase)
    reached = [phase_taps(problem, i, phase[i]) for i in range(problem.n)]
    shifts = [np.zeros(1, np.int64)] * (3 - problem.n)
    shifts += [np.array([shift for _, shift in taps], np.int64) for taps in reached]
    key: Any = (..., *np.ix_(*([tap for tap, _ in taps] for taps in reached)))
    shape = (problem.groups, geometry.group_inputs, geometry.group_outputs, geometry.taps)
    own = weight[key].reshape(shape).transpose(0, 2, 1, 3)
    first = 0
    for place, size in zip(phase, problem.output_size, strict=True):
        first = first * size + place
    return Phase(geometry, shifts, own, first * problem.out_channels)


def _geometry(problem: ConvTransposeProblem, phase: Shape) -> Geometry:
    sizes = tuple(phase_length(problem, i, phase[i]) for i in range(problem.n))
    taps = 1
    for i in range(problem.n):
        taps *= len(phase_taps(problem, i, phase[i]))
    d, h, w = (False,) * (3 - problem.n) + tuple(_leaves(problem, i) for i in range(problem.n))
    return Geometry(
        problem.batch, lead(problem.input_size, 1), lead(sizes, 1), (1, 1, 1), (0, 0, 0),
        problem.in_channels, problem.out_channels, problem.groups, taps, (d, h, w),
        spread=Spread(lead(problem.output_size, 1), lead(problem.stride, 1)),
    )  # fmt: skip


def _leaves(problem: ConvTransposeProblem, dimension: int) -> bool:
    """Return whether a tap of any phase reaches beyond the image, or a phase has none."""
    for phase in range(problem.stride[dimension]):
        shifts = [shift for _, shift in phase_taps(problem, dimension, phase)]
        last = phase_length(problem, dimension, phase) - 1
        if last >= 0 and (
            not shifts or min(shifts) < 0 or last + max(shifts) >= problem.input_size[dimension]
        ):
            return True
    return False
