"""The vector vocabulary: vectors and register tiles that read like arithmetic.

Each word is an intrinsic that emits LLVM vector instructions, so that nothing depends on the
auto-vectoriser. A tile is ``rows`` x ``vectors`` vectors in one value; LLVM keeps its parts in
registers. Addresses are int64; loads and stores need no alignment beyond the element's.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_constant
from numba.extending import intrinsic, models, register_model, typeof_impl

from fastconv.backends.native import tile as native
from fastconv.problem.record import record

I64 = ir.IntType(64)
I32 = ir.IntType(32)
F64 = ir.DoubleType()
_ELEMENTS = {"float32": ir.FloatType(), "float64": F64, "int64": I64}
# How LLVM's intrinsics name them.
KINDS = {"float32": "f32", "float64": "f64", "int64": "i64"}


@record(frozen=True)
class Tile(native.Tile):
    """The compile-time shape of a register tile: a kernel's constant."""

    @property
    def element(self) -> ir.Type:
        """LLVM's type of an element."""
        return _ELEMENTS[self.dtype]

    @property
    def vector(self) -> ir.Type:
        """LLVM's type of a vector."""
        return ir.VectorType(self.element, self.lanes)


class ShapeType(types.Type):
    """Numba's type of a ``Tile`` constant: the shape alone, no value at run time."""

    def __init__(self, shape: Tile) -> None:
        self.shape = shape
        super().__init__(name=repr(shape))


class TileType(types.Type):
    """Numba's type of a tile's value: rows x vectors vectors."""

    def __init__(self, shape: Tile) -> None:
        self.shape = shape
        super().__init__(name=f"values of {shape!r}")


register_model(ShapeType)(models.OpaqueModel)


@register_model(TileType)
class _TileModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        shape = fe_type.shape
        super().__init__(dmm, fe_type, ir.ArrayType(shape.vector, shape.rows * shape.vectors))


@typeof_impl.register(Tile)
def _typeof_tile(value: Tile, context: Any) -> ShapeType:
    return ShapeType(value)


@lower_constant(ShapeType)
def _lower_shape(context: Any, builder: Any, ty: Any, value: Any) -> Any:
    return context.get_dummy_value()


def load(builder: Any, shape: Tile, address: Any, *, scalar: bool = False) -> Any:
    """Emit the load of a vector, or of one element."""
    ty = shape.element if scalar else shape.vector
    value = builder.load(builder.inttoptr(address, ty.as_pointer()))
    value.align = shape.size
    return value


def store(builder: Any, shape: Tile, value: Any, address: Any) -> None:
    """Emit the store of a vector."""
    stored = builder.store(value, builder.inttoptr(address, shape.vector.as_pointer()))
    stored.align = shape.size


def splat(builder: Any, shape: Tile, scalar: Any) -> Any:
    """Fill a vector with an element."""
    undefined = ir.Constant(shape.vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), shape.lanes), None)
    return builder.shuffle_vector(first, undefined, zeros)


def add(builder: Any, shape: Tile, a: Any, b: Any) -> Any:
    """Add two vectors."""
    return builder.add(a, b) if shape.dtype == "int64" else builder.fadd(a, b)


def multiply_add(builder: Any, shape: Tile, a: Any, b: Any, c: Any) -> Any:
    """Emit a * b + c, fused where the CPU can."""
    if shape.dtype == "int64":
        return builder.add(builder.mul(a, b), c)
    if not shape.fma:
        return builder.fadd(builder.fmul(a, b), c)
    kind = "f32" if shape.dtype == "float32" else "f64"
    signature = ir.FunctionType(shape.vector, [shape.vector] * 3)
    name = f"llvm.fma.v{shape.lanes}{kind}"
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), [a, b, c])


def offset_by(builder: Any, address: Any, offset: int) -> Any:
    """Add a constant to an address."""
    return builder.add(address, I64(offset)) if offset else address


def parts_of(builder: Any, tile: Any) -> list[Any]:
    """Return the parts of a tile or a tuple."""
    return [builder.extract_value(tile, i) for i in range(tile.type.count)]


def join(builder: Any, ty: Any, parts: list[Any]) -> Any:
    """Make a tile or a tuple of its parts."""
    tile = ir.Constant(ty, ir.Undefined)
    for i, part in enumerate(parts):
        tile = builder.insert_value(tile, part, i)
    return tile


