"""Arguments of kernels: arrays at addresses, floats in the bits of an int64."""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic


@intrinsic
def as_pointer(typingctx: Any, address: Any) -> Any:
    """Turn an int64 address into a ``void *``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


@intrinsic
def address_of(typingctx: Any, pointer: Any) -> Any:
    """Return the address that a kernel's ``args`` are at."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ptrtoint(args[0], ir.IntType(64))

    return types.int64(pointer), codegen


@numba.njit(inline="always")
def array(address: int, shape: Any, dtype: Any) -> Any:
    """Return the C-contiguous array of ``shape`` (a tuple) and ``dtype`` at ``address``.

    Inside a kernel alone; ``dtype`` is a constant such as ``np.float32``.
    """
    return numba.carray(as_pointer(address), shape, dtype)


@intrinsic
def as_float(typingctx: Any, bits: Any) -> Any:
    """Read an int64's bits as a float64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


_KERNEL_TYPE = ir.FunctionType(
    ir.VoidType(), [ir.IntType(64).as_pointer(), ir.IntType(64), ir.IntType(64), ir.IntType(64)]
)


@intrinsic
def call_kernel(typingctx: Any, address: Any, args: Any, first: Any, last: Any, worker: Any) -> Any:
    """Call the kernel at ``address`` with the argument block at the address ``args``."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        function = builder.inttoptr(values[0], _KERNEL_TYPE.as_pointer())
        block = builder.inttoptr(values[1], ir.IntType(64).as_pointer())
        builder.call(function, [block, *values[2:]])
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 5), codegen
