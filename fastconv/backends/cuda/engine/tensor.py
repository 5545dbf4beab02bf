"""Tensor cores and what feeds them, on sm_80 and later: mma.sync, ldmatrix, cp.async.

A warp's threads hold a product's sides as fragments: words of local arrays. The left side's are
tiles of 16 lines, four words each; the right side's tiles of 8 columns, two words each; a word has
two halves or one tf32, and a tile is 16 or 8 terms of the sum deep. Lane l holds of every 8 x 8
words, or their pairs, line l // 4, place l % 4 (PTX ISA, matrix fragments for mma.m16n8k16 and
mma.m16n8k8).

Of the sums lane l holds lines l // 4 and 8 more of each tile, and two places of each tile's
columns. In its local array they are stored by (tile of lines, half of it, pair of tiles of
columns), in fours: two sums of the pair's first tile, two of its second.

In the simulator the same names are those of `tensor_emulation`.
"""

from __future__ import annotations

from typing import Any

from numba import config

from fastconv.backends.cuda.engine.fragments import CUT_MASK, HALF_UNIT, sum_places

if config.ENABLE_CUDASIM:
    from fastconv.backends.cuda.engine.tensor_emulation import (
        commit_copies,
        copy_async,
        cut_tf32,
        matrices,
        multiplying,
        packing,
        rest_tf32,
        round_tf32,
        wait_copies,
    )
