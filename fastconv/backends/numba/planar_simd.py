"""The vector vocabulary of planar kernels: lanes are neighbouring pixels of one channel.

A planar tile's rows are output rows (depthwise) or output channels (direct); its vectors are stored
side by side, or wherever a table of addresses says.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastconv.backends.numba.simd import (
    I32,
    I64,
    Tile,
    TileType,
    add,
    first_lanes,
    join,
    load,
    masked,
    multiply_add,
    offset_by,
    parts_of,
    shuffle_mask,
    splat,
    splat_number,
    store,
)
from fastconv.backends.numba.transpose import transpose


def _between(builder: Any, shape: Tile, first: Any, length: Any) -> Any:
    """Return the mask of the lanes whose place, counted from ``first``, is in [0, length)."""
    lane_type = ir.VectorType(I32, shape.lanes)
    lanes = ir.Constant(lane_type, [I32(i) for i in range(shape.lanes)])
    undefined = ir.Constant(lane_type, ir.Undefined)
    start = builder.insert_element(undefined, builder.trunc(first, I32), I32(0))
    start = builder.shuffle_vector(start, undefined, ir.Constant(lane_type, None))
    limit = builder.insert_element(undefined, builder.trunc(length, I32), I32(0))
    limit = builder.shuffle_vector(limit, undefined, ir.Constant(lane_type, None))
    # A negative place is a large unsigned one.
    return builder.icmp_unsigned("<", builder.add(lanes, start), limit)


@intrinsic(prefer_literal=True)
def split_columns(
    typingctx: Any,
    shape: Any,
    step: Any,
    phases: Any,
    line: Any,
    first: Any,
    length: Any,
    target: Any,
    phase_bytes: Any,
) -> Any:
    """Copy lanes x step elements of a line, those outside [0, length) as zeros, split by phase.

    Element ``first`` + i goes to lane i // step of the vector at
    ``target`` + (i % step) * ``phase_bytes``: what a strided window reads becomes contiguous.
    The first ``phases`` of them are kept.
    """
    s, count, kept = shape.shape, step.literal_value, phases.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, _, _, line, first, length, target, phase_bytes = args
        vectors = []
        for v in range(count):
            start = offset_by(builder, first, v * s.lanes)
            place = builder.add(line, builder.mul(start, I64(s.size)))
            mask = _between(builder, s, start, length)
            vectors.append(load_masked(builder, s, place, mask))
        for phase in range(kept):
            merged = every(builder, s, vectors, count, phase)
            store(builder, s, merged, builder.add(target, builder.mul(phase_bytes, I64(phase))))
        return context.get_dummy_value()

    return types.void(shape, step, phases, *(types.int64,) * 5), codegen


def load_masked(builder: Any, s: Tile, place: Any, mask: Any, filler: Any = None) -> Any:
    """Load a vector, zeros or ``filler`` in the lanes outside a mask: those are not touched."""
    pointer = s.vector.as_pointer()
    read = masked(builder, s, "load", s.vector, [pointer, I32, mask.type, s.vector])
    filler = ir.Constant(s.vector, None) if filler is None else filler
    return builder.call(read, [builder.inttoptr(place, pointer), I32(s.size), mask, filler])


def every(builder: Any, s: Tile, vectors: list[Any], step: int, phase: int) -> Any:
    """Pick elements phase, phase + step, ... of vectors laid end to end."""
    places = [step * lane + phase for lane in range(s.lanes)]
    merged = vectors[0]
    if step == 1:
        return merged
    for v in range(1, step):
        chosen = []
        for lane, place in enumerate(places):
            if place // s.lanes == v:
                chosen.append(s.lanes + place % s.lanes)
            elif v == 1:
                chosen.append(place % s.lanes)
            else:
                chosen.append(lane)
        merged = builder.shuffle_vector(merged, vectors[v], shuffle_mask(chosen))
    return merged


@intrinsic
def transpose_inside(
    typingctx: Any,
    shape: Any,
    source: Any,
    source_stride: Any,
    first: Any,
    length: Any,
    rows: Any,
    target: Any,
    target_stride: Any,
) -> Any:
    """Transpose a square of lanes rows, ``source_stride`` bytes apart, from element ``first`` on.

    What is outside [0, length) of a row, and rows from ``rows`` on, are zeros and not touched.
    """
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, source, source_stride, first, length, rows, target, target_stride = args
        start = builder.add(source, builder.mul(first, I64(s.size)))
        inside = _between(builder, s, first, length)
        nothing = ir.Constant(inside.type, None)
        vectors = []
        for i in range(s.lanes):
            place = builder.add(start, builder.mul(source_stride, I64(i)))
            mask = builder.select(builder.icmp_signed("<", I64(i), rows), inside, nothing)
            vectors.append(load_masked(builder, s, place, mask))
        for i, column in enumerate(transpose(builder, s, vectors)):
            store(builder, s, column, builder.add(target, builder.mul(target_stride, I64(i))))
        return context.get_dummy_value()

    return types.void(shape, *(types.int64,) * 7), codegen


@intrinsic(prefer_literal=True)
def tile_correlate(
    typingctx: Any,
    shape: Any,
    tile: Any,
    taps: Any,
    stride: Any,
    dilation: Any,
    base: Any,
    pitch: Any,
    weights: Any,
) -> Any:
    """Add a column of ``taps`` weights, sliding down the lines at ``base``, to a tile.

    Row r of the tile adds, for each tap t in order, weights[t] times the line
    r * stride + t * dilation; lines are ``pitch`` bytes apart, and each is loaded once.
    """
    s = shape.shape
    steps = tuple(v.literal_value for v in (taps, stride, dilation))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, _, _, _, base, pitch, weights = args

        def read(line: int, v: int) -> Any:
            address = builder.add(base, builder.mul(pitch, I64(line)))
            return load(builder, s, offset_by(builder, address, v * s.lanes * s.size))

        combine = _weighted(builder, s, steps[0], weights)
        return _slide(builder, s, tile, steps, combine, read)

    return tile(shape, tile, taps, stride, dilation, *(types.int64,) * 3), codegen


@intrinsic
def tile_fill(typingctx: Any, shape: Any, number: Any) -> Any:
    """Return a tile filled with a number."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = [splat_number(builder, s, args[1])] * (s.rows * s.vectors)
        return join(builder, context.get_value_type(signature.return_type), parts)

    return TileType(s)(shape, types.float64), codegen


