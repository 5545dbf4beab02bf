"""Casts: 16-bit floats to float32 and back, integers to floats that hold them, and back.

float16 takes the CPU's instructions where it has them, else integer arithmetic; bfloat16 is the
upper half of a float32, rounded to the nearest, ties to even.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from fastconv.backends.manifest.elements import Cast
from fastconv.backends.numba.engine import Slot, Stage, array, kernel
from fastconv.backends.numba.simd import Tile
from fastconv.machine import Machine, get_machine
from fastconv.problem.values import SIXTEEN

# Elements of a work item.
BLOCK = Cast.BLOCK

Build = Callable[[Any, int, Any], Any]


def cast_stage(
    source: Slot, target: Slot, count: int, dtypes: tuple[np.dtype[Any], np.dtype[Any]]
) -> Stage:
    """Return the stage that casts ``count`` elements from the first dtype to the second."""
    address = _kernel_of(*(dtype.name for dtype in dtypes))
    return Stage(address, -(-count // BLOCK), Cast(source=source, target=target, count=count))


def _kernel_of(source: str, target: str) -> int:
    if source not in SIXTEEN and target not in SIXTEEN:
        return convert(source, target)
    machine = get_machine()
    lanes = machine.lanes(np.dtype(np.float32))
    return cast_sixteen(source, target, lanes, converts_halves(machine))


def converts_halves(machine: Machine) -> bool:
    """Return whether code is compiled for a CPU with instructions for float16.

    Numba may be told of a lesser CPU than there is; LLVM would then call functions of a library
    that is missing.
    """
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return machine.isa != "generic" and "+f16c" in features.split(",")


def _vector(ty: Any, lanes: int) -> Any:
    return ir.VectorType(ty, lanes)


def _constant(lanes: int, value: int | float, ty: Any = None) -> Any:
    element = ir.IntType(32) if ty is None else ty
    return ir.Constant(_vector(element, lanes), [ir.Constant(element, value)] * lanes)


def _half_to_single(builder: Any, lanes: int, halves: Any) -> Any:
    return builder.fpext(
        builder.bitcast(halves, _vector(ir.HalfType(), lanes)), _vector(ir.FloatType(), lanes)
    )


def _single_to_half(builder: Any, lanes: int, singles: Any) -> Any:
    halves = builder.fptrunc(singles, _vector(ir.HalfType(), lanes))
    return builder.bitcast(halves, _vector(ir.IntType(16), lanes))


def _half_to_single_by_integers(builder: Any, lanes: int, halves: Any) -> Any:
    def number(value: int) -> Any:
        return _constant(lanes, value)

    single = _vector(ir.FloatType(), lanes)
    bits = builder.zext(halves, _vector(ir.IntType(32), lanes))
    sign = builder.shl(builder.and_(bits, number(0x8000)), number(16))
    exponent = builder.and_(bits, number(0x7C00))
    shifted = builder.shl(builder.and_(bits, number(0x7FFF)), number(13))
    normal = builder.add(shifted, number(112 << 23))
    special = builder.or_(shifted, number(0x7F800000))
    fraction = builder.sitofp(builder.and_(bits, number(0x3FF)), single)
    small = builder.fmul(fraction, _constant(lanes, 2.0**-24, ir.FloatType()))
    small = builder.bitcast(small, bits.type)
    size = builder.select(builder.icmp_unsigned("==", exponent, number(0x7C00)), special, normal)
    size = builder.select(builder.icmp_unsigned("==", exponent, number(0)), small, size)
    return builder.bitcast(builder.or_(size, sign), single)


def _single_to_half_by_integers(builder: Any, lanes: int, singles: Any) -> Any:
    def number(value: int) -> Any:
        return _constant(lanes, value)

    integer = _vector(ir.IntType(32), lanes)
    bits = builder.bitcast(singles, integer)
    sign = builder.lshr(builder.and_(bits, number(0x80000000)), number(16))
    size = builder.and_(bits, number(0x7FFFFFFF))
    # To the nearest, ties to even: half of the last place, less one where that is even.
    odd = builder.and_(builder.lshr(size, number(13)), number(1))
    rounded = builder.add(builder.add(size, number(0x100000000 - (112 << 23) + 0xFFF)), odd)
    normal = builder.lshr(rounded, number(13))
    # Below 2^-14 the sum with a half leaves the subnormal's bits, rounded, at the end.
    half = _constant(lanes, 0.5, ir.FloatType())
    moved = builder.fadd(builder.bitcast(size, singles.type), half)
    small = builder.sub(builder.bitcast(moved, integer), number(0x3F000000))
    is_nan = builder.icmp_unsigned(">", size, number(0x7F800000))
    large = builder.select(is_nan, number(0x7E00), number(0x7C00))
    result = builder.select(builder.icmp_unsigned("<", size, number(0x38800000)), small, normal)
    result = builder.select(builder.icmp_unsigned(">=", size, number(0x47800000)), large, result)
    return builder.trunc(builder.or_(result, sign), _vector(ir.IntType(16), lanes))


def _brain_to_single(builder: Any, lanes: int, brains: Any) -> Any:
    bits = builder.zext(brains, _vector(ir.IntType(32), lanes))
    bits = builder.shl(bits, _constant(lanes, 16))
    return builder.bitcast(bits, _vector(ir.FloatType(), lanes))


def _single_to_brain(builder: Any, lanes: int, singles: Any) -> Any:
    bits = builder.bitcast(singles, _vector(ir.IntType(32), lanes))
    upper = builder.lshr(bits, _constant(lanes, 16))
    odd = builder.and_(upper, _constant(lanes, 1))
    rounded = builder.add(builder.add(bits, _constant(lanes, 0x7FFF)), odd)
    rounded = builder.lshr(rounded, _constant(lanes, 16))
    quiet = builder.or_(upper, _constant(lanes, 0x40))
    is_nan = builder.fcmp_unordered("uno", singles, singles)
    return builder.trunc(builder.select(is_nan, quiet, rounded), _vector(ir.IntType(16), lanes))


def _word(name: str, build: Build, narrowing: bool) -> Any:
    """Make the word that casts a vector (of a tile's lanes) from one address to another."""

    def typed(typingctx: Any, shape: Any, source: Any, target: Any) -> Any:
        lanes = shape.shape.lanes
        short, single = _vector(ir.IntType(16), lanes), _vector(ir.FloatType(), lanes)
        given, made = (single, short) if narrowing else (short, single)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.load(builder.inttoptr(args[1], given.as_pointer()))
            value.align = 4 if narrowing else 2
            result = build(builder, lanes, value)
            stored = builder.store(result, builder.inttoptr(args[2], made.as_pointer()))
            stored.align = 2 if narrowing else 4
            return context.get_dummy_value()

        return types.void(shape, types.int64, types.int64), codegen

    typed.__name__ = typed.__qualname__ = name
    return intrinsic(typed)


# (source, target, by the CPU's instructions) -> word. bfloat16's words are integers' always.
WORDS: dict[tuple[str, str, bool], Any] = {
    ("float16", "float32", True): _word("half_to_single", _half_to_single, False),
    ("float32", "float16", True): _word("single_to_half", _single_to_half, True),
    ("float16", "float32", False): _word(
        "half_to_single_by_integers", _half_to_single_by_integers, False
    ),
    ("float32", "float16", False): _word(
        "single_to_half_by_integers", _single_to_half_by_integers, True
    ),
}
for _hardware in (False, True):
    WORDS["bfloat16", "float32", _hardware] = _word("brain_to_single", _brain_to_single, False)
    WORDS["float32", "bfloat16", _hardware] = _word("single_to_brain", _single_to_brain, True)


@kernel(Cast)
def cast_sixteen(source: str, target: str, lanes: int, hardware: bool):  # type: ignore[no-untyped-def]
    """Cast between 16 bits and float32: a work item is a block of elements."""
    word = WORDS[source, target, hardware]
    wide, single = (Tile("float32", n, 1, 1, False) for n in (lanes, 1))
    from_size, to_size = (2 if name in SIXTEEN else 4 for name in (source, target))

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        stop = min(last * BLOCK, args.count)
        i = first * BLOCK
        while i + lanes <= stop:
            word(wide, args.source + i * from_size, args.target + i * to_size)
            i += lanes
        while i < stop:
            word(single, args.source + i * from_size, args.target + i * to_size)
            i += 1

    return body


@kernel(Cast)
def convert(source: str, target: str):  # type: ignore[no-untyped-def]
    """Convert numbers that the target holds exactly: a work item is a block of elements."""
    given, made = np.dtype(source).type, np.dtype(target).type
    from_size, to_size = np.dtype(source).itemsize, np.dtype(target).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        start = first * BLOCK
        count = min(last * BLOCK, args.count) - start
        x = array(args.source + start * from_size, (count,), given)
        y = array(args.target + start * to_size, (count,), made)
        for i in range(count):
            y[i] = made(x[i])

    return body
