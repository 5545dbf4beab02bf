"""Global max and average pools of channels-first images: each plane is one contiguous run."""

from __future__ import annotations

import dataclasses
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Algorithm, Array, Cost, roofline
from fastconv.backends.numba.engine import INPUT, OUTPUT, NativePlan, Stage, array, constant, kernel
from fastconv.backends.numba.gemm import tile_for
from fastconv.backends.numba.planar_simd import beside, tile_fill, tile_store_masked
from fastconv.backends.numba.pool.simd import (
    tile_bring_first,
    tile_bring_rows,
    tile_divide,
    tile_row_totals,
    tile_total,
)
from fastconv.backends.numba.simd import Tile
from fastconv.machine import Machine, get_machine
from fastconv.problem import AdaptivePoolProblem

# Sums that run beside each other, to hide an addition's latency; added by halves at the end.
VECTORS = 4
SOURCE, PLANES, CELLS, OUT, COUNTS = range(5)
# Planes of up to so many vectors are reduced side by side.
SMALL_VECTORS = 32


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
        vectors = 1 if _small(problem) else VECTORS
        steps = prod(problem.input_size) / (vectors * lanes) + np.log2(vectors * lanes) + 2
        return float(steps * np.finfo(problem.dtype).eps)

    def plan(self, problem: AdaptivePoolProblem, *parameters: Array | None) -> NativePlan:
        tile, cells = tile_for(problem.dtype), prod(problem.input_size)
        planes = problem.batch * problem.channels
        counts = np.ones(tile.lanes + 1, problem.dtype)
        counts[0] = cells
        if _small(problem):
            tile = dataclasses.replace(tile, rows=tile.lanes, vectors=1)
            address, items = whole_rows(tile, problem.kind), -(-planes // tile.lanes)
        else:
            tile = dataclasses.replace(tile, rows=1, vectors=VECTORS)
            address, items = whole(tile, problem.kind), planes
        words: list[Any] = [INPUT(0), planes, cells, OUTPUT, constant(counts)]
        seconds = self.cost(problem, get_machine()).seconds
        return NativePlan(problem, [Stage(address, items, words)], seconds=seconds)


def _small(problem: AdaptivePoolProblem) -> bool:
    """Whether planes are reduced side by side."""
    lanes = get_machine().lanes(problem.dtype)
    return prod(problem.input_size) <= SMALL_VECTORS * lanes and problem.channels >= lanes


@kernel
def whole(tile: Tile, kind: str):  # type: ignore[no-untyped-def]
    """Reduce planes: a work item is one of them."""
    dtype, size, columns = np.dtype(tile.dtype).type, tile.size, tile.columns
    largest = kind == "max"
    neutral, operation = (-np.inf, "max") if largest else (0.0, "sum")

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        cells = args[CELLS]
        results = array(args[OUT], (last,), dtype)
        for plane in range(first, last):
            start = args[SOURCE] + plane * cells * size
            values = tile_fill(tile, neutral)
            for done in range(0, cells, columns):
                values = tile_bring_first(
                    tile, values, operation, start + done * size, cells - done, neutral
                )
            total = tile_total(tile, values, operation)
            results[plane] = dtype(total if largest else total / cells)

    return body


@kernel
def whole_rows(tile: Tile, kind: str):  # type: ignore[no-untyped-def]
    """Reduce planes: a work item is as many of them as a vector has lanes."""
    size, lanes = tile.size, tile.lanes
    narrow = dataclasses.replace(tile, rows=1)
    largest = kind == "max"
    neutral, operation = (-np.inf, "max") if largest else (0.0, "sum")

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        cells = args[CELLS]
        for item in range(first, last):
            plane = item * lanes
            count = min(lanes, args[PLANES] - plane)
            start = args[SOURCE] + plane * cells * size
            values = tile_fill(tile, neutral)
            for done in range(0, cells, lanes):
                values = tile_bring_rows(
                    tile, values, operation, start + done * size, cells * size, count - 1,
                    cells - done, neutral,
                )  # fmt: skip
            totals = tile_row_totals(narrow, values, operation)
            if not largest:
                totals = tile_divide(narrow, totals, args[COUNTS], args[COUNTS] + size)
            place, counts = args[OUT] + plane * size, beside(narrow, count, 0)
            tile_store_masked(narrow, totals, place, 0, beside(narrow, 0, 0), counts, 1)

    return body
