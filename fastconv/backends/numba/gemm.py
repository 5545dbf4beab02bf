"""The one GEMM: register tiles over rows that tables of offsets find, columns packed in panels.

Direct convolution, im2col, Winograd and linear feed the same tile in different ways:

    out[row, column] = epilogue(sum over taps t, then k of A[row, t, k] * B[t, k, column])

with A[row, t] contiguous at ``a + rows[row] + taps[t]``. Sums run over t and k in order, whatever
the tile, the batch or the thread, so that the bits of an output element never change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.native.plan import Constant, constant
from fastconv.backends.numba import library
from fastconv.backends.numba.engine import Slot, array, as_float, float_bits, inlined, kernel, part
from fastconv.backends.numba.simd import (
    Tile,
    tile_add,
    tile_add_row,
    tile_addresses,
    tile_bound,
    tile_multiply_add,
    tile_scale_negative,
    tile_store,
    tile_strided,
    tile_zero,
)
from fastconv.backends.numba.transpose import tile_add_columns, tile_store_columns
from fastconv.machine import Machine, get_machine
from fastconv.problem import Activation

# The epilogue's words in a block: bias panels, residual, slope, low, high.
EPILOGUE_WORDS = 5
_INF = float("inf")
CLAMPS: dict[str, tuple[float, float, float]] = {
    "relu": (1.0, 0.0, _INF),
    "relu6": (1.0, 0.0, 6.0),
}


def tile_for(
    dtype: np.dtype[Any], machine: Machine | None = None, columns: int | None = None
) -> Tile:
    """Give the register tile for a dtype at the instruction set in force.

    Few ``columns`` take one vector of them: more would be zeros.
    """
    tile = library.tile(dtype, machine or get_machine())
    if columns is None:
        return tile
    return dataclasses.replace(tile, vectors=min(tile.vectors, -(-columns // tile.lanes)))


def vector_tile(tile: Tile) -> Tile:
    """Give the tile of one vector: what kernels that see no register tile are compiled for."""
    return dataclasses.replace(tile, rows=1, vectors=1)


def fitting_tile(dtype: np.dtype[Any], machine: Machine, rows: int, columns: int) -> Tile:
    """Give the register tile that covers so many rows and columns with the least waste."""
    shapes = shaped_tiles(dtype, machine, machine.figures.row_tiles)

    def steps(tile: Tile) -> float:
        covered = -(-rows // tile.rows) * tile.rows * -(-columns // tile.columns) * tile.columns
        return covered * tile_steps(tile)

    return min(shapes, key=steps)


def shaped_tiles(
    dtype: np.dtype[Any], machine: Machine, shapes: Iterable[tuple[int, int]]
) -> list[Tile]:
    """Give register tiles of so many rows and vectors."""
    widest = tile_for(dtype, machine)
    return [dataclasses.replace(widest, rows=rows, vectors=vectors) for rows, vectors in shapes]


def tile_steps(tile: Tile) -> float:
    """Time of a multiply-add in a tile, 1 at the peak: its loads, as measured, cost a little."""
    return 0.97 + 0.1 * (tile.vectors + 0.6 * tile.rows) / (tile.rows * tile.vectors)


def fused(activation: Activation | None) -> bool:
    """Tell whether the GEMM's epilogue does an activation by itself."""
    return activation is None or activation.name in (*CLAMPS, "leaky_relu", "hardtanh")


def clamp_words(activation: Activation | None) -> tuple[int, int, int]:
    """Give an activation as slope, low and high, as an argument block holds them."""
    slope, low, high = 1.0, -_INF, _INF
    if activation is not None and activation.name == "leaky_relu":
        slope = activation.parameters[0]
    elif activation is not None and activation.name == "hardtanh":
        low, high = activation.parameters
    elif activation is not None and activation.name in CLAMPS:
        slope, low, high = CLAMPS[activation.name]
    return float_bits(slope), float_bits(low), float_bits(high)


def flush(weights: Array) -> Array:
    """Set subnormals to zero: they would slow every multiplication 40 to 100 times."""
    if weights.dtype.kind == "f":
        weights[np.abs(weights) < np.finfo(weights.dtype).tiny] = 0
    return weights


