"""Products of batches of matrices: the right ones are packed into panels by the kernel.

An entry's right matrix is packed into the worker's own memory where there are entries enough to
share out and it fits a part of the second cache; else a stage of its own packs all of them. Rows on
the left are read where they are, unless their elements are apart: then they are packed by blocks.
Sums run over the depth in order whatever is packed, so that the bits never depend on it.
"""

from __future__ import annotations

import dataclasses
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array, Cost
from fastconv.backends.manifest.products import Matmul as MatmulArgs
from fastconv.backends.manifest.products import PackMatrix
from fastconv.backends.manifest.tiles import tiles_of
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.arena import rounded
from fastconv.backends.native.bounds import sum_bound
from fastconv.backends.native.conv.common import unit
from fastconv.backends.native.gemm import shaped_tiles, tile_for, tile_steps
from fastconv.backends.native.items import LEAST_ITEMS, part_of
from fastconv.backends.native.library import Library
from fastconv.backends.native.linear import ROW_VECTORS
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    WORKSPACE,
    NativePlan,
    Slot,
    Stage,
    constant,
    scratch_stride,
)
from fastconv.backends.native.tile import Tile
from fastconv.machine import Machine, get_machine
from fastconv.problem import MatmulProblem
from fastconv.problem.matmul import Matrices
from fastconv.problem.record import record

# In the place of a step, which is not an odd number of bytes.
PACKED = -1
# Register tiles of rows in an item whose panels are packed, and those that are done side by side:
# few, so that rows of the product are written from end to end.
BLOCK_TILES = 8
TOGETHER = 2
# How much longer one column of a tile of one vector takes than one of the whole tile.
NARROW_COST = 1.2
# The part of the second cache that a packed right matrix may take.
ROOM = 3


