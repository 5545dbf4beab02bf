"""Pools with windows two columns apart, straight from the image to the outputs."""

from __future__ import annotations

import dataclasses
from typing import Any

from numba.core import types
from numba.extending import intrinsic

from fastconv.backends.manifest.pools import Halving
from fastconv.backends.native.pool.operations import OPERATIONS
from fastconv.backends.numba.engine import inlined, kernel
from fastconv.backends.numba.planar_simd import (
    beside,
    every,
    tile_fill,
    tile_store_at,
    tile_store_masked,
)
from fastconv.backends.numba.pool.simd import (
    bring,
    tile_bring,
    tile_bring_first,
    tile_root,
    tile_take,
)
from fastconv.backends.numba.simd import (
    Tile,
    TileType,
    join,
    parts_of,
    shuffle_mask,
    splat_number,
)


@intrinsic(prefer_literal=True)
def _tile_halved(typingctx: Any, shape: Any, tile: Any, kind: Any) -> Any:
    """Bring columns two apart together: as many neighbours as ``tile`` has vectors.

    Vector v of it holds columns from v x lanes on; ``shape`` is that of one vector.
    """
    s, name, taps = shape.shape, kind.literal_value, tile.shape.vectors

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        columns = parts_of(builder, args[1])
        evens, odds = (every(builder, s, columns[:2], 2, phase) for phase in (0, 1))
        total = bring(builder, s, name, evens, odds)
        if taps == 3:
            following = shuffle_mask([lane + 1 for lane in range(s.lanes)])
            third = builder.shuffle_vector(evens, columns[2], following)
            total = bring(builder, s, name, total, third)
        return join(builder, context.get_value_type(signature.return_type), [total])

    return TileType(s)(shape, tile, kind), codegen


@intrinsic
def _tile_divide_by(typingctx: Any, shape: Any, tile: Any, number: Any) -> Any:
    """Divide a tile by a number."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        divisor = splat_number(builder, s, args[2])
        parts = [builder.fdiv(part, divisor) for part in parts_of(builder, args[1])]
        return join(builder, args[1].type, parts)

    return tile(shape, tile, types.float64), codegen


@kernel(Halving)
def halving(tile: Tile, kind: str):  # type: ignore[no-untyped-def]
    """Pool: a work item is some rows of outputs, which are stored one after the other."""
    wide, tile = (dataclasses.replace(tile, rows=1, vectors=v) for v in (tile.vectors, 1))
    size, lanes = tile.size, tile.lanes
    down, across, _ = OPERATIONS[kind]
    mean, rooted = kind == "avg", kind == "squares"
    neutral, reach = float("-inf") if kind == "max" else 0.0, wide.columns

    @inlined
    def finished(columns, divisor):  # type: ignore[no-untyped-def]
        values = _tile_halved(tile, columns, across)
        if mean:
            values = _tile_divide_by(tile, values, divisor)
        if rooted:
            values = tile_root(tile, values)
        return values

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        width, outputs, out_height = args.width, args.out_width, args.out_height
        plane, places, tall = args.height * width, beside(tile, 0, 0), args.tall
        rows, divisor = args.planes * out_height, args.divisor
        # What is past a line's end is somebody's, and in no output that is kept.
        end = args.planes * plane - (tall - 1) * width
        for item in range(first, last):
            stop = min((item + 1) * args.item_rows, rows)
            for row in range(item * args.item_rows, stop):
                line = row // out_height * plane + row % out_height * args.row_stride * width
                for o in range(0, outputs, lanes):
                    there = end - line - 2 * o
                    base = args.source + (line + 2 * o) * size
                    if there >= reach:
                        columns = tile_take(wide, down, base)
                        for cell in range(1, tall):
                            place = base + cell * width * size
                            columns = tile_bring(wide, columns, down, place)
                    else:
                        columns = tile_fill(wide, neutral)
                        for cell in range(tall):
                            place = base + cell * width * size
                            columns = tile_bring_first(wide, columns, down, place, there, neutral)
                    values = finished(columns, divisor)
                    target = args.out + (row * outputs + o) * size
                    left = (stop - row) * outputs - o
                    if left >= lanes:
                        tile_store_at(tile, values, target, 0, places)
                    else:
                        rest = beside(tile, left, 0)
                        tile_store_masked(tile, values, target, 0, places, rest, 1)

    return body
