"""Loads that a kernel begins long before it needs them, with constant offsets in the instruction.

`copy4` goes from global to shared memory past the registers (cp.async, sm_80 and later): a thread's
copies are visible to itself after `wait_copies`, and for its block after the barrier behind that
(PTX ISA, "Data movement and conversion: asynchronous copy").
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import config

if config.ENABLE_CUDASIM:
    from fastconv.backends.cuda.engine.emulation import load4, load_where, store, store4
    from fastconv.backends.cuda.engine.simulator import current

    def copy4(target: Any, index: Any, near: int, source: Any, place: Any, far: int) -> None:
        """Begin to copy four elements: from ``place + far`` to ``index + near``."""
        pending = vars(current()).setdefault("pending", [])
        pending.append((target, index + near, load4(source, place + far)))

    def copy_bit(
        target: Any, index: Any, near: int, source: Any, place: Any, far: int, mask: Any, bit: int
    ) -> None:
        """Begin to copy the element at ``place + far`` to ``index + near``, or a zero."""
        pending = vars(current()).setdefault("pending", [])
        pending.append((target, index + near, load_bit(source, place, far, mask, bit)))

    def wait_copies() -> None:
        """Wait for all copies that this thread began."""
        for target, index, value in vars(current()).pop("pending", []):
            (store4 if isinstance(value, tuple) else store)(target, index, value)

    def load_if(source: Any, index: Any, inside: Any) -> Any:
        """Load an element where ``inside``; else give zero."""
        return load_where(source, index, inside)

    def load_bit(source: Any, index: Any, offset: int, mask: Any, bit: int) -> Any:
        """Load the element at ``index + offset`` where a bit of a mask is set; else give zero."""
        return load_where(source, index + offset, int(mask) >> bit & 1)

    def part(source: Any, index: Any) -> Any:
        """Return memory from an element on."""
        return source[index:]

    def thread_again() -> Any:
        """Return this thread's number, read again."""
        return current().threadIdx.x