else:
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    _FLOAT, _WORD, _LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)
    _NOTHING = ir.VoidType()
    # LLVM's address spaces.
    _GLOBAL, _SHARED = 1, 3

    def _asm(
        builder: Any, text: str, constraints: str, result: Any, given: Any, memory: bool = False
    ) -> Any:
        """Write an instruction; one that looks at memory stays in its place among the others."""
        kind = ir.FunctionType(result, [value.type for value in given])
        if memory:
            constraints += ",~{memory}" if constraints else "~{memory}"
        return builder.asm(kind, text, constraints, list(given), memory)

    def _shared(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
        """Return the address of a word in shared memory, as instructions take it."""
        data = cgutils.create_struct_proxy(kind)(context, builder, array).data
        word = builder.gep(data, [place])
        near = builder.addrspacecast(word, ir.PointerType(word.type.pointee, _SHARED))
        return builder.ptrtoint(near, _WORD)

    @intrinsic
    def copy_async(
        typingctx: Any, shared: Any, place: Any, source: Any, chunk: Any, inside: Any
    ) -> Any:
        """Begin to copy 16 bytes to words of shared memory, or zeros where not ``inside``.

        ``chunk`` counts the source's 16 bytes. What is not inside is not read.
        """

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            target = _shared(context, builder, signature.args[0], *args[:2])
            far = builder.addrspacecast(args[2], ir.PointerType(_WORD, _GLOBAL))
            start = builder.shl(builder.sext(args[3], _LONG), ir.Constant(_LONG, 4))
            address = builder.add(builder.ptrtoint(far, _LONG), start)
            size = builder.select(args[4], ir.Constant(_WORD, 16), ir.Constant(_WORD, 0))
            text = "cp.async.cg.shared.global [$0], [$1], 16, $2;"
            _asm(builder, text, "r,l,r", _NOTHING, (target, address, size), memory=True)
            return context.get_dummy_value()

        words = types.CPointer(types.int32)
        return types.void(shared, types.int32, words, types.int32, types.boolean), codegen

    @intrinsic
    def commit_copies(typingctx: Any) -> Any:
        """Make a group of the copies that this thread began since the last."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _asm(builder, "cp.async.commit_group;", "", _NOTHING, (), memory=True)
            return context.get_dummy_value()

        return types.void(), codegen

    @intrinsic
    def wait_copies(typingctx: Any, allowed: Any) -> Any:
        """Wait until all this thread's groups but the ``allowed`` newest have arrived: a constant.

        What other threads copied has arrived after their wait, and a barrier.
        """
        if not isinstance(allowed, types.IntegerLiteral):
            return None

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            text = f"cp.async.wait_group {allowed.literal_value};"
            _asm(builder, text, "", _NOTHING, (), memory=True)
            return context.get_dummy_value()

        return types.void(allowed), codegen

    def matrices(stride: int) -> Any:
        """Return a loader of four matrices of 8 lines of 16 bytes: lane l: line l % 8 of l // 8.

        ``load(shared, place, number)`` loads what is ``number`` times ``stride`` words behind the
        place, a constant. Each lane gets of each matrix one word: of line lane // 4 the place
        lane % 4.
        """

        @intrinsic
        def load(typingctx: Any, shared: Any, place: Any, number: Any) -> Any:
            if not isinstance(number, types.IntegerLiteral):
                return None

            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                start = _shared(context, builder, signature.args[0], *args[:2])
                away = 4 * stride * number.literal_value
                text = f"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{$0,$1,$2,$3}}, [$4+{away}];"
                four = ir.LiteralStructType([_WORD] * 4)
                found = _asm(builder, text, "=r,=r,=r,=r,r", four, (start,), memory=True)
                parts = [builder.extract_value(found, i) for i in range(4)]
                return context.make_tuple(builder, signature.return_type, parts)

            return types.UniTuple(types.int32, 4)(shared, types.int32, number), codegen

        return load

    # A tile's product, by its factors: they are exact in float32, and so are all sums of theirs.
    _SHAPES = {"f16": "m16n8k16", "bf16": "m16n8k16", "tf32": "m16n8k8"}

    def multiplying(factor: str, lines: int, columns: int) -> Any:
        """Return what adds the product of so many tiles of lines and of columns to the sums.

        ``multiply(sums, left, right)`` takes local arrays; ``factor`` is f16, bf16 or tf32.
        """
        text = (
            f"mma.sync.aligned.{_SHAPES[factor]}.row.col.f32.{factor}.{factor}.f32 "
            "{$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};"
        )
        constraints = "=f,=f,=f,=f,r,r,r,r,r,r,0,1,2,3"
        result = ir.LiteralStructType([_FLOAT] * 4)

        @intrinsic
        def multiply(typingctx: Any, sums: Any, left: Any, right: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                total, a, b = (
                    cgutils.create_struct_proxy(one)(context, builder, array).data
                    for one, array in zip(signature.args, args)
                )

                def words(data: Any, start: int, count: int) -> list[Any]:
                    places = range(start, start + count)
                    return [
                        builder.load(builder.gep(data, [ir.Constant(_WORD, i)])) for i in places
                    ]

                right_words = [words(b, 2 * j, 2) for j in range(columns)]
                for i in range(lines):
                    left_words = words(a, 4 * i, 4)
                    for j in range(columns):
                        own = [
                            builder.gep(total, [ir.Constant(_WORD, place)])
                            for place in sum_places(i, j, columns)
                        ]
                        given = [*left_words, *right_words[j], *map(builder.load, own)]
                        found = _asm(builder, text, constraints, result, given)
                        for n, place in enumerate(own):
                            builder.store(builder.extract_value(found, n), place)
                return context.get_dummy_value()

            return types.void(sums, left, right), codegen

        return multiply

    def _bits(builder: Any, word: Any) -> Any:
        return builder.bitcast(word, _FLOAT)

    def _each(function: Any) -> Any:
        """Return what does a function of words to four of each side."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            done = [
                function(builder, *(builder.extract_value(side, i) for side in args))
                for i in range(4)
            ]
            return context.make_tuple(builder, signature.return_type, done)

        return codegen

    @intrinsic
    def round_tf32(typingctx: Any, words: Any) -> Any:
        """Round four float32, as words, to the nearest tf32, ties away from zero."""

        def rounded(builder: Any, word: Any) -> Any:
            text = "cvt.rna.tf32.f32 $0, $1;"
            return _asm(builder, text, "=r,f", _WORD, (_bits(builder, word),))

        return words(words), _each(rounded)

    @intrinsic
    def cut_tf32(typingctx: Any, words: Any) -> Any:
        """Round four float32, as words, toward zero to tf32."""

        def cut(builder: Any, word: Any) -> Any:
            return builder.and_(word, ir.Constant(_WORD, CUT_MASK))

        return words(words), _each(cut)

    @intrinsic
    def rest_tf32(typingctx: Any, words: Any, cut: Any) -> Any:
        """Return what four float32 have beyond what was cut to tf32.

        Half a unit is added, since tensor cores do not look at what is below tf32's last place.
        """

        def rest(builder: Any, word: Any, main: Any) -> Any:
            number = builder.fsub(_bits(builder, word), _bits(builder, main))
            return builder.add(builder.bitcast(number, _WORD), ir.Constant(_WORD, HALF_UNIT))

        return words(words, words), _each(rest)

    def packing(kind: str) -> Any:
        """Return what rounds eight float32 to halves: of each four the first two with the last two.

        So two fours of `matrices`, of lines of 16 float32, are the left side's tile.
        """
        text = f"cvt.rn.{kind}x2.f32 $0, $1, $2;"

        @intrinsic
        def pack(typingctx: Any, first: Any, second: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                done = []
                for four in args:
                    parts = [_bits(builder, builder.extract_value(four, i)) for i in range(4)]
                    pairs = [(parts[i + 2], parts[i]) for i in range(2)]
                    done += [_asm(builder, text, "=r,f,f", _WORD, pair) for pair in pairs]
                return context.make_tuple(builder, signature.return_type, done)

            return first(first, second), codegen

        return pack


__all__ = [
    "commit_copies",
    "copy_async",
    "cut_tf32",
    "matrices",
    "multiplying",
    "packing",
    "rest_tf32",
    "round_tf32",
    "wait_copies",
]
