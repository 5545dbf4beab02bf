"""Hopper's own instructions (sm_90a): copies of tensors, their barriers, and warpgroups' products.

Section names are those of the PTX ISA. Shared memory is named by 32-bit addresses; in the simulator
(NUMBA_ENABLE_CUDASIM=1) the same names are those of `hopper_emulation`.
"""

from __future__ import annotations

from typing import Any

from numba import config

from fastconv.backends.cuda.engine.warpgroup import ADVANCE, ITEMS, STEP

if config.ENABLE_CUDASIM:
    from fastconv.backends.cuda.engine.hopper_emulation import (
        acquire_map,
        barrier_arrive,
        barrier_expect,
        barrier_init,
        barrier_wait,
        commit_products,
        fence_barriers,
        load_pixels,
        load_tile,
        multiply_tiles,
        products_fence,
        products_wait,
        shared_address,
        spread,
    )
else:
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    _VOID, _FLOAT = ir.VoidType(), ir.FloatType()
    _WORD, _LONG = ir.IntType(32), ir.IntType(64)
    _SHARED = 3

    def _assembly(builder: Any, text: str, constraints: str, args: Any, result: Any = _VOID) -> Any:
        """Write instructions that stay in their place among others of theirs, and of memory.

        All threads of a warp run them together where the instruction is one of the whole warp's, so
        that no copy of them may be in branches: "convergent".
        """
        kind = ir.FunctionType(result, [a.type for a in args])
        clobbered = ",".join(filter(None, (constraints, "~{memory}")))
        called = builder.call(ir.InlineAsm(kind, text, clobbered, side_effect=True), list(args))
        called.attributes.add("convergent")
        return called

    def _instruction(text: str, constraints: str, kinds: tuple[Any, ...]) -> Any:
        """Return the parts of an intrinsic of plain operands without a result."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _assembly(builder, text, constraints, args)
            return context.get_dummy_value()

        return types.void(*kinds), codegen

    @intrinsic
    def shared_address(typingctx: Any, array: Any) -> Any:
        """Return the address of a shared array within the block's shared memory."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0]).data
            own = builder.addrspacecast(data, data.type.pointee.as_pointer(_SHARED))
            return builder.ptrtoint(own, _WORD)

        return types.uint32(array), codegen

    @intrinsic
    def barrier_init(typingctx: Any, barrier: Any, count: Any) -> Any:
        """Make 8 bytes a barrier: a phase ends with ``count`` arrivals and all bytes expected."""
        kinds = (types.uint32, types.uint32)
        return _instruction("mbarrier.init.shared::cta.b64 [$0], $1;", "r,r", kinds)

    @intrinsic
    def fence_barriers(typingctx: Any) -> Any:
        """Let the copies' engine see barriers that this thread made."""
        text = "fence.mbarrier_init.release.cluster; fence.proxy.async.shared::cta;"
        return _instruction(text, "", ())

    @intrinsic
    def barrier_expect(typingctx: Any, barrier: Any, size: Any) -> Any:
        """Arrive, and let the phase last until ``size`` bytes more have come."""
        text = "mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;"
        return _instruction(text, "r,r", (types.uint32, types.uint32))

    @intrinsic
    def barrier_arrive(typingctx: Any, barrier: Any) -> Any:
        """Arrive; what this thread did before is done for those who wait."""
        text = "mbarrier.arrive.shared::cta.b64 _, [$0];"
        return _instruction(text, "r", (types.uint32,))

    @intrinsic
    def barrier_wait(typingctx: Any, barrier: Any, parity: Any) -> Any:
        """Wait for the end of the phase of a parity: the first one's is 0."""
        # try_wait sleeps for a while that the system chooses, and may return before the end.
        text = (
            "{ .reg .pred done; "
            "AGAIN: mbarrier.try_wait.parity.shared::cta.b64 done, [$0], $1; "
            "@done bra ENDED; bra AGAIN; ENDED: }"
        )
        return _instruction(text, "r,r", (types.uint32, types.uint32))

    @intrinsic
    def acquire_map(typingctx: Any, map: Any) -> Any:
        """Let this block's copies read a map in global memory that the host has written.

        A map is read by a proxy of its own, whose cache the order of the stream does not keep up to
        date (CUDA programming guide, "Asynchronous data copies using the tensor memory
        accelerator", on maps in global memory): one fence a block is asked for.
        """
        text = "fence.proxy.tensormap::generic.acquire.sys [$0], 128;"
        return _instruction(text, "l", (map,))

    def load_pixels(dimensions: int) -> Any:
        """Return what copies a tile of pixels at a tap, for images of so many spatial dimensions.

        Parameters of what is given: the map, the address of the tile and of the barrier that its
        bytes come to, the first channel, the first pixel's (d, h, w) and image, the tap's (d, h, w)
        from the window's first.
        """
        # "cp.async.bulk.tensor", .im2col: coordinates are from the innermost dimension outwards,
        # offsets from the innermost spatial one, 16 bits each.
        count = dimensions + 2
        coordinates = ", ".join(f"${3 + i}" for i in range(count))
        offsets = ", ".join(f"${3 + count + i}" for i in range(dimensions))
        text = (
            f"cp.async.bulk.tensor.{count}d.shared::cluster.global.im2col"
            f".mbarrier::complete_tx::bytes [$0], [$1, {{{coordinates}}}], [$2], {{{offsets}}};"
        )
        constraints = ",".join(["r", "l", "r", *["r"] * count, *["h"] * dimensions])

        @intrinsic
        def load(
            typingctx: Any, map: Any, target: Any, barrier: Any, channel: Any, d: Any, h: Any,
            w: Any, image: Any, tap_d: Any, tap_h: Any, tap_w: Any,
        ) -> Any:  # fmt: skip
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                pointer, tile, own, first, d, h, w, image, *taps = args
                spatial = [w, h, d][:dimensions]
                short = [builder.trunc(t, ir.IntType(16)) for t in taps[::-1][:dimensions]]
                given = [tile, pointer, own, first, *spatial, image, *short]
                _assembly(builder, text, constraints, given)
                return context.get_dummy_value()

            plain = (types.uint32, types.uint32, *[types.int32] * 8)
            return types.void(map, *plain), codegen

        return load

    @intrinsic
    def load_tile(
        typingctx: Any, map: Any, target: Any, barrier: Any, column: Any, row: Any
    ) -> Any:
        """Copy a tile of a matrix from a column and a row on."""
        text = (
            "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
            "[$1], [$0, {$3, $4}], [$2];"
        )
        kinds = (map, types.uint32, types.uint32, types.int32, types.int32)
        return _instruction(text, "l,r,r,r,r", kinds)

    def _through(builder: Any, signature: Any, array: Any, count: int, context: Any, text: str,
                 constraints: str = "", args: Any = ()) -> None:  # fmt: skip
        """Lead ``count`` floats of a local array through instructions, which may change them.

        They are tied: in the registers in which they go in they come out, and nothing that reads
        them after may be moved before.
        """
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, array).data
        places = [builder.gep(data, [ir.Constant(_WORD, i)]) for i in range(count)]
        given = [builder.load(place) for place in places]
        tied = [*["=f"] * count, *map(str, range(count)), *filter(None, [constraints])]
        result = ir.LiteralStructType([_FLOAT] * count)
        made = _assembly(builder, text, ",".join(tied), [*given, *args], result)
        for i, place in enumerate(places):
            builder.store(builder.extract_value(made, i), place)

    def products_fence(count: int) -> Any:
        """Return what orders a thread's ``count`` sums before the products that add to them."""

        @intrinsic
        def fence(typingctx: Any, sums: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                text = "wgmma.fence.sync.aligned;"
                _through(builder, signature, args[0], count, context, text)
                return context.get_dummy_value()

            return types.void(sums), codegen

        return fence

    def multiply_tiles(columns: int, line: int, kind: str) -> Any:
        """Return what adds 64 rows times ``columns`` columns to a warpgroup's sums.

        Both sides are stored in shared memory behind descriptors, each row and each column a line
        of ``line`` bytes of factors: f16, bf16 or tf32. The sums are not available before
        `products_wait`.
        """
        count = columns // 2
        listed = ", ".join(f"${i}" for i in range(count))
        # The scale of the sums is a predicate; sides are neither negated nor, where they may be,
        # transposed: those of 16 bits.
        scales = "1, 1, 1, 0, 0" if ITEMS[kind] == 2 else "1, 1, 1"
        shape = f"m64n{columns}k{STEP // ITEMS[kind]}"
        steps = "".join(
            f"add.u64 left, ${2 * count}, {ADVANCE * step}; "
            f"add.u64 right, ${2 * count + 1}, {ADVANCE * step}; "
            f"wgmma.mma_async.sync.aligned.{shape}.f32.{kind}.{kind} "
            f"{{{listed}}}, left, right, {scales}; "
            for step in range(line // STEP)
        )
        text = f"{{ .reg .u64 left, right; {steps}}}"

        @intrinsic
        def multiply(typingctx: Any, sums: Any, left: Any, right: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                _through(builder, signature, args[0], count, context, text, "l,l", args[1:])
                return context.get_dummy_value()

            return types.void(sums, types.uint64, types.uint64), codegen

        return multiply

    @intrinsic
    def commit_products(typingctx: Any) -> Any:
        """Make what was multiplied since the last time a group that can be waited for."""
        return _instruction("wgmma.commit_group.sync.aligned;", "", ())

    def products_wait(count: int, pending: int) -> Any:
        """Return what waits until at most ``pending`` groups are unfinished, for ``count`` sums."""

        @intrinsic
        def wait(typingctx: Any, sums: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                text = f"wgmma.wait_group.sync.aligned {pending};"
                _through(builder, signature, args[0], count, context, text)
                return context.get_dummy_value()

            return types.void(sums), codegen

        return wait

    def spread(columns: int, pitch: int) -> Any:
        """Return what stores a thread's sums as rows of ``pitch`` floats: two floats at a time.

        ``start``: the place of the thread's first sum. A thread has two columns in each eight, of
        two rows that are eight apart ("Register Fragments for wgmma.mma_async.m64nNk16").
        """

        @intrinsic
        def store(typingctx: Any, target: Any, start: Any, sums: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                data, own = (
                    cgutils.create_struct_proxy(signature.args[i])(context, builder, args[i]).data
                    for i in (0, 2)
                )
                pair = ir.VectorType(_FLOAT, 2)
                first = builder.gep(data, [args[1]])
                for i in range(columns // 4):
                    offset = i // 2 * 8 + i % 2 * 8 * pitch
                    place = builder.gep(first, [ir.Constant(_WORD, offset)])
                    vector = ir.Constant(pair, ir.Undefined)
                    for j in range(2):
                        one = builder.load(builder.gep(own, [ir.Constant(_WORD, 2 * i + j)]))
                        vector = builder.insert_element(vector, one, ir.Constant(_WORD, j))
                    wide = builder.bitcast(place, pair.as_pointer(place.type.addrspace))
                    builder.store(vector, wide, align=8)
                return context.get_dummy_value()

            return types.void(target, start, sums), codegen

        return store


__all__ = [
    "acquire_map",
    "barrier_arrive",
    "barrier_expect",
    "barrier_init",
    "barrier_wait",
    "commit_products",
    "fence_barriers",
    "load_pixels",
    "load_tile",
    "multiply_tiles",
    "products_fence",
    "products_wait",
    "shared_address",
    "spread",
]
