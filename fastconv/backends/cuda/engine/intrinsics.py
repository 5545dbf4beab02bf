"""What kernels need of the machine that Numba has no words for: wide loads, fused sums, asm.

In the simulator (NUMBA_ENABLE_CUDASIM=1) the same names are those of `emulation`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import config

if config.ENABLE_CUDASIM:
    from fastconv.backends.cuda.engine.emulation import (
        add4,
        combine4,
        erfc,
        exp,
        expm1,
        fill,
        load,
        load4,
        load4_where,
        load_first,
        load_where,
        log,
        log1p,
        map4,
        multiply_add,
        multiply_add4,
        multiply_add_at,
        put4,
        sqrt,
        store,
        store4,
        store_first,
        take4,
        tanh,
    )
else:
    from math import erfc, exp, expm1, log, log1p, sqrt, tanh

    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    _FLOAT, _WORD = ir.FloatType(), ir.IntType(32)
    _ELEMENTS = {types.float32: _FLOAT, types.int32: _WORD}

    def _address(context: Any, builder: Any, kind: Any, value: Any, index: Any) -> Any:
        """Return the address of an element of a pointer, or of a shared or local array."""
        if isinstance(kind, types.Array):
            value = cgutils.create_struct_proxy(kind)(context, builder, value).data
        return builder.gep(value, [index])

    def _wide(builder: Any, place: Any, element: Any) -> Any:
        kind = ir.VectorType(_ELEMENTS[element], 4)
        return builder.bitcast(place, kind.as_pointer(place.type.addrspace))

    def _four(context: Any, builder: Any, signature: Any, vector: Any) -> Any:
        parts = [builder.extract_element(vector, ir.Constant(_WORD, i)) for i in range(4)]
        return context.make_tuple(builder, signature.return_type, parts)

    @intrinsic
    def load4(typingctx: Any, source: Any, index: Any) -> Any:
        """Load four elements from ``index`` on, by one instruction: 16-byte aligned."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = _address(context, builder, signature.args[0], *args)
            vector = builder.load(_wide(builder, place, source.dtype), align=16)
            return _four(context, builder, signature, vector)

        return types.UniTuple(source.dtype, 4)(source, index), codegen

    @intrinsic
    def load4_where(typingctx: Any, source: Any, index: Any, inside: Any) -> Any:
        """Do as `load4` where ``inside``; else give zeros, and touch no memory."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            zeros = ir.Constant(ir.VectorType(_ELEMENTS[source.dtype], 4), None)
            before = builder.block
            with builder.if_then(args[2]):
                place = _address(context, builder, signature.args[0], *args[:2])
                loaded = builder.load(_wide(builder, place, source.dtype), align=16)
                there = builder.block
            vector = builder.phi(zeros.type)
            vector.add_incoming(zeros, before)
            vector.add_incoming(loaded, there)
            return _four(context, builder, signature, vector)

        return types.UniTuple(source.dtype, 4)(source, index, types.boolean), codegen

    @intrinsic
    def load_where(typingctx: Any, source: Any, index: Any, inside: Any) -> Any:
        """Load one element where ``inside``; else give zero, and touch no memory."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            zero = ir.Constant(_ELEMENTS[source.dtype], 0)
            before = builder.block
            with builder.if_then(args[2]):
                place = _address(context, builder, signature.args[0], *args[:2])
                loaded = builder.load(place)
                there = builder.block
            value = builder.phi(zero.type)
            value.add_incoming(zero, before)
            value.add_incoming(loaded, there)
            return value

        return source.dtype(source, index, types.boolean), codegen

    @intrinsic
    def load(typingctx: Any, source: Any, index: Any) -> Any:
        """Load one element, without the question whether ``index`` counts from the end."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(_address(context, builder, signature.args[0], *args))

        return source.dtype(source, index), codegen

    @intrinsic
    def store(typingctx: Any, target: Any, index: Any, value: Any) -> Any:
        """Store one element: a plain assignment would ask whether ``index`` counts from the end."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store(args[2], _address(context, builder, signature.args[0], *args[:2]))
            return context.get_dummy_value()

        return types.void(target, index, target.dtype), codegen

    @intrinsic
    def store4(typingctx: Any, target: Any, index: Any, four: Any) -> Any:
        """Store four elements from ``index`` on, by one instruction: 16-byte aligned."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = _address(context, builder, signature.args[0], *args[:2])
            vector = ir.Constant(ir.VectorType(_ELEMENTS[target.dtype], 4), ir.Undefined)
            for i in range(4):
                part = builder.extract_value(args[2], i)
                vector = builder.insert_element(vector, part, ir.Constant(_WORD, i))
            builder.store(vector, _wide(builder, place, target.dtype), align=16)
            return context.get_dummy_value()

        return types.void(target, index, four), codegen

    @intrinsic
    def store_first(typingctx: Any, target: Any, index: Any, four: Any, count: Any) -> Any:
        """Store the first ``count`` of four elements, one by one; all of them from four on."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = _address(context, builder, signature.args[0], *args[:2])
            for i in range(4):
                there = builder.icmp_signed(">", args[3], ir.Constant(args[3].type, i))
                with builder.if_then(there):
                    own = builder.gep(place, [ir.Constant(_WORD, i)])
                    builder.store(builder.extract_value(args[2], i), own)
            return context.get_dummy_value()

        return types.void(target, index, four, count), codegen

    @intrinsic
    def take4(typingctx: Any, array: Any, index: Any) -> Any:
        """Return four elements of a local array as a tuple."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = _address(context, builder, signature.args[0], *args)
            own = [builder.gep(place, [ir.Constant(_WORD, i)]) for i in range(4)]
            return context.make_tuple(builder, signature.return_type, map(builder.load, own))

        return types.UniTuple(array.dtype, 4)(array, index), codegen

    @intrinsic
    def put4(typingctx: Any, array: Any, index: Any, four: Any) -> Any:
        """Write a tuple to four elements of a local array."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = _address(context, builder, signature.args[0], *args[:2])
            for i in range(4):
                own = builder.gep(place, [ir.Constant(_WORD, i)])
                builder.store(builder.extract_value(args[2], i), own)
            return context.get_dummy_value()

        return types.void(array, index, four), codegen

    @intrinsic
    def fill(typingctx: Any, array: Any, count: Any, value: Any) -> Any:
        """Write a value to the first ``count`` elements of a local array: a constant number."""
        if not isinstance(count, types.IntegerLiteral):
            return None

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0]).data
            for i in range(count.literal_value):
                builder.store(args[2], builder.gep(data, [ir.Constant(_WORD, i)]))
            return context.get_dummy_value()

        return types.void(array, count, value), codegen

    @intrinsic
    def add4(typingctx: Any, left: Any, right: Any) -> Any:
        """Add two tuples of four, element by element."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pairs = [[builder.extract_value(side, i) for side in args] for i in range(4)]
            sums = [builder.fadd(*pair) for pair in pairs]
            return context.make_tuple(builder, signature.return_type, sums)

        return left(left, right), codegen

    def combine4(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        """Return the intrinsic that does a function of two numbers to four pairs."""

        @intrinsic
        def combined(typingctx: Any, left: Any, right: Any) -> Any:
            one = left.dtype(left.dtype, left.dtype)

            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                done = [
                    context.compile_internal(
                        builder, function, one, [builder.extract_value(side, i) for side in args]
                    )
                    for i in range(4)
                ]
                return context.make_tuple(builder, signature.return_type, done)

            return left(left, left), codegen

        return combined

    @intrinsic
    def load_first(typingctx: Any, source: Any, index: Any, count: Any) -> Any:
        """Load the first ``count`` of four elements, and zeros for the others."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = _address(context, builder, signature.args[0], *args[:2])
            zero = ir.Constant(_ELEMENTS[source.dtype], 0)
            parts = []
            for i in range(4):
                there = builder.icmp_signed(">", args[2], ir.Constant(args[2].type, i))
                before = builder.block
                with builder.if_then(there):
                    loaded = builder.load(builder.gep(place, [ir.Constant(_WORD, i)]))
                    inside = builder.block
                value = builder.phi(zero.type)
                value.add_incoming(zero, before)
                value.add_incoming(loaded, inside)
                parts.append(value)
            return context.make_tuple(builder, signature.return_type, parts)

        return types.UniTuple(source.dtype, 4)(source, index, count), codegen

    def map4(function: Callable[[Any], Any]) -> Callable[..., Any]:
        """Return the intrinsic that does a function of one number to each of four."""

        @intrinsic
        def mapped(typingctx: Any, four: Any) -> Any:
            one = four.dtype(four.dtype)

            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                given = [builder.extract_value(args[0], i) for i in range(4)]
                done = [context.compile_internal(builder, function, one, (x,)) for x in given]
                return context.make_tuple(builder, signature.return_type, done)

            return four(four), codegen

        return mapped

    def _fused(builder: Any) -> Any:
        """Return the function that multiplies and adds with one rounding."""
        kind = ir.FunctionType(_FLOAT, [_FLOAT] * 3)
        return cgutils.get_or_insert_function(builder.module, kind, "llvm.fma.f32")

    @intrinsic
    def multiply_add4(typingctx: Any, sums: Any, index: Any, left: Any, right: Any) -> Any:
        """Add the products of four pairs to a local array from ``index`` on."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            start = _address(context, builder, signature.args[0], *args[:2])
            for i in range(4):
                place = builder.gep(start, [ir.Constant(_WORD, i)])
                pair = [builder.extract_value(side, i) for side in args[2:]]
                builder.store(builder.call(_fused(builder), [*pair, builder.load(place)]), place)
            return context.get_dummy_value()

        return types.void(sums, index, left, right), codegen

    def _add_products(builder: Any, start: Any, rows: list[Any], columns: list[Any]) -> None:
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                place = builder.gep(start, [ir.Constant(_WORD, i * len(columns) + j)])
                total = builder.call(_fused(builder), [row, column, builder.load(place)])
                builder.store(total, place)

    def _parts(builder: Any, kind: Any, value: Any) -> list[Any]:
        return [builder.extract_value(value, i) for i in range(kind.count)]

    @intrinsic
    def multiply_add(typingctx: Any, sums: Any, left: Any, right: Any) -> Any:
        """Add the outer product of two tuples to a local array, by rows: one FFMA each."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0])
            sides = map(_parts, [builder] * 2, signature.args[1:], args[1:])
            _add_products(builder, array.data, *sides)
            return context.get_dummy_value()

        return types.void(sums, left, right), codegen

    @intrinsic
    def multiply_add_at(typingctx: Any, sums: Any, start: Any, left: Any, right: Any) -> Any:
        """Do as `multiply_add` to the elements from ``start`` on."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            first = _address(context, builder, signature.args[0], *args[:2])
            sides = map(_parts, [builder] * 2, signature.args[2:], args[2:])
            _add_products(builder, first, *sides)
            return context.get_dummy_value()

        return types.void(sums, start, left, right), codegen


__all__ = [
    "add4",
    "combine4",
    "erfc",
    "exp",
    "expm1",
    "fill",
    "load",
    "load4",
    "load4_where",
    "load_first",
    "load_where",
    "log",
    "log1p",
    "map4",
    "multiply_add",
    "multiply_add4",
    "multiply_add_at",
    "put4",
    "sqrt",
    "store",
    "store4",
    "store_first",
    "take4",
    "tanh",
]