class Matmul(NativeAlgorithm):
    """One register tile over rows of the left matrix and panels of the right one."""

    name = "packed"

    def error_bound(self, problem: MatmulProblem) -> float:
        """Statistical bound of a sum in order (see `sum_bound`)."""
        return sum_bound(problem.sum_length, unit(problem.dtype))

    def cost(self, problem: MatmulProblem, machine: Machine) -> Cost:
        tile = matmul_tile(self.library, problem.dtype, machine, problem.rows, problem.columns)
        products = covered(tile, problem.rows, {problem.columns: problem.depth})
        flops = 2 * prod(problem.lengths) * products
        seconds = flops / machine.peak_flops(problem.dtype)
        return Cost(seconds + 1.5 * problem.bytes / machine.memory_bandwidth)

    def plan(self, problem: MatmulProblem, *parameters: Array | None) -> NativePlan:
        machine = get_machine()
        tile = matmul_tile(self.library, problem.dtype, machine, problem.rows, problem.columns)
        size, lengths, right = tile.size, problem.lengths, problem.right
        panels = -(-problem.columns // tile.columns)
        panel_bytes = problem.depth * tile.columns * size
        entries, row_tiles = prod(lengths), -(-problem.rows // tile.rows)
        *_, left_row, left_depth = (step * size for step in problem.left.steps)
        *_, right_depth, right_column = (step * size for step in right.steps)
        rows, columns = problem.rows, problem.columns
        row_block = min(TOGETHER, row_tiles) * tile.rows
        item_rows, panel_block = row_tiles * tile.rows, panels
        # Few rows read the right matrix in place: packing it would take as long as they do.
        direct = right_column == size and row_tiles == 1
        alone = entries >= LEAST_ITEMS and panels * panel_bytes <= machine.l2_bytes // ROOM
        stages: list[Stage] = []
        workspace, source = 0, INPUT(1)
        right_places = right.places(lengths) * size
        if direct or row_tiles == 1:
            # A panel is packed for one tile of rows, so that no two items pack the same.
            panel_block = min(panels, max(1, part_of(panels, entries)))
        elif not alone:
            item_rows, panel_block = shared_blocks(row_tiles, panels, entries)
            item_rows, row_block = item_rows * tile.rows, min(row_block, item_rows * tile.rows)
            packed = PackedRight.of(self.library, tile, right, lengths, problem.depth, columns)
            stages.append(packed.stage(INPUT(1), WORKSPACE))
            workspace, source = packed.nbytes, WORKSPACE
            right_places, right_depth = packed.places, PACKED
        apart = left_depth != size
        scratch = rounded(tile.rows * tile.columns * size)
        scratch += rounded(row_block * problem.depth * size) if apart else 0
        scratch += 0 if right_depth == PACKED else panel_block * panel_bytes
        arguments = MatmulArgs(
            left=INPUT(0), right=source, out=OUTPUT,
            left_places=constant(problem.left.places(lengths) * size),
            right_places=constant(right_places), out_places=constant(out_places(problem, size)),
            rows=rows, depth=problem.depth, columns=columns, left_row=left_row,
            left_depth=left_depth, right_depth=right_depth, right_column=right_column,
            out_row=problem.target[-1] * size, item_rows=item_rows, row_block=row_block,
            panel_block=panel_block, scale=problem.scale, direct=int(direct),
            scratch_base=SCRATCH, scratch_stride=scratch_stride(scratch),
        )  # fmt: skip
        items = entries * -(-rows // item_rows) * -(-panels // panel_block)
        stages.append(Stage(self.library.kernel("matmul", tile), items, arguments))
        return self.native_plan(problem, stages, workspace_bytes=workspace, scratch_bytes=scratch)


def matmul_tile(
    library: Library, dtype: np.dtype[Any], machine: Machine, rows: int, columns: int
) -> Tile:
    """Return the register tile for so many rows and columns; one row has a tile of its own."""
    if rows > 1:
        return product_tile(library, dtype, machine, rows, {columns: 1})
    tile = tile_for(library, dtype, machine)
    needed = min(ROW_VECTORS, max(1, -(-columns // tile.lanes)))
    return dataclasses.replace(tile, rows=1, vectors=needed)


def product_tile(
    library: Library, dtype: np.dtype[Any], machine: Machine, rows: int, columns: dict[int, int]
) -> Tile:
    """Return the register tile of the least time for products of so many columns, times a depth.

    A last panel that one vector holds takes little more than its part of the time. Tiles of one
    vector are for columns that one holds: they have more rows than there are registers for places.
    """
    known, lanes = tiles_of(machine.isa), machine.lanes(dtype)
    few = max(columns, default=1) <= lanes
    wide = tuple(shape for shape in known.products if shape[1] > 1)
    tiles = shaped_tiles(library, dtype, machine, known.narrow if few else wide)
    return min(tiles, key=lambda tile: covered(tile, rows, columns) * tile_steps(tile))


def covered(tile: Tile, rows: int, columns: dict[int, int]) -> float:
    """Count the multiply-adds of whole register tiles for so many columns, times a depth."""
    total = 0.0
    for count, depth in columns.items():
        whole, rest = divmod(count, tile.columns)
        last = NARROW_COST * tile.lanes if 0 < rest <= tile.lanes else tile.columns * (rest > 0)
        total += (whole * tile.columns + last) * depth
    return -(-rows // tile.rows) * tile.rows * total


def shared_blocks(row_tiles: int, panels: int, others: int) -> tuple[int, int]:
    """Return the register tiles of rows, and the panels, of an item whose panels are packed.

    Of the problem alone, never of threads.
    """
    row_block = min(BLOCK_TILES, row_tiles)
    row_blocks = others * -(-row_tiles // row_block)
    panel_block = panels if row_blocks >= 16 else max(1, -(-panels // 4))
    if row_blocks * -(-panels // panel_block) < LEAST_ITEMS:
        panel_block = part_of(panels, row_blocks)
        row_block = min(row_block, part_of(row_tiles, others * -(-panels // panel_block)))
    return row_block, panel_block


def out_places(problem: Any, size: int) -> Array:
    """Return where each entry's product is stored, in bytes."""
    target = Matrices(problem.output, 0, (*problem.target, 1))
    found: Array = target.places(problem.lengths) * size
    return found


@record(frozen=True, eq=False)
class PackedRight:
    """All the right matrices as panels: those that entries share are packed once."""

    kernel: int
    sources: Array
    places: Array
    fields: dict[str, int]
    nbytes: int
    items: int

    @classmethod
    def of(
        cls,
        library: Library,
        tile: Tile,
        right: Matrices,
        lengths: tuple[int, ...],
        depth: int,
        columns: int,
    ) -> PackedRight:
        """Describe the panels of a tile's width, and where each entry's are."""
        size, panels = tile.size, -(-columns // tile.columns)
        sources, which = np.unique(right.places(lengths) * size, return_inverse=True)
        entry_bytes = panels * depth * tile.columns * size
        *_, depth_step, column_step = (step * size for step in right.steps)
        return cls(
            library.kernel("matmul.pack", tile.dtype), sources, which.reshape(-1) * entry_bytes,
            {
                "depth": depth, "columns": columns, "width": tile.columns,
                "depth_step": depth_step, "column_step": column_step,
            }, entry_bytes * len(sources), panels * len(sources),
        )  # fmt: skip

    def stage(self, source: Slot, target: Slot) -> Stage:
        """Return the stage that packs them."""
        places = constant(self.sources, np.int64)
        arguments = PackMatrix(source=source, target=target, places=places, **self.fields)
        return Stage(self.kernel, self.items, arguments)
