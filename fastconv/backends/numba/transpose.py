"""Squares of vectors turned in registers: rows to columns and back."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastconv.backends.numba.simd import (
    I32,
    I64,
    Tile,
    add,
    first_lanes,
    join,
    load,
    masked,
    parts_of,
    shuffle_mask,
    store,
)


def transpose(builder: Any, shape: Tile, rows: list[Any]) -> list[Any]:
    """Transpose ``lanes`` vectors: log2(lanes) rounds, each swapping blocks of two rows."""
    distance = 1
    while distance < shape.lanes:
        swapped = list(rows)
        for i in range(shape.lanes):
            if i & distance:
                continue
            a, b = rows[i], rows[i + distance]
            places = range(shape.lanes)
            upper = [shape.lanes + j - distance if j & distance else j for j in places]
            lower = [shape.lanes + j if j & distance else j + distance for j in places]
            swapped[i] = builder.shuffle_vector(a, b, shuffle_mask(upper))
            swapped[i + distance] = builder.shuffle_vector(a, b, shuffle_mask(lower))
        rows = swapped
        distance *= 2
    return rows


@intrinsic
def transpose_block(
    typingctx: Any, shape: Any, source: Any, source_stride: Any, target: Any, target_stride: Any
) -> Any:
    """Transpose a square of ``lanes`` rows of ``lanes`` elements; strides are bytes."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, source, source_stride, target, target_stride = args
        rows = [
            load(builder, s, builder.add(source, builder.mul(source_stride, I64(i))))
            for i in range(s.lanes)
        ]
        for i, column in enumerate(transpose(builder, s, rows)):
            store(builder, s, column, builder.add(target, builder.mul(target_stride, I64(i))))
        return context.get_dummy_value()

    return types.void(shape, *(types.int64,) * 4), codegen


@intrinsic
def transpose_edge(
    typingctx: Any,
    shape: Any,
    source: Any,
    source_stride: Any,
    target: Any,
    target_stride: Any,
    count: Any,
) -> Any:
    """Transpose ``lanes`` rows of ``count`` elements, fewer than lanes: no more is touched."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, source, source_stride, target, target_stride, count = args
        mask = first_lanes(builder, s, count)
        pointer = s.vector.as_pointer()
        read = masked(builder, s, "load", s.vector, [pointer, I32, mask.type, s.vector])
        filler = ir.Constant(s.vector, None)
        rows = []
        for i in range(s.lanes):
            place = builder.add(source, builder.mul(source_stride, I64(i)))
            where = builder.inttoptr(place, pointer)
            rows.append(builder.call(read, [where, I32(s.size), mask, filler]))
        for i, column in enumerate(transpose(builder, s, rows)):
            with builder.if_then(builder.icmp_signed(">", count, I64(i)), likely=True):
                store(builder, s, column, builder.add(target, builder.mul(target_stride, I64(i))))
        return context.get_dummy_value()

    return types.void(shape, *(types.int64,) * 5), codegen


@intrinsic
def tile_store_columns(
    typingctx: Any, shape: Any, tile: Any, target: Any, stride: Any, rows: Any, columns: Any
) -> Any:
    """Store a tile's first ``columns`` columns, ``stride`` bytes apart, ``rows`` elements of each.

    A column's elements are adjacent. For a tile of no more rows than a vector has lanes.
    """
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, target, stride, rows, columns = args
        parts = parts_of(builder, tile)
        filler = ir.Constant(s.vector, None)
        for v in range(s.vectors):
            lines = [parts[r * s.vectors + v] for r in range(s.rows)]
            turned = transpose(builder, s, lines + [filler] * (s.lanes - s.rows))
            for i, column in enumerate(turned):
                slot = _column(builder, s, v * s.lanes + i, target, stride, rows, columns)
                where, mask = slot
                arguments = [s.vector, where.type, I32, mask.type]
                write = masked(builder, s, "store", ir.VoidType(), arguments)
                builder.call(write, [column, where, I32(s.size), mask])
        return context.get_dummy_value()

    return types.void(shape, tile, *(types.int64,) * 4), codegen


@intrinsic
def tile_add_columns(
    typingctx: Any, shape: Any, tile: Any, source: Any, stride: Any, rows: Any, columns: Any
) -> Any:
    """Add to a tile what is where `tile_store_columns` would store it (a residual)."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, source, stride, rows, columns = args
        parts = parts_of(builder, tile)
        filler = ir.Constant(s.vector, None)
        for v in range(s.vectors):
            lines = []
            for i in range(s.lanes):
                slot = _column(builder, s, v * s.lanes + i, source, stride, rows, columns)
                where, mask = slot
                arguments = [where.type, I32, mask.type, s.vector]
                read = masked(builder, s, "load", s.vector, arguments)
                lines.append(builder.call(read, [where, I32(s.size), mask, filler]))
            for r, other in enumerate(transpose(builder, s, lines)[: s.rows]):
                i = r * s.vectors + v
                parts[i] = add(builder, s, parts[i], other)
        return join(builder, tile.type, parts)

    return tile(shape, tile, *(types.int64,) * 4), codegen


def _column(
    builder: Any, s: Tile, number: int, base: Any, stride: Any, rows: Any, columns: Any
) -> tuple[Any, Any]:
    """Return where a tile's column is, and the mask of its valid elements."""
    place = builder.add(base, builder.mul(stride, I64(number)))
    there = builder.icmp_signed("<", I64(number), columns)
    mask = first_lanes(builder, s, builder.select(there, rows, I64(0)))
    return builder.inttoptr(place, s.vector.as_pointer()), mask
