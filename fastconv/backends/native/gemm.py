"""The one GEMM: register tiles over rows that tables of offsets find, columns packed in panels.

Direct convolution, im2col, Winograd and linear feed the same tile in different ways:

    out[row, column] = epilogue(sum over taps t, then k of A[row, t, k] * B[t, k, column])

with A[row, t] contiguous at ``a + rows[row] + taps[t]``. Sums run over t and k in order, whatever
the tile, the batch or the thread, so that the bits of an output element never change.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.manifest.products import Gemm as GemmArgs
from fastconv.backends.manifest.tiles import tiles_of
from fastconv.backends.native.items import LEAST_ITEMS, part_of
from fastconv.backends.native.library import Library, cached
from fastconv.backends.native.plan import SCRATCH, Packed, Slot, constant, scratch_stride
from fastconv.backends.native.tile import Tile
from fastconv.machine import Machine, get_machine
from fastconv.problem import Activation
from fastconv.problem.record import record, replaced

_INF = float("inf")
# Elements of weights that are looked at together.
_PART = 1 << 16
CLAMPS: dict[str, tuple[float, float, float]] = {
    "relu": (1.0, 0.0, _INF),
    "relu6": (1.0, 0.0, 6.0),
}


def tile_for(
    library: Library,
    dtype: np.dtype[Any],
    machine: Machine | None = None,
    columns: int | None = None,
) -> Tile:
    """Return the register tile for a dtype at the instruction set in force.

    Few ``columns`` take one vector of them: more would be zeros.
    """
    # What is in force now may be another one at the next call: it is part of what is looked up.
    return _tile_for(library, dtype, machine or get_machine(), columns)


@cached
def _tile_for(
    library: Library, dtype: np.dtype[Any], machine: Machine, columns: int | None
) -> Tile:
    tile = library.tile(dtype, machine)
    if columns is None:
        return tile
    return dataclasses.replace(tile, vectors=min(tile.vectors, -(-columns // tile.lanes)))


def vector_tile(tile: Tile) -> Tile:
    """Return the tile of one vector: what kernels that see no register tile are compiled for."""
    return dataclasses.replace(tile, rows=1, vectors=1)


@cached
def fitting_tile(
    library: Library, dtype: np.dtype[Any], machine: Machine, rows: int, columns: int
) -> Tile:
    """Return the register tile that covers so many rows and columns with the least waste.

    Columns that one vector holds take no more: the rest would be zeros.
    """
    tiles = tiles_of(machine.isa)
    few = columns <= machine.lanes(dtype)
    shapes = shaped_tiles(library, dtype, machine, tiles.narrow if few else tiles.products)

    def steps(tile: Tile) -> float:
        covered = -(-rows // tile.rows) * tile.rows * -(-columns // tile.columns) * tile.columns
        return covered * tile_steps(tile)

    return min(shapes, key=steps)


@cached
def shaped_tiles(
    library: Library, dtype: np.dtype[Any], machine: Machine, shapes: tuple[tuple[int, int], ...]
) -> tuple[Tile, ...]:
    """Return register tiles of so many rows and vectors."""
    widest = tile_for(library, dtype, machine)
    return tuple(replaced(widest, rows=rows, vectors=vectors) for rows, vectors in shapes)


def tile_steps(tile: Tile) -> float:
    """Time of a multiply-add in a tile, 1 at the peak: its loads, as measured, cost a little."""
    return 0.97 + 0.1 * (tile.vectors + 0.6 * tile.rows) / (tile.rows * tile.vectors)


def fused(activation: Activation | None) -> bool:
    """Return whether the GEMM's epilogue does an activation by itself."""
    names = (*CLAMPS, "leaky_relu", "hardtanh", "hardswish")
    return activation is None or activation.name in names


