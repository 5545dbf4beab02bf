"""How a thread computes with floats while kernels run; see csrc/float_mode.h."""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_MACHINE = platform.machine().lower()
_X86 = _MACHINE in ("x86_64", "amd64")
_ARM = _MACHINE in ("aarch64", "arm64")
# Rounded to nearest, subnormal numbers taken as zero and never made.
FLOAT_MODE = 0x9FC0 if _X86 else 1 << 24 if _ARM else 0


@intrinsic
def swap_float_mode(typingctx: Any, mode: Any) -> Any:
    """Set how this thread computes with floats, and give how it did before."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _X86:
            return _swap_mxcsr(builder, args[0])
        if _ARM:
            return _swap_fpcr(builder, args[0])
        return args[0]

    return types.int64(types.int64), codegen


def _swap_mxcsr(builder: Any, mode: Any) -> Any:
    word = ir.IntType(32)
    place = cgutils.alloca_once(builder, word)
    pointer = builder.bitcast(place, cgutils.voidptr_t)
    _call(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), pointer)
    before = builder.zext(builder.load(place), mode.type)
    builder.store(builder.trunc(mode, word), place)
    _call(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), pointer)
    return before


def _swap_fpcr(builder: Any, mode: Any) -> Any:
    before = _call(builder, "llvm.aarch64.get.fpcr", mode.type)
    _call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), mode)
    return before


def _call(builder: Any, name: str, result: Any, *args: Any) -> Any:
    kind = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)
