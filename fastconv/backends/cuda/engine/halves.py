"""Four halves at a time, as float32: float16 and bfloat16 arrays are arrays of 16-bit words here.

Neither Numba nor its simulator has both types; a kernel knows which by ``kind``: f16 or bf16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import config

if config.ENABLE_CUDASIM:

    def widened(words: Any, kind: str) -> Any:
        """Return halves as float32."""
        given = np.asarray(words, np.uint16)
        if kind == "f16":
            return given.view(np.float16).astype(np.float32)
        return (given.astype(np.uint32) << 16).view(np.float32)

    def narrowed(values: Any, kind: str) -> Any:
        """Round float32 to the nearest halves, to even ones in the middle; a NaN stays one."""
        given = np.asarray(values, np.float32)
        with np.errstate(all="ignore"):
            if kind == "f16":
                return given.astype(np.float16).view(np.uint16)
        bits = given.view(np.uint32)
        rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
        return np.where(np.isnan(given), 0x7FFF, rounded).astype(np.uint16)

    def _check(array: Any, index: Any) -> None:
        if (array.__array_interface__["data"][0] + 2 * int(index)) % 8:
            raise ValueError(f"four halves from {int(index)} on are misaligned")

    def load_halves(kind: str) -> Any:
        """Return what loads four halves: 8-byte aligned."""

        def load(source: Any, index: Any) -> Any:
            _check(source, index)
            return tuple(widened(source[index : index + 4], kind))

        return load

    def load_halves_where(kind: str) -> Any:
        """Return what loads four halves where ``inside``: 8-byte aligned; else zeros."""

        def load(source: Any, index: Any, inside: Any) -> Any:
            if not inside:
                return (np.float32(0),) * 4
            _check(source, index)
            return tuple(widened(source[index : index + 4], kind))

        return load

    def load_half(kind: str) -> Any:
        """Return what loads one half."""
        return lambda source, index: widened([source[index]], kind)[0]

    def store_half(kind: str) -> Any:
        """Return what rounds a float and stores it."""

        def store(target: Any, index: Any, value: Any) -> None:
            target[index] = narrowed([value], kind)[0]

        return store

    def load_first_halves(kind: str) -> Any:
        """Return what loads the first ``count`` of four halves, and zeros for the others."""

        def load(source: Any, index: Any, count: Any) -> Any:
            given = [source[index + i] if i < count else 0 for i in range(4)]
            return tuple(widened(given, kind))

        return load

    def store_halves(kind: str) -> Any:
        """Return what rounds four floats and stores them: 8-byte aligned."""

        def store(target: Any, index: Any, four: Any) -> None:
            _check(target, index)
            target[index : index + 4] = narrowed(four, kind)

        return store

    def store_first_halves(kind: str) -> Any:
        """Return what rounds four floats and stores the first ``count``."""

        def store(target: Any, index: Any, four: Any, count: Any) -> None:
            for i, word in enumerate(narrowed(four, kind)):
                if i < count:
                    target[index + i] = word

        return store

else:
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    _FLOAT, _SHORT, _WORD = ir.FloatType(), ir.IntType(16), ir.IntType(32)

    def _wide(builder: Any, word: Any, kind: str) -> Any:
        if kind == "f16":
            return builder.fpext(builder.bitcast(word, ir.HalfType()), _FLOAT)
        shifted = builder.shl(builder.zext(word, _WORD), ir.Constant(_WORD, 16))
        return builder.bitcast(shifted, _FLOAT)

    def _four(builder: Any, given: Any, kind: str) -> list[Any]:
        """Return the floats of two words of two halves: four halves would be loaded in two."""
        parts = []
        for i in range(2):
            word = builder.extract_element(given, ir.Constant(_WORD, i))
            upper = builder.lshr(word, ir.Constant(_WORD, 16))
            parts += [builder.trunc(each, _SHORT) for each in (word, upper)]
        return [_wide(builder, part, kind) for part in parts]

    def _pairs(builder: Any, four: Any, kind: str) -> list[Any]:
        """Return four floats as two words of two halves, the first in the lower half."""
        form = ir.FunctionType(_WORD, [_FLOAT, _FLOAT])
        text = f"cvt.rn.{kind}x2.f32 $0, $1, $2;"
        parts = [builder.extract_value(four, i) for i in range(4)]
        return [
            builder.call(ir.InlineAsm(form, text, "=r,f,f"), [parts[i + 1], parts[i]])
            for i in (0, 2)
        ]

    def _vector(builder: Any, place: Any, element: Any, count: int) -> Any:
        pointer = ir.VectorType(element, count).as_pointer(place.type.addrspace)
        return builder.bitcast(place, pointer)

    def load_halves(kind: str) -> Any:
        """Return what loads four halves by one instruction: 8-byte aligned."""

        @intrinsic
        def load(typingctx: Any, source: Any, index: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                place = _vector(builder, builder.gep(args[0], [args[1]]), _WORD, 2)
                wide = _four(builder, builder.load(place, align=8), kind)
                return context.make_tuple(builder, signature.return_type, wide)

            return types.UniTuple(types.float32, 4)(source, index), codegen

        return load

    def load_halves_where(kind: str) -> Any:
        """Return what loads four halves where ``inside``: 8-byte aligned; else zeros."""

        @intrinsic
        def load(typingctx: Any, source: Any, index: Any, inside: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                zeros, before = ir.Constant(ir.VectorType(_WORD, 2), None), builder.block
                with builder.if_then(args[2]):
                    place = _vector(builder, builder.gep(args[0], [args[1]]), _WORD, 2)
                    loaded = builder.load(place, align=8)
                    there = builder.block
                given = builder.phi(zeros.type)
                given.add_incoming(zeros, before)
                given.add_incoming(loaded, there)
                wide = _four(builder, given, kind)
                return context.make_tuple(builder, signature.return_type, wide)

            return types.UniTuple(types.float32, 4)(source, index, types.boolean), codegen

        return load

    def load_half(kind: str) -> Any:
        """Return what loads one half."""

        @intrinsic
        def load(typingctx: Any, source: Any, index: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                return _wide(builder, builder.load(builder.gep(args[0], [args[1]])), kind)

            return types.float32(source, index), codegen

        return load

    def store_half(kind: str) -> Any:
        """Return what rounds a float and stores it."""
        form, text = ir.FunctionType(_SHORT, [_FLOAT]), f"cvt.rn.{kind}.f32 $0, $1;"

        @intrinsic
        def store(typingctx: Any, target: Any, index: Any, value: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                word = builder.call(ir.InlineAsm(form, text, "=h,f"), [args[2]])
                builder.store(word, builder.gep(args[0], [args[1]]))
                return context.get_dummy_value()

            return types.void(target, index, types.float32), codegen

        return store

    def load_first_halves(kind: str) -> Any:
        """Return what loads the first ``count`` of four halves, and zeros for the others."""

        @intrinsic
        def load(typingctx: Any, source: Any, index: Any, count: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                place, zero, parts = builder.gep(args[0], [args[1]]), ir.Constant(_SHORT, 0), []
                for i in range(4):
                    there = builder.icmp_signed(">", args[2], ir.Constant(args[2].type, i))
                    before = builder.block
                    with builder.if_then(there):
                        loaded = builder.load(builder.gep(place, [ir.Constant(_WORD, i)]))
                        inside = builder.block
                    value = builder.phi(_SHORT)
                    value.add_incoming(zero, before)
                    value.add_incoming(loaded, inside)
                    parts.append(value)
                wide = [_wide(builder, part, kind) for part in parts]
                return context.make_tuple(builder, signature.return_type, wide)

            return types.UniTuple(types.float32, 4)(source, index, count), codegen

        return load

    def store_halves(kind: str) -> Any:
        """Return what rounds four floats and stores them by one instruction: 8-byte aligned."""

        @intrinsic
        def store(typingctx: Any, target: Any, index: Any, four: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                place = _vector(builder, builder.gep(args[0], [args[1]]), _WORD, 2)
                vector = ir.Constant(ir.VectorType(_WORD, 2), ir.Undefined)
                for i, pair in enumerate(_pairs(builder, args[2], kind)):
                    vector = builder.insert_element(vector, pair, ir.Constant(_WORD, i))
                builder.store(vector, place, align=8)
                return context.get_dummy_value()

            return types.void(target, index, four), codegen

        return store

    def store_first_halves(kind: str) -> Any:
        """Return what rounds four floats and stores the first ``count``, one by one."""

        @intrinsic
        def store(typingctx: Any, target: Any, index: Any, four: Any, count: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                place = builder.gep(args[0], [args[1]])
                pairs = _pairs(builder, args[2], kind)
                for i in range(4):
                    there = builder.icmp_signed(">", args[3], ir.Constant(args[3].type, i))
                    with builder.if_then(there):
                        word = builder.lshr(pairs[i // 2], ir.Constant(_WORD, i % 2 * 16))
                        own = builder.gep(place, [ir.Constant(_WORD, i)])
                        builder.store(builder.trunc(word, _SHORT), own)
                return context.get_dummy_value()

            return types.void(target, index, four, count), codegen

        return store