@intrinsic
def tile_zero(typingctx: Any, shape: Any) -> Any:
    """Return a tile of zeros."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(context.get_value_type(signature.return_type), None)

    return TileType(shape.shape)(shape), codegen


@intrinsic
def tile_addresses(
    typingctx: Any, shape: Any, base: Any, table: Any, first: Any, length: Any
) -> Any:
    """Read the addresses of a tile's rows: base + table[first + row].

    ``table`` is the address of int64 byte offsets. Rows at or past ``length`` repeat the last
    one, so that a tile at the end computes something harmless there.
    """
    rows = shape.shape.rows

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, base, table, first, length = args
        last = builder.sub(length, I64(1))
        addresses = []
        for row in range(rows):
            place = offset_by(builder, first, row)
            place = builder.select(builder.icmp_signed("<", place, last), place, last)
            pointer = builder.inttoptr(
                builder.add(table, builder.shl(place, I64(3))), I64.as_pointer()
            )
            addresses.append(builder.add(base, builder.load(pointer)))
        return join(builder, context.get_value_type(signature.return_type), addresses)

    result = types.UniTuple(types.int64, rows)
    return result(shape, *(types.int64,) * 4), codegen


@intrinsic
def tile_strided(typingctx: Any, shape: Any, base: Any, stride: Any) -> Any:
    """Return the addresses of rows that are ``stride`` bytes apart."""
    rows = shape.shape.rows

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, base, stride = args
        addresses = [builder.add(base, builder.mul(stride, I64(row))) for row in range(rows)]
        return join(builder, context.get_value_type(signature.return_type), addresses)

    result = types.UniTuple(types.int64, rows)
    return result(shape, types.int64, types.int64), codegen


@intrinsic
def tile_strided_within(typingctx: Any, shape: Any, base: Any, stride: Any, count: Any) -> Any:
    """Return the addresses of rows ``stride`` bytes apart; those past ``count`` repeat the last."""
    rows = shape.shape.rows

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, base, stride, count = args
        last = builder.sub(count, I64(1))
        addresses = []
        for row in range(rows):
            place = builder.select(builder.icmp_signed("<", I64(row), last), I64(row), last)
            addresses.append(builder.add(base, builder.mul(stride, place)))
        return join(builder, context.get_value_type(signature.return_type), addresses)

    result = types.UniTuple(types.int64, rows)
    return result(shape, *(types.int64,) * 3), codegen


@intrinsic
def tile_multiply_add(
    typingctx: Any, shape: Any, tile: Any, rows: Any, offset: Any, panel: Any, count: Any
) -> Any:
    """Add ``count`` outer products to a tile: the micro-kernel.

    Step k adds A[row, k] * B[k, column]: A[row] is contiguous at ``rows[row] + offset``, B as
    rows of the tile's width, one after the other, at ``panel``.
    """
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, rows, offset, panel, count = args
        return _outer_products(
            builder, s, tile, rows, offset, panel, I64(s.columns * s.size), count
        )

    return tile(shape, tile, rows, *(types.int64,) * 3), codegen


@intrinsic
def tile_multiply_add_apart(
    typingctx: Any, shape: Any, tile: Any, rows: Any, panel: Any, pitch: Any, count: Any
) -> Any:
    """Add ``count`` outer products as `tile_multiply_add` does.

    Rows of B are ``pitch`` bytes apart.
    """
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, rows, panel, pitch, count = args
        return _outer_products(builder, s, tile, rows, I64(0), panel, pitch, count)

    return tile(shape, tile, rows, *(types.int64,) * 3), codegen


def _outer_products(
    builder: Any, s: Any, tile: Any, rows: Any, offset: Any, panel: Any, pitch: Any, count: Any
) -> Any:
    """Build the loop over ``count`` outer products; the tile after it."""
    pointers = [
        builder.inttoptr(builder.add(row, offset), s.element.as_pointer())
        for row in parts_of(builder, rows)
    ]
    start, before = parts_of(builder, tile), builder.block
    body, after = builder.append_basic_block("step"), builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed(">", count, I64(0)), body, after)
    builder.position_at_end(body)
    k = builder.phi(I64)
    b = builder.phi(I64)
    sums = [builder.phi(s.vector) for _ in start]
    k.add_incoming(I64(0), before)
    b.add_incoming(panel, before)
    step = [load(builder, s, offset_by(builder, b, v * s.lanes * s.size)) for v in range(s.vectors)]
    results = []
    for row, pointer in enumerate(pointers):
        element = builder.load(builder.gep(pointer, [k]))
        element.align = s.size
        a = splat(builder, s, element)
        for v in range(s.vectors):
            results.append(multiply_add(builder, s, a, step[v], sums[row * s.vectors + v]))
    after_k = builder.add(k, I64(1))
    k.add_incoming(after_k, body)
    b.add_incoming(builder.add(b, pitch), body)
    for phi, first, result in zip(sums, start, results, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(result, body)
    builder.cbranch(builder.icmp_signed("<", after_k, count), body, after)
    builder.position_at_end(after)
    final = []
    for first, result in zip(start, results, strict=True):
        phi = builder.phi(s.vector)
        phi.add_incoming(first, before)
        phi.add_incoming(result, body)
        final.append(phi)
    return join(builder, tile.type, final)


@intrinsic
def tile_multiply_blocks(typingctx: Any, shape: Any, tile: Any, a: Any, b: Any, count: Any) -> Any:
    """Add ``count`` x lanes outer products to a tile; both operands are stored as they are read.

    A is blocks of rows x lanes elements, B rows of the tile's width: no set of a cache is asked
    for more than others, whatever the number of channels.
    """
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, a, b, count = args
        start, before = parts_of(builder, tile), builder.block
        body, after = builder.append_basic_block("block"), builder.append_basic_block("done")
        builder.branch(body)
        builder.position_at_end(body)
        done, left, right = builder.phi(I64), builder.phi(I64), builder.phi(I64)
        sums = [builder.phi(s.vector) for _ in start]
        results: list[Any] = list(sums)
        for k in range(s.lanes):
            row_b = offset_by(builder, right, k * s.columns * s.size)
            step = [
                load(builder, s, offset_by(builder, row_b, v * s.lanes * s.size))
                for v in range(s.vectors)
            ]
            for row in range(s.rows):
                place = offset_by(builder, left, (row * s.lanes + k) * s.size)
                factor = splat(builder, s, load(builder, s, place, scalar=True))
                for v in range(s.vectors):
                    i = row * s.vectors + v
                    results[i] = multiply_add(builder, s, factor, step[v], results[i])
        following = builder.add(done, I64(1))
        for phi, first, next_one in (
            (done, I64(0), following),
            (left, a, offset_by(builder, left, s.rows * s.lanes * s.size)),
            (right, b, offset_by(builder, right, s.lanes * s.columns * s.size)),
            *zip(sums, start, results, strict=True),
        ):
            phi.add_incoming(first, before)
            phi.add_incoming(next_one, body)
        builder.cbranch(builder.icmp_signed("<", following, count), body, after)
        builder.position_at_end(after)
        return join(builder, tile.type, results)

    return tile(shape, tile, *(types.int64,) * 3), codegen


@intrinsic
def tile_load(typingctx: Any, shape: Any, rows: Any) -> Any:
    """Load a tile's rows from their addresses."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = [
            load(builder, s, offset_by(builder, row, v * s.lanes * s.size))
            for row in parts_of(builder, args[1])
            for v in range(s.vectors)
        ]
        return join(builder, context.get_value_type(signature.return_type), parts)

    return TileType(s)(shape, rows), codegen