def pack_panels(matrix: Array, tile: Tile) -> Array:
    """Pack matrices (..., k, columns) into panels (..., panel, k, tile columns), zeros after."""
    *lead, depth, columns = matrix.shape
    panels = -(-columns // tile.columns)
    packed = np.zeros((*lead, depth, panels * tile.columns), tile.dtype)
    packed[..., :columns] = matrix
    flush(packed)
    split = packed.reshape(*lead, depth, panels, tile.columns)
    return np.ascontiguousarray(np.swapaxes(split, -3, -2))


def pack_bias(bias: Array | None, groups: int, columns: int, tile: Tile) -> Array:
    """Pack a bias into panels (group, panel, tile columns), zeros where there is none."""
    panels = -(-columns // tile.columns)
    packed = np.zeros((groups, panels * tile.columns), tile.dtype)
    if bias is not None:
        packed[:, :columns] = bias.reshape(groups, columns)
    return packed


# Words of a GEMM's argument block.
(A, A_IMAGE, A_GROUP, ROWS, TAPS, TAP_COUNT, DEPTH, B, BIAS, OUT, OUT_IMAGE, OUT_GROUP, OUT_ROWS,
 OUT_COLUMN, RESIDUAL, SLOPE, LOW, HIGH, ROW_COUNT, COLUMN_COUNT, GROUPS, ROW_BLOCK, PANEL_BLOCK,
 SCRATCH_BASE, SCRATCH_STRIDE) = range(25)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Gemm:
    """One GEMM over images and groups, as the kernel's argument block describes it.

    Offsets and strides are bytes. ``b`` holds panels (group, panel, tap, k, column) flattened.
    """

    a: Slot
    a_image: int
    a_group: int
    rows: Array
    taps: Array
    depth: int
    b: Array
    bias: Array
    out: Slot
    out_image: int
    out_group: int
    out_rows: Array
    out_column: int
    residual: Slot | int
    activation: Activation | None
    columns: int
    groups: int

    def words(self, tile: Tile, scratch: Slot, scratch_stride: int) -> list[Any]:
        """Give the argument block."""
        row_block, panel_block = blocking(len(self.rows), self.columns, tile)
        tables = [constant(t, np.int64) for t in (self.rows, self.taps, self.out_rows)]
        activation = self.activation if fused(self.activation) else None
        words: list[int | Slot | Constant] = [
            self.a, self.a_image, self.a_group, tables[0], tables[1], len(self.taps), self.depth,
            constant(self.b), constant(self.bias), self.out, self.out_image, self.out_group,
            tables[2], self.out_column, self.residual, *clamp_words(activation), len(self.rows),
            self.columns, self.groups, row_block, panel_block, scratch, scratch_stride,
        ]  # fmt: skip
        return words

    def items(self, images: int, tile: Tile) -> int:
        """Count the work items: images x groups x row blocks x panel blocks."""
        row_block, panel_block = blocking(len(self.rows), self.columns, tile)
        panels = -(-self.columns // tile.columns)
        return images * self.groups * -(-len(self.rows) // row_block) * -(-panels // panel_block)


def blocking(rows: int, columns: int, tile: Tile) -> tuple[int, int]:
    """Rows and panels of one work item: by the image alone, never by batch or threads."""
    panels = -(-columns // tile.columns)
    row_block = min(8 * tile.rows, -(-rows // tile.rows) * tile.rows)
    enough = -(-rows // row_block) >= 16
    return row_block, panels if enough else max(1, -(-panels // 4))


def scratch_bytes(tile: Tile) -> int:
    """Bytes of scratch memory that a worker needs for tiles that cannot be stored as they are."""
    return tile.rows * tile.columns * tile.size


def make_activate(tile: Tile) -> Callable[..., Any]:
    """Make the function that does the activations of `clamp_words`: nothing, if none is asked.

    Integers have none: what carries them does theirs after the last stage.
    """
    if tile.dtype == "int64":
        return part(lambda values, slope, low, high: values)  # type: ignore[no-any-return]

    @inlined
    def activate(values, slope, low, high):  # type: ignore[no-untyped-def]
        if slope != 1.0:
            values = tile_scale_negative(tile, values, slope)
        if low != -np.inf or high != np.inf:
            values = tile_bound(tile, values, low, high)
        return values

    return activate  # type: ignore[no-any-return]


def make_finish(tile: Tile) -> Callable[..., None]:
    """Make the function that does a tile's epilogue and stores what of it is inside the output."""
    dtype = np.dtype(tile.dtype).type
    size, rows, columns = tile.size, tile.rows, tile.columns
    wide = columns * size
    by_columns = 1 < rows <= tile.lanes
    activate = make_activate(tile)

    @inlined
    def finish(  # type: ignore[no-untyped-def]
        values, bias, out, residual, out_rows, out_column, row, row_count, column, column_count,
        slope, low, high, scratch,
    ):  # fmt: skip
        values = tile_add_row(tile, values, bias)
        shift = column * out_column
        valid_rows = min(rows, row_count - row)
        valid_columns = min(columns, column_count - column)
        if out_column == size and valid_rows == rows and valid_columns == columns:
            if residual != 0:
                places = tile_addresses(tile, residual + shift, out_rows, row, row_count)
                values = tile_add(tile, values, places)
            values = activate(values, slope, low, high)
            places = tile_addresses(tile, out + shift, out_rows, row, row_count)
            tile_store(tile, values, places)
            return
        table = array(out_rows, (row_count,), np.int64)
        spread = table[row + valid_rows - 1] - table[row]
        together = spread == (valid_rows - 1) * size
        if by_columns and together:
            start = table[row] + shift
            if residual != 0:
                values = tile_add_columns(
                    tile, values, residual + start, out_column, valid_rows, valid_columns
                )
            values = activate(values, slope, low, high)
            tile_store_columns(tile, values, out + start, out_column, valid_rows, valid_columns)
            return
        buffer = array(scratch, (rows, columns), dtype)
        places = tile_strided(tile, scratch, wide)
        if residual != 0:
            buffer[:, :] = 0
            for r in range(valid_rows):
                base = residual + table[row + r] + shift
                for c in range(valid_columns):
                    buffer[r, c] = array(base + c * out_column, (1,), dtype)[0]
            values = tile_add(tile, values, places)
        values = activate(values, slope, low, high)
        tile_store(tile, values, places)
        for c in range(valid_columns):
            base = out + shift + c * out_column
            for r in range(valid_rows):
                array(base + table[row + r], (1,), dtype)[0] = buffer[r, c]

    return finish  # type: ignore[no-any-return]


def make_block(tile: Tile) -> Callable[..., None]:
    """Make the function that multiplies a block of rows with a block of panels."""
    size, columns, rows = tile.size, tile.columns, tile.rows
    finish = make_finish(tile)

    @part
    def block(  # type: ignore[no-untyped-def]
        args, a, b, bias, out, residual, first_row, last_row, first_panel, last_panel, scratch
    ):
        tap_count, depth, row_count = args[TAP_COUNT], args[DEPTH], args[ROW_COUNT]
        taps = array(args[TAPS], (tap_count,), np.int64)
        step = depth * columns * size
        slope, low, high = as_float(args[SLOPE]), as_float(args[LOW]), as_float(args[HIGH])
        for panel in range(first_panel, last_panel):
            for row in range(first_row, last_row, rows):
                values = tile_zero(tile)
                addresses = tile_addresses(tile, a, args[ROWS], row, row_count)
                weights = b + panel * tap_count * step
                for t in range(tap_count):
                    values = tile_multiply_add(tile, values, addresses, taps[t], weights, depth)
                    weights += step
                finish(
                    values, bias + panel * columns * size, out, residual, args[OUT_ROWS],
                    args[OUT_COLUMN], row, row_count, panel * columns, args[COLUMN_COUNT],
                    slope, low, high, scratch,
                )  # fmt: skip

    return block  # type: ignore[no-any-return]


@kernel
def gemm(tile: Tile):  # type: ignore[no-untyped-def]
    """Multiply: a work item is a block of rows and panels of one group of one image."""
    block = make_block(tile)
    size, columns = tile.size, tile.columns

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        panels = (args[COLUMN_COUNT] + columns - 1) // columns
        row_block, panel_block = args[ROW_BLOCK], args[PANEL_BLOCK]
        row_blocks = (args[ROW_COUNT] + row_block - 1) // row_block
        panel_blocks = (panels + panel_block - 1) // panel_block
        scratch = args[SCRATCH_BASE] + worker * args[SCRATCH_STRIDE]
        panel_bytes = args[TAP_COUNT] * args[DEPTH] * columns * size
        for item in range(first, last):
            rest, p = divmod(item, panel_blocks)
            rest, r = divmod(rest, row_blocks)
            image, group = divmod(rest, args[GROUPS])
            shift = image * args[OUT_IMAGE] + group * args[OUT_GROUP]
            residual = args[RESIDUAL]
            if residual != 0:
                residual += shift
            block(
                args,
                args[A] + image * args[A_IMAGE] + group * args[A_GROUP],
                args[B] + group * panels * panel_bytes,
                args[BIAS] + group * panels * columns * size,
                args[OUT] + shift,
                residual,
                r * row_block,
                min((r + 1) * row_block, args[ROW_COUNT]),
                p * panel_block,
                min((p + 1) * panel_block, panels),
                scratch,
            )

    return body