else:
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    from fastconv.backends.cuda.engine.intrinsics import _address

    _WORD, _LONG = ir.IntType(32), ir.IntType(64)
    _GLOBAL, _SHARED = 1, 3

    def _literal(*kinds: Any) -> bool:
        return all(isinstance(kind, types.IntegerLiteral) for kind in kinds)

    def _asm(builder: Any, result: Any, text: str, constraints: str, arguments: list[Any]) -> Any:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        # It stays where it is written: what is begun early is not to be moved to where it is used.
        return builder.call(ir.InlineAsm(kind, text, constraints, True), arguments)

    def _shared_place(context: Any, builder: Any, kind: Any, value: Any, index: Any) -> Any:
        """Return the address of an element of a shared array as asm takes it: one word."""
        place = _address(context, builder, kind, value, index)
        place = builder.addrspacecast(place, place.type.pointee.as_pointer(_SHARED))
        return builder.trunc(builder.ptrtoint(place, _LONG), _WORD)

    def _load_picked(builder: Any, place: Any, offset: int, mask: Any, picked: int) -> Any:
        text = (
            f"{{ .reg .pred p; .reg .b32 t; and.b32 t, $2, {picked}; setp.ne.b32 p, t, 0; "
            f"mov.f32 $0, 0f00000000; @p ld.global.nc.f32 $0, [$1+{offset}]; }}"
        )
        return _asm(builder, ir.FloatType(), text, "=f,l,r", [place, mask])

    @intrinsic
    def copy4(
        typingctx: Any, target: Any, index: Any, near: Any, source: Any, place: Any, far: Any
    ) -> Any:
        """Begin to copy four elements: from ``place + far`` to ``index + near``.

        By one instruction; both addresses are 16-byte aligned, and both offsets constant numbers.
        """
        if not _literal(near, far):
            return None
        size = np.dtype(source.dtype.name).itemsize

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            to = _shared_place(context, builder, signature.args[0], *args[:2])
            whence = _address(context, builder, signature.args[3], *args[3:5])
            offsets = near.literal_value * size, far.literal_value * size
            text = "cp.async.cg.shared.global [$0+{}], [$1+{}], 16;".format(*offsets)
            _asm(builder, ir.VoidType(), text, "r,l,~{memory}", [to, whence])
            return context.get_dummy_value()

        return types.void(target, index, near, source, place, far), codegen

    @intrinsic
    def copy_bit(
        typingctx: Any, target: Any, index: Any, near: Any, source: Any, place: Any, far: Any,
        mask: Any, bit: Any,
    ) -> Any:  # fmt: skip
        """Begin to copy the element at ``place + far`` to ``index + near``, or a zero.

        A zero where a bit of a mask is not set. Offsets and ``bit`` are constant numbers.
        """
        if not _literal(near, far, bit):
            return None
        size = np.dtype(source.dtype.name).itemsize

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            to = _shared_place(context, builder, signature.args[0], *args[:2])
            whence = _address(context, builder, signature.args[3], *args[3:5])
            text = (
                f"{{ .reg .pred p; .reg .b32 t; and.b32 t, $2, {1 << bit.literal_value}; "
                "setp.eq.b32 p, t, 0; cp.async.ca.shared.global "
                f"[$0+{near.literal_value * size}], [$1+{far.literal_value * size}], {size}, p; }}"
            )
            _asm(builder, ir.VoidType(), text, "r,l,r,~{memory}", [to, whence, args[6]])
            return context.get_dummy_value()

        return types.void(target, index, near, source, place, far, mask, bit), codegen

    @intrinsic
    def wait_copies(typingctx: Any) -> Any:
        """Wait for all copies that this thread began."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _asm(builder, ir.VoidType(), "cp.async.wait_all;", "~{memory}", [])
            return context.get_dummy_value()

        return types.void(), codegen

    @intrinsic
    def load_bit(typingctx: Any, source: Any, index: Any, offset: Any, mask: Any, bit: Any) -> Any:
        """Load the element at ``index + offset`` where a bit of a mask is set; else give zero.

        Nothing may write to ``source`` while the kernel runs. ``offset`` and ``bit`` are constant
        numbers.
        """
        if not _literal(offset, bit):
            return None
        size = np.dtype(source.dtype.name).itemsize

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = _address(context, builder, signature.args[0], *args[:2])
            apart = offset.literal_value * size
            return _load_picked(builder, place, apart, args[3], 1 << bit.literal_value)

        return types.float32(source, index, offset, mask, bit), codegen

    @intrinsic
    def load_if(typingctx: Any, source: Any, index: Any, inside: Any) -> Any:
        """Load an element where ``inside``; else give zero. Its address is worked out in any case.

        Nothing may write to ``source`` while the kernel runs.
        """

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = _address(context, builder, signature.args[0], *args[:2])
            return _load_picked(builder, place, 0, builder.zext(args[2], _WORD), 1)

        return types.float32(source, index, types.boolean), codegen

    @intrinsic
    def part(typingctx: Any, source: Any, index: Any) -> Any:
        """Return memory from an element on: its address is worked out once, and kept."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = _address(context, builder, signature.args[0], *args)
            number = builder.ptrtoint(place, _LONG)
            kept = _asm(builder, _LONG, "mov.u64 $0, $1;", "=l,l", [number])
            there = builder.inttoptr(kept, place.type.pointee.as_pointer(_GLOBAL))
            return builder.addrspacecast(there, place.type)

        return source(source, index), codegen

    @intrinsic
    def thread_again(typingctx: Any) -> Any:
        """Return this thread's number, read again: what depends on it takes no registers before."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _asm(builder, _WORD, "mov.u32 $0, %tid.x;", "=r", [])

        return types.int32(), codegen


__all__ = ["copy4", "copy_bit", "load_bit", "load_if", "part", "thread_again", "wait_copies"]