@intrinsic
def tile_add_row(typingctx: Any, shape: Any, tile: Any, address: Any) -> Any:
    """Add one row of the tile's width (a bias) to every row of a tile."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, address = args
        row = [
            load(builder, s, offset_by(builder, address, v * s.lanes * s.size))
            for v in range(s.vectors)
        ]
        parts = [
            add(builder, s, part, row[i % s.vectors])
            for i, part in enumerate(parts_of(builder, tile))
        ]
        return join(builder, tile.type, parts)

    return tile(shape, tile, types.int64), codegen


@intrinsic
def tile_add(typingctx: Any, shape: Any, tile: Any, rows: Any) -> Any:
    """Add to a tile what is at the addresses of its rows (a residual)."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, rows = args
        addresses = parts_of(builder, rows)
        parts = []
        for i, part in enumerate(parts_of(builder, tile)):
            row, v = divmod(i, s.vectors)
            other = load(builder, s, offset_by(builder, addresses[row], v * s.lanes * s.size))
            parts.append(add(builder, s, part, other))
        return join(builder, tile.type, parts)

    return tile(shape, tile, rows), codegen


@intrinsic
def tile_scale_negative(typingctx: Any, shape: Any, tile: Any, slope: Any) -> Any:
    """Scale what is negative by ``slope`` (leaky relu)."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, slope = args
        factor, zero = splat_number(builder, s, slope), ir.Constant(s.vector, None)
        parts = [
            builder.select(builder.fcmp_ordered("<", x, zero), builder.fmul(x, factor), x)
            for x in parts_of(builder, tile)
        ]
        return join(builder, tile.type, parts)

    return tile(shape, tile, types.float64), codegen


@intrinsic
def tile_bound(typingctx: Any, shape: Any, tile: Any, low: Any, high: Any) -> Any:
    """Bound a tile to [low, high]; NaN passes through."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, *numbers = args
        low, high = (splat_number(builder, s, n) for n in numbers)
        parts = []
        for x in parts_of(builder, tile):
            x = builder.select(builder.fcmp_ordered("<", x, low), low, x)
            parts.append(builder.select(builder.fcmp_ordered(">", x, high), high, x))
        return join(builder, tile.type, parts)

    return tile(shape, tile, types.float64, types.float64), codegen


