"""The kernels that measure the machine: multiply-adds in registers, and reading memory."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastconv.backends.manifest.moves import Chains, ReadBytes
from fastconv.backends.native import peak as w
from fastconv.backends.numba import simd
from fastconv.backends.numba.engine import kernel


@intrinsic
def multiply_chains(
    typingctx: Any, shape: Any, steps: Any, factor: Any, term: Any, sink: Any
) -> Any:
    """Do so many multiply-adds in each chain, and store the sum of the chains."""
    s = shape.shape

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, steps, *numbers, sink = args
        if s.dtype == "float32":
            numbers = [builder.fptrunc(number, s.element) for number in numbers]
        by, added = (simd.splat(builder, s, number) for number in numbers)
        # LLVM keeps them in registers.
        chains = [cgutils.alloca_once_value(builder, added) for _ in range(w.CHAINS)]
        with cgutils.for_range(builder, steps):
            for chain in chains:
                value = simd.multiply_add(builder, s, builder.load(chain), by, added)
                builder.store(value, chain)
        total = builder.load(chains[0])
        for chain in chains[1:]:
            total = builder.fadd(total, builder.load(chain))
        simd.store(builder, s, total, sink)
        return context.get_dummy_value()

    return types.void(shape, types.int64, types.float64, types.float64, types.int64), codegen


@intrinsic
def read_block(typingctx: Any, shape: Any, source: Any, blocks: Any, sink: Any) -> Any:
    """Read so many blocks of vectors, and store what all their bits come to."""
    s = shape.shape
    bits = ir.VectorType(simd.I64, s.lanes * s.size // 8)
    step = s.lanes * s.size

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, source, blocks, sink = args
        zero = ir.Constant(bits, None)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(w.SUMS)]
        with cgutils.for_range(builder, blocks) as loop:
            start = builder.add(source, builder.mul(loop.index, simd.I64(w.SUMS * step)))
            for number, kept in enumerate(sums):
                place = simd.offset_by(builder, start, number * step)
                value = builder.bitcast(simd.load(builder, s, place), bits)
                builder.store(builder.xor(builder.load(kept), value), kept)
        total = builder.load(sums[0])
        for kept in sums[1:]:
            total = builder.xor(total, builder.load(kept))
        simd.store(builder, s, builder.bitcast(total, s.vector), sink)
        return context.get_dummy_value()

    return types.void(shape, types.int64, types.int64, types.int64), codegen


@kernel(Chains)
def chains(tile: simd.Tile):  # type: ignore[no-untyped-def]
    """Multiply and add in registers alone."""

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        sink = args.sink + worker * args.sink_stride
        steps = (last - first) * args.steps
        multiply_chains(tile, steps, args.factor, args.term, sink)

    return body


@kernel(ReadBytes)
def read(tile: simd.Tile):  # type: ignore[no-untyped-def]
    """Read each item's part so many times."""
    block = w.SUMS * tile.lanes * tile.size

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        size = args.part_bytes
        sink = args.sink + worker * args.sink_stride
        for item in range(first, last):
            for _ in range(args.times):
                read_block(tile, args.source + item * size, size // block, sink)

    return body