@intrinsic(prefer_literal=True)
def tile_correlate_edge(
    typingctx: Any,
    shape: Any,
    tile: Any,
    taps: Any,
    stride: Any,
    dilation: Any,
    plane: Any,
    pitch: Any,
    weights: Any,
    line: Any,
    lines: Any,
    column: Any,
    length: Any,
) -> Any:
    """Do as `tile_correlate` over a plane of ``lines`` lines of ``length`` elements.

    The tile starts at ``line`` and ``column``; what is outside the plane counts as zeros and is
    not touched.
    """
    s = shape.shape
    steps = tuple(v.literal_value for v in (taps, stride, dilation))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, _, _, _, plane, pitch, weights, line, lines, column, length = args
        start = builder.add(plane, builder.mul(column, I64(s.size)))
        inside = [
            _between(builder, s, offset_by(builder, column, v * s.lanes), length)
            for v in range(s.vectors)
        ]
        nothing = ir.Constant(inside[0].type, None)

        def read(number: int, v: int) -> Any:
            place = offset_by(builder, line, number)
            there = builder.icmp_unsigned("<", place, lines)
            address = builder.add(start, builder.mul(pitch, place))
            mask = builder.select(there, inside[v], nothing)
            return load_masked(builder, s, offset_by(builder, address, v * s.lanes * s.size), mask)

        combine = _weighted(builder, s, steps[0], weights)
        return _slide(builder, s, tile, steps, combine, read)

    return tile(shape, tile, taps, stride, dilation, *(types.int64,) * 7), codegen


@intrinsic(prefer_literal=True)
def tile_multiply_pixels_inside(
    typingctx: Any,
    shape: Any,
    tile: Any,
    taps: Any,
    stride: Any,
    dilation: Any,
    line: Any,
    pitch: Any,
    first: Any,
    length: Any,
    lanes: Any,
    weights: Any,
) -> Any:
    """Add a line of ``taps`` vectors of weights, sliding along the pixels of a line, to a tile.

    Row r of the tile adds, for each tap t in order, weights[t] times pixel
    ``first`` + r * stride + t * dilation of ``length``; pixels are ``pitch`` bytes apart. What is
    outside, and all lanes but the first ``lanes``, counts as zeros and is not touched.
    """
    s = shape.shape
    steps = tuple(v.literal_value for v in (taps, stride, dilation))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, _, _, _, line, pitch, first, length, lanes, weights = args
        shown = first_lanes(builder, s, lanes)
        nothing = ir.Constant(shown.type, None)
        factors = [
            load(builder, s, offset_by(builder, weights, t * s.lanes * s.size))
            for t in range(steps[0])
        ]

        def read(number: int, v: int) -> Any:
            pixel = offset_by(builder, first, number)
            there = builder.icmp_unsigned("<", pixel, length)
            mask = builder.select(there, shown, nothing)
            return load_masked(builder, s, builder.add(line, builder.mul(pitch, pixel)), mask)

        def combine(tap: int, value: Any, total: Any) -> Any:
            return multiply_add(builder, s, factors[tap], value, total)

        return _slide(builder, s, tile, steps, combine, read)

    return tile(shape, tile, taps, stride, dilation, *(types.int64,) * 6), codegen