@intrinsic
def tile_hardswish(typingctx: Any, shape: Any, tile: Any, scale: Any, shift: Any) -> Any:
    """Multiply by a sixth of x + 3 within [0, 6] and by ``scale``, and add ``shift``."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, scale, shift = args
        factor = splat_number(builder, s, builder.fdiv(scale, F64(6.0)))
        term, zero = splat_number(builder, s, shift), ir.Constant(s.vector, None)
        three, six = (splat_number(builder, s, F64(n)) for n in (3.0, 6.0))
        parts = []
        for x in parts_of(builder, tile):
            gate = builder.fadd(x, three)
            gate = builder.select(builder.fcmp_ordered("<", gate, zero), zero, gate)
            gate = builder.select(builder.fcmp_ordered(">", gate, six), six, gate)
            product = builder.fmul(builder.fmul(gate, factor), x)
            parts.append(builder.fadd(product, term))
        return join(builder, tile.type, parts)

    return tile(shape, tile, types.float64, types.float64), codegen


def splat_number(builder: Any, shape: Tile, number: Any) -> Any:
    """Fill a vector of the tile's dtype with a float64."""
    narrow = number if shape.dtype == "float64" else builder.fptrunc(number, shape.element)
    return splat(builder, shape, narrow)


@intrinsic
def tile_store(typingctx: Any, shape: Any, tile: Any, rows: Any) -> Any:
    """Store a tile's rows at their addresses."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, tile, rows = args
        addresses = parts_of(builder, rows)
        for i, part in enumerate(parts_of(builder, tile)):
            row, v = divmod(i, s.vectors)
            store(builder, s, part, offset_by(builder, addresses[row], v * s.lanes * s.size))
        return context.get_dummy_value()

    return types.void(shape, tile, rows), codegen


def shuffle_mask(places: list[int]) -> Any:
    """Return the constant that a shuffle takes its places from."""
    return ir.Constant(ir.VectorType(I32, len(places)), [I32(place) for place in places])


def first_lanes(builder: Any, shape: Tile, count: Any) -> Any:
    """Return the mask of a vector's first ``count`` lanes."""
    lane_type = ir.VectorType(I32, shape.lanes)
    lanes = ir.Constant(lane_type, [I32(i) for i in range(shape.lanes)])
    undefined = ir.Constant(lane_type, ir.Undefined)
    limits = builder.insert_element(undefined, builder.trunc(count, I32), I32(0))
    limits = builder.shuffle_vector(limits, undefined, ir.Constant(lane_type, None))
    return builder.icmp_signed("<", lanes, limits)


def masked(builder: Any, shape: Tile, what: str, result: Any, arguments: list[Any]) -> Any:
    """Declare the masked "load" or "store" of a vector."""
    name = f"llvm.masked.{what}.v{shape.lanes}{KINDS[shape.dtype]}.p0"
    signature = ir.FunctionType(result, arguments)
    return cgutils.get_or_insert_function(builder.module, signature, name)
