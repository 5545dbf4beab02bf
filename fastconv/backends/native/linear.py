"""The fully connected layer: rows times packed weight panels, on the one GEMM."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fastconv.backends.base import Cost
from fastconv.backends.native.conv.common import NativeConv
from fastconv.backends.native.gemm import Gemm, scratch_bytes, tile_for
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import INPUT, OUTPUT, NativePlan, Stage
from fastconv.backends.native.tile import Tile
from fastconv.backends.native.weights import packed_bias, packed_panels, packing_seconds
from fastconv.machine import Machine
from fastconv.problem import LinearProblem

# Vectors of a one-row tile: enough sums at once to hide the latency of a multiply-add.
ROW_VECTORS = 4
# Multiply-adds with zeros that a row may do rather than have one more kernel compiled.
SPARE_STEPS = 4096


class Linear(NativeConv):
    """One GEMM; a single row has a tile of its own, since it is bound by reading the weights.

    Every sum runs over the features in order in either tile: a row's bits do not depend on the
    other rows.
    """

    name = "direct"

    def cost(self, problem: LinearProblem, machine: Machine) -> Cost:
        tile = _tile(self.library, problem, machine)
        rows = -(-problem.batch // tile.rows) * tile.rows
        columns = -(-problem.out_features // tile.columns) * tile.columns
        flops = 2 * rows * columns * problem.in_features
        seconds = flops / machine.peak_flops(problem.dtype)
        seconds += problem.bytes / machine.memory_bandwidth
        return Cost(seconds, packing_seconds=packing_seconds(problem, machine))

    def geometry(self, problem: LinearProblem) -> NativePlan:
        tile = _tile(self.library, problem)
        size = tile.size
        places: Any = np.arange(problem.batch)
        panels = {"groups": 1, "columns": problem.out_features, "width": tile.columns}
        job = Gemm(
            a=INPUT(0),
            a_image=0,
            a_group=0,
            rows=places * problem.in_features * size,
            taps=np.zeros(1, np.int64),
            depth=problem.in_features,
            b=packed_panels(self.library, tile.dtype, channels=problem.in_features, **panels),
            bias=packed_bias(self.library, tile.dtype, **panels),
            out=OUTPUT,
            out_image=0,
            out_group=0,
            out_rows=places * problem.out_features * size,
            out_column=size,
            residual=0,
            activation=problem.activation,
            columns=problem.out_features,
            groups=1,
        )
        scratch = scratch_bytes(tile)
        arguments = job.arguments(tile, scratch)
        stage = Stage(self.library.kernel("gemm", tile), job.items(1, tile), arguments)
        return self.native_plan(problem, [stage], workspace_bytes=0, scratch_bytes=scratch)


def _tile(library: Library, problem: LinearProblem, machine: Machine | None = None) -> Tile:
    tile = tile_for(library, problem.dtype, machine, problem.out_features)
    if problem.batch > 1:
        return tile
    needed = min(ROW_VECTORS, -(-problem.out_features // tile.lanes))
    spare = (ROW_VECTORS - needed) * problem.in_features
    vectors = ROW_VECTORS if spare <= SPARE_STEPS else needed
    return dataclasses.replace(tile, rows=1, vectors=vectors)
