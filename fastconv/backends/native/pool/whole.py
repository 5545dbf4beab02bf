"""Global max and average pools of channels-first images: each plane is one contiguous run."""

from __future__ import annotations

import dataclasses
from math import prod

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.manifest.pools import Whole as WholeArgs
from fastconv.backends.native import INPUT, OUTPUT, NativePlan, Stage, constant
from fastconv.backends.native.pool.channels_first import ChannelsFirst
from fastconv.backends.native.pool.operations import SUM_CELLS, SUMS
from fastconv.machine import get_machine
from fastconv.problem import AdaptivePoolProblem

# Planes of up to so many vectors are reduced side by side.
SMALL_VECTORS = 32


class Whole(ChannelsFirst):
    """One output a plane."""

    name = "whole"

    def why_not(self, problem: AdaptivePoolProblem) -> str | None:
        if problem.kind not in ("max", "avg"):
            return f"{problem.kind} pools: this kernel is for max and avg"
        if prod(problem.output_size) != 1:
            return "more than one output a channel"
        return super().why_not(problem)

    def error_bound(self, problem: AdaptivePoolProblem) -> float:
        if problem.kind == "max":
            return 0.0
        lanes, cells = get_machine().lanes(problem.dtype), prod(problem.input_size)
        vectors = 1 if _small(problem) else SUMS
        steps = min(cells / (vectors * lanes), SUM_CELLS) + np.log2(vectors * lanes) + 2
        # Sums of blocks are added in float64.
        wide = cells / (SUM_CELLS * vectors * lanes) * np.finfo(np.float64).eps
        return float(steps * np.finfo(problem.dtype).eps + wide)

    def plan(self, problem: AdaptivePoolProblem, *parameters: Array | None) -> NativePlan:
        tile = self.library.tile(problem.dtype, get_machine())
        cells = prod(problem.input_size)
        planes = problem.batch * problem.channels
        counts = np.ones(tile.lanes + 1, problem.dtype)
        counts[0] = cells
        if _small(problem):
            tile = dataclasses.replace(tile, rows=tile.lanes, vectors=1)
            name, items = "pool.whole_rows", -(-planes // tile.lanes)
        else:
            tile = dataclasses.replace(tile, rows=1, vectors=SUMS)
            name, items = "pool.whole", planes
        address = self.library.kernel(name, tile, problem.kind)
        arguments = WholeArgs(
            source=INPUT(0), planes=planes, cells=cells, out=OUTPUT, counts=constant(counts)
        )
        seconds = self.cost(problem, get_machine()).seconds
        return NativePlan(problem, [Stage(address, items, arguments)], seconds=seconds)


def _small(problem: AdaptivePoolProblem) -> bool:
    """Whether planes are reduced side by side."""
    lanes = get_machine().lanes(problem.dtype)
    return prod(problem.input_size) <= SMALL_VECTORS * lanes and problem.channels >= lanes