def _weighted(builder: Any, s: Tile, taps: int, weights: Any) -> Any:
    """Return the step that adds a line times a tap's weight."""
    factors = []
    for t in range(taps):
        scalar = load(builder, s, offset_by(builder, weights, t * s.size), scalar=True)
        factors.append(splat(builder, s, scalar))

    def combine(tap: int, value: Any, total: Any) -> Any:
        return multiply_add(builder, s, factors[tap], value, total)

    return combine


def _slide(
    builder: Any, s: Tile, tile: Any, steps: tuple[int, ...], combine: Any, read: Any
) -> Any:
    """Bring each line, read once, into the rows of a tile that see it, taps in order."""
    taps, stride, dilation = steps
    parts = parts_of(builder, tile)
    users: dict[int, list[tuple[int, int]]] = {}
    for r in range(s.rows):
        for t in range(taps):
            users.setdefault(r * stride + t * dilation, []).append((r, t))
    for line in sorted(users):
        for v in range(s.vectors):
            value = read(line, v)
            for r, t in users[line]:
                i = r * s.vectors + v
                parts[i] = combine(t, value, parts[i])
    return join(builder, tile.type, parts)


@intrinsic
def tile_splat(typingctx: Any, shape: Any, address: Any, stride: Any) -> Any:
    """Return a tile whose row r is filled with the scalar at ``address`` + r * ``stride`` bytes."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, address, stride = args
        parts = []
        for row in range(s.rows):
            place = builder.add(address, builder.mul(stride, I64(row)))
            parts += [splat(builder, s, load(builder, s, place, scalar=True))] * s.vectors
        return join(builder, context.get_value_type(signature.return_type), parts)

    return TileType(s)(shape, types.int64, types.int64), codegen


@intrinsic
def tile_add_masked(
    typingctx: Any, shape: Any, tile: Any, base: Any, row_bytes: Any, places: Any, counts: Any,
    rows: Any,
) -> Any:  # fmt: skip
    """Add to a tile what is where `tile_store_masked` would store it (a residual)."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, base, row_bytes, places, counts, rows = args
        parts = []
        for i, part in enumerate(parts_of(builder, tile)):
            mask, place = _slot(builder, s, i, base, row_bytes, places, counts, rows)
            parts.append(add(builder, s, part, load_masked(builder, s, place, mask)))
        return join(builder, tile.type, parts)

    return tile(shape, tile, types.int64, types.int64, places, counts, types.int64), codegen


@intrinsic
def tile_store_masked(
    typingctx: Any, shape: Any, tile: Any, base: Any, row_bytes: Any, places: Any, counts: Any,
    rows: Any,
) -> Any:  # fmt: skip
    """Store the first ``counts[v]`` lanes of each vector v of a tile's first ``rows`` rows.

    Row r's vector v goes to ``base`` + r * ``row_bytes`` + ``places[v]``.
    """
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, base, row_bytes, places, counts, rows = args
        pointer = s.vector.as_pointer()
        for i, part in enumerate(parts_of(builder, tile)):
            mask, place = _slot(builder, s, i, base, row_bytes, places, counts, rows)
            write = masked(builder, s, "store", ir.VoidType(), [s.vector, pointer, I32, mask.type])
            where = builder.inttoptr(place, pointer)
            builder.call(write, [part, where, I32(s.size), mask])
        return context.get_dummy_value()

    arguments = (types.int64, types.int64, places, counts, types.int64)
    return types.void(shape, tile, *arguments), codegen