def clamp(activation: Activation | None) -> dict[str, Any]:
    """Return an activation as an argument block's fields: slope, low and high.

    Hard swish is a scale, an infinite ``low``, which no clamp has below another ``high``, and a
    shift.
    """
    slope, low, high = 1.0, -_INF, _INF
    if activation is not None and activation.name == "leaky_relu":
        slope = activation.parameters[0]
    elif activation is not None and activation.name == "hardtanh":
        low, high = activation.parameters
    elif activation is not None and activation.name == "hardswish":
        # A sum with -0 leaves -0 as it is.
        slope, low, high = activation.parameters[0], _INF, activation.parameters[1] or -0.0
    elif activation is not None and activation.name in CLAMPS:
        slope, low, high = CLAMPS[activation.name]
    return {"slope": slope, "low": low, "high": high}


def flush(weights: Array) -> Array:
    """Set subnormals to zero: they would slow every multiplication 40 to 100 times."""
    if weights.dtype.kind == "f":
        least = np.finfo(weights.dtype).tiny
        # Parts that stay in a cache, and take no memory as large as the weights.
        whole = weights.reshape(-1) if weights.flags.c_contiguous else weights
        for start in range(0, len(whole), _PART):
            part = whole[start : start + _PART]
            part[np.abs(part) < least] = 0
    return weights


@record(frozen=True)
class Gemm:
    """One GEMM over images and groups, as the kernel's argument block describes it.

    Offsets and strides are bytes. ``b`` is panels (group, panel, tap, k, column).
    """

    a: Slot
    a_image: int
    a_group: int
    rows: Array
    taps: Array
    depth: int
    b: Packed
    bias: Packed
    out: Slot
    out_image: int
    out_group: int
    out_rows: Array
    out_column: int
    residual: Slot | int
    activation: Activation | None
    columns: int
    groups: int

    def arguments(self, tile: Tile, scratch_bytes: int) -> GemmArgs:
        """Return the argument block."""
        return GemmArgs(**self.fields(tile, scratch_bytes))

    def fields(self, tile: Tile, scratch_bytes: int) -> dict[str, Any]:
        """Return the fields of the argument block, for kernels that have more."""
        row_block, panel_block = blocking(len(self.rows), self.columns, tile)
        tables = [constant(t, np.int64) for t in (self.rows, self.taps, self.out_rows)]
        activation = self.activation if fused(self.activation) else None
        return {
            "a": self.a, "a_image": self.a_image, "a_group": self.a_group, "rows": tables[0],
            "taps": tables[1], "tap_count": len(self.taps), "depth": self.depth, "b": self.b,
            "bias": self.bias, "out": self.out, "out_image": self.out_image,
            "out_group": self.out_group, "out_rows": tables[2], "out_column": self.out_column,
            "residual": self.residual, **clamp(activation), "row_count": len(self.rows),
            "column_count": self.columns, "groups": self.groups, "row_block": row_block,
            "panel_block": panel_block, "scratch_base": SCRATCH,
            "scratch_stride": scratch_stride(scratch_bytes),
        }  # fmt: skip

    def items(self, images: int, tile: Tile) -> int:
        """Count the work items: images x groups x row blocks x panel blocks."""
        return images * self.groups * block_count(len(self.rows), self.columns, tile)


def block_count(rows: int, columns: int, tile: Tile) -> int:
    """Count the row blocks x panel blocks of one group of an image."""
    row_block, panel_block = blocking(rows, columns, tile)
    panels = -(-columns // tile.columns)
    return -(-rows // row_block) * -(-panels // panel_block)


def blocking(rows: int, columns: int, tile: Tile) -> tuple[int, int]:
    """Rows and panels of one work item: by the image alone, never by batch or threads."""
    panels, row_tiles = -(-columns // tile.columns), -(-rows // tile.rows)
    row_block = min(8, row_tiles)
    row_blocks = -(-row_tiles // row_block)
    panel_block = panels if row_blocks >= 16 else max(1, -(-panels // 4))
    if row_blocks * -(-panels // panel_block) < LEAST_ITEMS:
        panel_block = part_of(panels, row_blocks)
        row_block = min(row_block, part_of(row_tiles, -(-panels // panel_block)))
    return row_block * tile.rows, panel_block


def scratch_bytes(tile: Tile) -> int:
    """Bytes of scratch memory that a worker needs for tiles that cannot be stored as they are."""
    return tile.rows * tile.columns * tile.size
