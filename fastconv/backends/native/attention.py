"""Scaled dot product attention: scores, softmax and weighted values by blocks of queries.

Keys and values are packed into panels as `matmul`'s right matrices are: into a worker's memory
where there are entries enough to share out, else by stages of their own.
"""

from __future__ import annotations

from math import prod
from typing import Any

from fastconv.backends.base import Array, Cost
from fastconv.backends.manifest.products import Attention as AttentionArgs
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.arena import rounded
from fastconv.backends.native.bounds import sum_bound
from fastconv.backends.native.conv.common import unit
from fastconv.backends.native.items import LEAST_ITEMS, part_of
from fastconv.backends.native.library import Library
from fastconv.backends.native.matmul import (
    PACKED,
    PackedRight,
    covered,
    matmul_tile,
    out_places,
    product_tile,
)
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    WORKSPACE,
    NativePlan,
    Stage,
    constant,
    scratch_stride,
)
from fastconv.backends.native.tile import Tile
from fastconv.machine import Machine, get_machine
from fastconv.problem import AttentionProblem

# Register tiles of queries in a block at most, and the parts of the second cache that scores, and
# keys and values, may take.
BLOCK_TILES = 8
SCORE_ROOM, PANEL_ROOM = 4, 2
# Operations of one score's exponential.
EXPONENTIAL = 30


class Attention(NativeAlgorithm):
    """Blocks of queries, whose scores stay in the second cache."""

    name = "blocked"

    def why_not(self, problem: AttentionProblem) -> str | None:
        if problem.mask is not None and problem.mask.steps[-1] not in (0, 1):
            return "a mask whose keys are apart: this kernel reads rows of it"
        return super().why_not(problem)

    def error_bound(self, problem: AttentionProblem) -> float:
        """Statistical bound of the sums in order (see `sum_bound`)."""
        return sum_bound(problem.sum_length, unit(problem.dtype))

    def cost(self, problem: AttentionProblem, machine: Machine) -> Cost:
        tile = _tile(self.library, problem, machine)
        scores = prod(problem.lengths) * problem.queries * problem.keys
        products = covered(tile, problem.queries, _columns(problem))
        flops = 2 * prod(problem.lengths) * products + scores * EXPONENTIAL
        seconds = flops / machine.peak_flops(problem.dtype)
        return Cost(seconds + 1.5 * problem.bytes / machine.memory_bandwidth)

    def plan(self, problem: AttentionProblem, *parameters: Array | None) -> NativePlan:
        machine = get_machine()
        tile = _tile(self.library, problem, machine)
        size, lengths, entries = tile.size, problem.lengths, prod(problem.lengths)
        keys, width, values = problem.keys, problem.width, problem.value_width
        key_panels = -(-keys // tile.columns) * tile.columns * width * size
        value_panels = -(-values // tile.columns) * tile.columns * keys * size
        score_row = -(-keys // tile.columns) * tile.columns * size
        row_tiles = -(-problem.queries // tile.rows)
        fitting = machine.l2_bytes // SCORE_ROOM // max(1, score_row * tile.rows)
        block = max(1, min(BLOCK_TILES, row_tiles, fitting))
        item = row_tiles
        key, value, mask = problem.key, problem.value, problem.mask
        key_places, value_places = (m.places(lengths) * size for m in (key, value))
        alone = entries >= LEAST_ITEMS and (
            key_panels + value_panels <= machine.l2_bytes // PANEL_ROOM
        )
        stages: list[Stage] = []
        workspace, sources, key_step = 0, [INPUT(1), INPUT(2)], key.steps[-1] * size
        if not alone and (row_tiles > 1 or entries < LEAST_ITEMS):
            item = block = min(block, part_of(row_tiles, entries))
            packed = [
                PackedRight.of(self.library, tile, key.transposed(), lengths, width, keys),
                PackedRight.of(self.library, tile, value, lengths, keys, values),
            ]
            for number, each in enumerate(packed):
                stages.append(each.stage(sources[number], WORKSPACE + workspace))
                sources[number] = WORKSPACE + workspace
                workspace += rounded(each.nbytes)
            key_places, value_places, key_step = packed[0].places, packed[1].places, PACKED
        block *= tile.rows
        # The last of it is a register tile.
        scratch = rounded(block * size) + rounded(block * score_row)
        scratch += rounded(tile.rows * tile.columns * size)
        scratch += rounded(block * width * size) if problem.query.steps[-1] != 1 else 0
        scratch += rounded(key_panels) + rounded(value_panels) if key_step != PACKED else 0
        mask_places: Any = [] if mask is None else mask.places(lengths) * size
        mask_steps = (0, 0) if mask is None else mask.steps[-2:]
        causal = keys if problem.causal is None else problem.causal
        query_row, query_step = problem.query.steps[-2:]
        value_row, value_step = value.steps[-2:]
        arguments = AttentionArgs(
            query=INPUT(0), key=sources[0], value=sources[1],
            mask=0 if mask is None else INPUT(3), out=OUTPUT,
            query_places=constant(problem.query.places(lengths) * size),
            key_places=constant(key_places), value_places=constant(value_places),
            mask_places=constant(mask_places), out_places=constant(out_places(problem, size)),
            queries=problem.queries, keys=keys, key_width=width, value_width=values,
            query_row=query_row * size, query_step=query_step * size,
            key_row=key.steps[-2] * size, key_step=key_step, value_row=value_row * size,
            value_step=value_step * size, mask_row=mask_steps[0] * size,
            mask_step=mask_steps[1] * size, out_row=problem.target[-1] * size,
            item_queries=item * tile.rows, query_block=block, scale=problem.scale, causal=causal,
            zeros=int(problem.zeros), scratch_base=SCRATCH,
            scratch_stride=scratch_stride(scratch),
        )  # fmt: skip
        kernel = self.library.kernel("attention", tile)
        stages.append(Stage(kernel, entries * -(-row_tiles // item), arguments))
        return self.native_plan(problem, stages, workspace_bytes=workspace, scratch_bytes=scratch)


def _tile(library: Library, problem: AttentionProblem, machine: Machine) -> Tile:
    columns = _columns(problem)
    if problem.queries == 1:
        return matmul_tile(library, problem.dtype, machine, 1, max(columns, default=1))
    return product_tile(library, problem.dtype, machine, problem.queries, columns)


def _columns(problem: AttentionProblem) -> dict[int, int]:
    """Return the columns of both products, with the depths that they are for."""
    found = {problem.keys: problem.width}
    found[problem.value_width] = found.get(problem.value_width, 0) + problem.keys
    return found
