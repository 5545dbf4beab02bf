"""The vector vocabulary of pools: how values are brought together, in tiles of one row.

What is brought together is named by its kind: "max" (a NaN on either side gives NaN), "ordered max"
(the same where nothing is NaN, in a third of the instructions), "sum", "squares" and "magnitudes"
(sums of x * x and of abs(x)).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastconv.backends.numba.planar_simd import every, load_masked
from fastconv.backends.numba.simd import (
    I32,
    I64,
    KINDS,
    Tile,
    TileType,
    first_lanes,
    join,
    load,
    multiply_add,
    offset_by,
    parts_of,
    shuffle_mask,
    splat,
    splat_number,
)


def bring(builder: Any, s: Tile, kind: str, total: Any, value: Any) -> Any:
    """Bring a vector to those before."""
    if kind == "squares":
        return multiply_add(builder, s, value, value, total)
    if kind == "magnitudes":
        return builder.fadd(total, _unary(builder, s, "fabs", value))
    if kind == "sum":
        return builder.fadd(total, value)
    # The CPU's maximum gives its second operand where either is NaN; one in the first is put back.
    taken = builder.select(builder.fcmp_ordered(">", total, value), total, value)
    if kind == "ordered max":
        return taken
    return builder.select(builder.fcmp_unordered("uno", total, total), total, taken)


def take(builder: Any, s: Tile, kind: str, value: Any) -> Any:
    """Return what a vector is where nothing was brought before."""
    if kind == "squares":
        return builder.fmul(value, value)
    if kind == "magnitudes":
        return _unary(builder, s, "fabs", value)
    return value


def _unary(builder: Any, s: Tile, name: str, value: Any) -> Any:
    signature = ir.FunctionType(s.vector, [s.vector])
    name = f"llvm.{name}.v{s.lanes}{KINDS[s.dtype]}"
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), [value])


@intrinsic(prefer_literal=True)
def tile_take(typingctx: Any, shape: Any, kind: Any, base: Any) -> Any:
    """Return a tile of the elements at an address, as the first of their kind."""
    s, name = shape.shape, kind.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = [take(builder, s, name, _at(builder, s, args[2], v)) for v in range(s.vectors)]
        return join(builder, context.get_value_type(signature.return_type), parts)

    return TileType(s)(shape, kind, types.int64), codegen


@intrinsic(prefer_literal=True)
def tile_bring(typingctx: Any, shape: Any, tile: Any, kind: Any, base: Any) -> Any:
    """Bring the elements at an address to a tile."""
    s, name = shape.shape, kind.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, _, base = args
        parts = [
            bring(builder, s, name, part, _at(builder, s, base, v))
            for v, part in enumerate(parts_of(builder, tile))
        ]
        return join(builder, tile.type, parts)

    return tile(shape, tile, kind, types.int64), codegen


@intrinsic(prefer_literal=True)
def tile_bring_first(
    typingctx: Any, shape: Any, tile: Any, kind: Any, base: Any, count: Any, fill: Any
) -> Any:
    """Bring the first ``count`` elements at an address to a tile; ``fill`` for more."""
    s, name = shape.shape, kind.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, _, base, count, fill = args
        neutral = splat_number(builder, s, fill)
        parts = []
        for v, part in enumerate(parts_of(builder, tile)):
            mask = first_lanes(builder, s, offset_by(builder, count, -v * s.lanes))
            place = offset_by(builder, base, v * s.lanes * s.size)
            value = load_masked(builder, s, place, mask, neutral)
            parts.append(bring(builder, s, name, part, value))
        return join(builder, tile.type, parts)

    return tile(shape, tile, kind, types.int64, types.int64, types.float64), codegen


@intrinsic(prefer_literal=True)
def tile_take_strided(
    typingctx: Any, shape: Any, kind: Any, taps: Any, stride: Any, base: Any
) -> Any:
    """Return a tile whose element o brings the ``taps`` elements from o * ``stride`` on together.

    Vectors are loaded whole and shuffled: elements up to stride x columns + taps are read.
    """
    s, name = shape.shape, kind.literal_value
    count, step = taps.literal_value, stride.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = []
        for v in range(s.vectors):
            total = None
            for reach in range(0, count, step):
                start = offset_by(builder, args[4], (v * s.lanes * step + reach) * s.size)
                loaded = [_at(builder, s, start, i) for i in range(step)]
                for phase in range(min(step, count - reach)):
                    value = every(builder, s, loaded, step, phase)
                    total = value if total is None else bring(builder, s, name, total, value)
            parts.append(total)
        return join(builder, context.get_value_type(signature.return_type), parts)

    return TileType(s)(shape, kind, taps, stride, types.int64), codegen


@intrinsic
def holds_nan(typingctx: Any, shape: Any, base: Any, count: Any) -> Any:
    """Return whether any of ``count`` tiles' worth of elements from ``base`` on is NaN."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, base, count = args
        flags = ir.VectorType(ir.IntType(1), s.lanes)
        before = builder.block
        head, body, after = (builder.append_basic_block(n) for n in ("head", "step", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        k, found = builder.phi(I64), builder.phi(flags)
        builder.cbranch(builder.icmp_signed("<", k, count), body, after)
        builder.position_at_end(body)
        start = builder.add(base, builder.mul(k, I64(s.columns * s.size)))
        vectors = [_at(builder, s, start, v) for v in range(s.vectors)]
        now = found
        for a, b in zip(vectors[::2], vectors[1::2] + vectors[-1:], strict=False):
            now = builder.or_(now, builder.fcmp_unordered("uno", a, b))
        k.add_incoming(I64(0), before)
        k.add_incoming(builder.add(k, I64(1)), body)
        found.add_incoming(ir.Constant(flags, None), before)
        found.add_incoming(now, body)
        builder.branch(head)
        builder.position_at_end(after)
        bits = builder.bitcast(found, ir.IntType(s.lanes))
        return builder.icmp_unsigned("!=", bits, ir.IntType(s.lanes)(0))

    return types.boolean(shape, types.int64, types.int64), codegen


@intrinsic
def tile_root(typingctx: Any, shape: Any, tile: Any) -> Any:
    """Return the square roots of a tile."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = [_unary(builder, s, "sqrt", part) for part in parts_of(builder, args[1])]
        return join(builder, args[1].type, parts)

    return tile(shape, tile), codegen


def _at(builder: Any, s: Tile, base: Any, v: int) -> Any:
    return load(builder, s, offset_by(builder, base, v * s.lanes * s.size))


@intrinsic(prefer_literal=True)
def tile_total(typingctx: Any, shape: Any, tile: Any, kind: Any) -> Any:
    """Return the largest element of a tile, or their sum by halves, as a float64."""
    s, name = shape.shape, kind.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = parts_of(builder, args[1])
        while len(parts) > 1:
            left = parts[len(parts) // 2 * 2 :]
            pairs = zip(parts[::2], parts[1::2], strict=False)
            parts = [bring(builder, s, name, a, b) for a, b in pairs] + left
        total = parts[0]
        lanes = s.lanes
        while lanes > 1:
            lanes //= 2
            halves = [shuffle_mask(list(range(i, i + lanes))) for i in (0, lanes)]
            low, high = (builder.shuffle_vector(total, total, half) for half in halves)
            total = bring(builder, s, name, low, high)
        element = builder.extract_element(total, I32(0))
        return element if s.dtype == "float64" else builder.fpext(element, ir.DoubleType())

    return types.float64(shape, tile, kind), codegen


@intrinsic(prefer_literal=True)
def tile_bring_rows(
    typingctx: Any,
    shape: Any,
    tile: Any,
    kind: Any,
    base: Any,
    pitch: Any,
    last: Any,
    count: Any,
    fill: Any,
) -> Any:
    """Bring to each row, of one vector, the first ``count`` elements of a line of its own.

    Row r's is ``pitch`` * r bytes after ``base``; rows after the ``last`` repeat that.
    """
    s, name = shape.shape, kind.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, _, base, pitch, last, count, fill = args
        neutral, mask = splat_number(builder, s, fill), first_lanes(builder, s, count)
        parts = []
        for row, part in enumerate(parts_of(builder, tile)):
            number = builder.select(builder.icmp_signed("<", I64(row), last), I64(row), last)
            place = builder.add(base, builder.mul(number, pitch))
            value = load_masked(builder, s, place, mask, neutral)
            parts.append(bring(builder, s, name, part, value))
        return join(builder, tile.type, parts)

    return tile(shape, tile, kind, *(types.int64,) * 4, types.float64), codegen


@intrinsic(prefer_literal=True)
def tile_row_totals(typingctx: Any, shape: Any, tile: Any, kind: Any) -> Any:
    """Bring each of as many rows as a vector has lanes together: one vector, a lane a row.

    Rows are folded in pairs, each into the lanes whose number has the bit by which the two differ.
    """
    s, name = tile.shape, kind.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts, bit = parts_of(builder, args[1]), 1
        while len(parts) > 1:
            lanes = range(s.lanes)
            own = shuffle_mask([s.lanes + p if p & bit else p for p in lanes])
            other = shuffle_mask([s.lanes + p - bit if p & bit else p + bit for p in lanes])
            parts = [
                bring(builder, s, name, *(builder.shuffle_vector(a, b, m) for m in (own, other)))
                for a, b in zip(parts[::2], parts[1::2], strict=True)
            ]
            bit *= 2
        return join(builder, context.get_value_type(signature.return_type), parts)

    return TileType(shape.shape)(shape, tile, kind), codegen


@intrinsic
def tile_divide(typingctx: Any, shape: Any, tile: Any, rows: Any, columns: Any) -> Any:
    """Divide a tile's element at row r and column c by rows[r] * columns[c], both addresses."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, rows, columns = args
        wide = [
            load(builder, s, offset_by(builder, columns, v * s.lanes * s.size))
            for v in range(s.vectors)
        ]
        parts = []
        for i, part in enumerate(parts_of(builder, tile)):
            row, v = divmod(i, s.vectors)
            scalar = load(builder, s, offset_by(builder, rows, row * s.size), scalar=True)
            count = builder.fmul(splat(builder, s, scalar), wide[v])
            parts.append(builder.fdiv(part, count))
        return join(builder, tile.type, parts)

    return tile(shape, tile, types.int64, types.int64), codegen