@intrinsic
def tile_store_at(
    typingctx: Any, shape: Any, tile: Any, base: Any, row_bytes: Any, places: Any
) -> Any:
    """Store a whole tile where `tile_store_masked` would."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, base, row_bytes, places = args
        columns = parts_of(builder, places)
        for i, part in enumerate(parts_of(builder, tile)):
            row, v = divmod(i, s.vectors)
            start = builder.add(base, builder.mul(row_bytes, I64(row)))
            store(builder, s, part, builder.add(start, columns[v]))
        return context.get_dummy_value()

    return types.void(shape, tile, types.int64, types.int64, places), codegen


def _slot(
    builder: Any, s: Tile, i: int, base: Any, row_bytes: Any, places: Any, counts: Any, rows: Any
) -> tuple[Any, Any]:
    """Return the mask and the address of a tile's vector ``i``."""
    row, v = divmod(i, s.vectors)
    inside = builder.icmp_signed("<", I64(row), rows)
    count = builder.select(inside, builder.extract_value(counts, v), I64(0))
    place = builder.add(base, builder.mul(row_bytes, I64(row)))
    return first_lanes(builder, s, count), builder.add(place, builder.extract_value(places, v))


@intrinsic
def beside(typingctx: Any, shape: Any, first: Any, step: Any) -> Any:
    """Return first, first + step, ...: one number for each vector of a row."""
    vectors = shape.shape.vectors

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, first, step = args
        numbers = [builder.add(first, builder.mul(step, I64(v))) for v in range(vectors)]
        return join(builder, context.get_value_type(signature.return_type), numbers)

    return types.UniTuple(types.int64, vectors)(shape, types.int64, types.int64), codegen


@intrinsic
def from_table(typingctx: Any, shape: Any, base: Any, table: Any, stride: Any) -> Any:
    """Return ``base`` + table[v * stride] for each vector of a row; ``table`` is an address."""
    vectors = shape.shape.vectors

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, base, table, stride = args
        numbers = []
        for v in range(vectors):
            place = builder.add(table, builder.mul(stride, I64(8 * v)))
            entry = builder.load(builder.inttoptr(place, I64.as_pointer()))
            numbers.append(builder.add(base, entry))
        return join(builder, context.get_value_type(signature.return_type), numbers)

    return types.UniTuple(types.int64, vectors)(shape, *(types.int64,) * 3), codegen


@intrinsic
def lesser(typingctx: Any, a: Any, b: Any) -> Any:
    """Return the lesser number of each pair from two tuples."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pairs = zip(*(parts_of(builder, values) for values in args), strict=True)
        least = [builder.select(builder.icmp_signed("<", x, y), x, y) for x, y in pairs]
        return join(builder, args[0].type, least)

    return a(a, b), codegen


@intrinsic
def tile_multiply_pixels(
    typingctx: Any, shape: Any, tile: Any, pixels: Any, offsets: Any, weights: Any, count: Any
) -> Any:
    """Add ``count`` outer products to a tile: the planar micro-kernel.

    Step k adds weights[k, row] times the vector at pixels[v] + offsets[k]; ``offsets`` is the
    address of int64 bytes, ``weights`` that of ``rows`` scalars a step.
    """
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, pixels, offsets, weights, count = args
        places = parts_of(builder, pixels)
        start, before = parts_of(builder, tile), builder.block
        body, after = builder.append_basic_block("step"), builder.append_basic_block("done")
        builder.branch(body)
        builder.position_at_end(body)
        k, a = builder.phi(I64), builder.phi(I64)
        sums = [builder.phi(s.vector) for _ in start]
        table = builder.inttoptr(offsets, I64.as_pointer())
        offset = builder.load(builder.gep(table, [k]))
        step = [load(builder, s, builder.add(place, offset)) for place in places]
        results = []
        for row in range(s.rows):
            scalar = load(builder, s, offset_by(builder, a, row * s.size), scalar=True)
            factor = splat(builder, s, scalar)
            for v in range(s.vectors):
                i = row * s.vectors + v
                results.append(multiply_add(builder, s, factor, step[v], sums[i]))
        following = builder.add(k, I64(1))
        for phi, first, next_one in (
            (k, I64(0), following),
            (a, weights, offset_by(builder, a, s.rows * s.size)),
            *zip(sums, start, results, strict=True),
        ):
            phi.add_incoming(first, before)
            phi.add_incoming(next_one, body)
        builder.cbranch(builder.icmp_signed("<", following, count), body, after)
        builder.position_at_end(after)
        return join(builder, tile.type, results)

    return tile(shape, tile, pixels, *(types.int64,) * 3), codegen
