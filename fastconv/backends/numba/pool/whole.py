"""Global max and average pools of channels-first images: each plane is one contiguous run."""

from __future__ import annotations

import dataclasses
from math import prod

import numpy as np

from fastconv.backends.base import Algorithm, Array, Cost, roofline
from fastconv.backends.numba.engine import INPUT, OUTPUT, NativePlan, Stage, array, kernel
from fastconv.backends.numba.gemm import tile_for
from fastconv.backends.numba.planar_simd import tile_fill, tile_reduce_first, tile_total
from fastconv.backends.numba.simd import Tile
from fastconv.machine import Machine, get_machine
from fastconv.problem import AdaptivePoolProblem

# Sums that run beside each other, to hide an addition's latency; added by halves at the end.
VECTORS = 4
PLANES, CELLS, OUT = range(3)


class Whole(Algorithm):
    """One output a plane."""

    name = "whole"
    backend = "numba"

    def why_not(self, problem: AdaptivePoolProblem) -> str | None:
        if problem.kind not in ("max", "avg"):
            return f"{problem.kind} pools: this kernel is for max and avg"
        if prod(problem.output_size) != 1:
            return "more than one output a channel"
        if problem.return_indices:
            return "indices are asked for"
        if problem.channels_last and problem.channels > 1:
            return "channels last: this kernel is for channels first"
        if problem.dtype.name not in ("float32", "float64"):
            return f"{problem.dtype.name} is not served; float32 and float64 are"
        return None

    def cost(self, problem: AdaptivePoolProblem, machine: Machine) -> Cost:
        return Cost(roofline(problem, machine, flops=0, bytes=problem.bytes))

    def error_bound(self, problem: AdaptivePoolProblem) -> float:
        if problem.kind == "max":
            return 0.0
        lanes = get_machine().lanes(problem.dtype)
        steps = prod(problem.input_size) / (VECTORS * lanes) + np.log2(VECTORS * lanes) + 2
        return float(steps * np.finfo(problem.dtype).eps)

    def plan(self, problem: AdaptivePoolProblem, *parameters: Array | None) -> NativePlan:
        tile = dataclasses.replace(tile_for(problem.dtype), rows=1, vectors=VECTORS)
        stage = Stage(
            whole(tile, problem.kind),
            problem.batch * problem.channels,
            [INPUT(0), prod(problem.input_size), OUTPUT],
        )
        return NativePlan(
            problem,
            [stage],
            seconds=self.cost(problem, get_machine()).seconds,
        )


@kernel
def whole(tile: Tile, kind: str):  # type: ignore[no-untyped-def]
    """Reduce planes: a work item is one of them."""
    dtype, size, columns = np.dtype(tile.dtype).type, tile.size, tile.columns
    largest = kind == "max"
    neutral = -np.inf if largest else 0.0

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        cells = args[CELLS]
        results = array(args[OUT], (last,), dtype)
        for plane in range(first, last):
            start = args[PLANES] + plane * cells * size
            values = tile_fill(tile, neutral)
            for done in range(0, cells, columns):
                values = tile_reduce_first(
                    tile, values, kind, start + done * size, cells - done, neutral
                )
            total = tile_total(tile, values, kind)
            results[plane] = dtype(total if largest else total / cells)

    return body
