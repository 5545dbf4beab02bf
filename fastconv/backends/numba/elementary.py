"""exp and its kin in plain arithmetic, so that a loop over them becomes vector instructions.

An argument is split into n ln 2 + r with abs(r) <= ln 2 / 2, the series of exp(r) - 1 is summed as
far as the dtype sees it, and 2^n is put together from bits (Cody, Waite: Software manual for the
elementary functions, 1980). Nothing branches, and a loop's vector body and its remainder give
the same bits. Errors are a few units in the last place; NaN and infinities come out as they should.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import log
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastconv.backends.native import coefficients
from fastconv.backends.numba.engine import part

Function = Callable[..., Any]
# ln 2 in two parts; the first has so few digits that its product with n is exact.
_LN2_DIGITS = {"float32": 15, "float64": 40}
_LN2 = 0xB17217F7D1CF79ABC9E3B39803F2F6AF  # ln 2 * 2^128, rounded down


def inlined(function: Function) -> Function:
    """Compile a function into every place that calls it."""
    compiled: Function = part(function, forceinline=True)
    return compiled


def clamped(x: Any, low: Any, high: Any) -> Any:
    """X inside [low, high], else the nearer limit; NaN stays. To be inlined."""
    return pick(x < low, low, pick(x > high, high, x))


@intrinsic
def pick(typingctx: Any, condition: Any, yes: Any, no: Any) -> Any:
    """Give ``yes`` where the condition holds, else ``no``: both are computed, nothing branches."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return yes(condition, yes, no), codegen


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Emit a * b + c, fused where the CPU can, in vectors and remainders alike."""
    signature = ir.FunctionType(a.type, [a.type] * 3)
    name = f"llvm.fmuladd.f{64 if a.type == ir.DoubleType() else 32}"
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), [a, b, c])


@intrinsic
def multiply_add(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Give a * b + c, fused where the CPU can."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _multiply_add(builder, *args)

    return a(a, b, c), codegen


@intrinsic
def _power_of_two(typingctx: Any, shifted: Any) -> Any:
    """Give 2^n1 and 2^n2 with n1 + n2 = n, for a float that is n + 1.5 * 2^(mantissa bits).

    Two factors, because the smallest and the largest results need an n that no exponent holds.
    """
    wide = shifted == types.float64
    integer = ir.IntType(64 if wide else 32)
    mantissa, exponent_bias = (52, 1023) if wide else (23, 127)
    magic = np.array(1.5 * 2.0**mantissa, np.float64 if wide else np.float32)
    magic_bits = int(magic.view(np.int64 if wide else np.int32))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        n = builder.sub(builder.bitcast(args[0], integer), integer(magic_bits))
        half = builder.ashr(n, integer(1))
        factors = [
            builder.bitcast(
                builder.shl(builder.add(part, integer(exponent_bias)), integer(mantissa)),
                args[0].type,
            )
            for part in (half, builder.sub(n, half))
        ]
        return context.make_tuple(builder, signature.return_type, factors)

    return types.UniTuple(shifted, 2)(shifted), codegen


@intrinsic
def _as_exponent(typingctx: Any, shifted: Any) -> Any:
    """Give 2^n for a float that is n + the exponent's bias + 1.5 * 2^(mantissa bits)."""
    wide = shifted == types.float64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integer = ir.IntType(64 if wide else 32)
        bits = builder.shl(builder.bitcast(args[0], integer), integer(52 if wide else 23))
        return builder.bitcast(bits, args[0].type)

    return shifted(shifted), codegen


@intrinsic
def _with_sign(typingctx: Any, size: Any, sign: Any) -> Any:
    """Give a float of another's sign."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        function = ir.FunctionType(kind, [kind] * 2)
        name = f"llvm.copysign.f{64 if kind == ir.DoubleType() else 32}"
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)

    return size(size, sign), codegen


@functools.cache
def _make_parts(name: str) -> Function:
    """Make the function that gives exp(r) - 1 and the two factors of 2^n for a clamped x."""
    real = np.dtype(name).type
    wide = name == "float64"
    digits = _LN2_DIGITS[name]
    high = real((_LN2 >> (128 - digits)) * 2.0**-digits)
    low = real((_LN2 - ((_LN2 >> (128 - digits)) << (128 - digits))) * 2.0**-128)
    log2e, magic = real(1 / log(2)), real(1.5 * 2.0 ** (52 if wide else 23))
    series = make_series(coefficients.exponential(name))

    @inlined
    def parts(x):  # type: ignore[no-untyped-def]
        shifted = multiply_add(x, log2e, magic)
        n = shifted - magic
        r = multiply_add(-n, low, multiply_add(-n, high, x))
        first, second = _power_of_two(shifted)
        return multiply_add(series(r), r * r, r), first, second

    return parts


def make_series(terms: tuple[Any, ...]) -> Function:
    """Make the function that gives the polynomial with these coefficients, highest first."""

    @intrinsic
    def series(typingctx: Any, x: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            numbers = [ir.Constant(args[0].type, float(term)) for term in terms]
            total = numbers[0]
            for number in numbers[1:]:
                total = _multiply_add(builder, total, args[0], number)
            return total

        return x(x), codegen

    return series  # type: ignore[no-any-return]


@functools.cache
def make_exp(name: str) -> Function:
    """Make exp for a dtype."""
    real = np.dtype(name).type
    parts = _make_parts(name)
    low, high = (real(-760), real(720)) if name == "float64" else (real(-110), real(95))

    @inlined
    def exp(x):  # type: ignore[no-untyped-def]
        x = pick(x < low, low, x)
        x = pick(x > high, high, x)
        less_one, first, second = parts(x)
        return multiply_add(less_one, first, first) * second

    return exp


@functools.cache
def make_expm1(name: str) -> Function:
    """Make exp(x) - 1, exact near zero too."""
    real = np.dtype(name).type
    parts = _make_parts(name)
    low, high = (real(-60), real(720)) if name == "float64" else (real(-30), real(95))
    one = real(1)

    @inlined
    def expm1(x):  # type: ignore[no-untyped-def]
        x = pick(x < low, low, x)
        x = pick(x > high, high, x)
        less_one, first, second = parts(x)
        power = first * second
        large = ((less_one + one) * first) * second - one
        return pick(x > one, large, power * less_one + (power - one))

    return expm1


@functools.cache
def make_log1p(name: str) -> Function:
    """Make log(1 + x) for 0 <= x <= 1: twice the inverse tangent of x / (2 + x), hyperbolic."""
    real = np.dtype(name).type
    two = real(2)
    count = 17 if name == "float64" else 8
    series = make_series(tuple(real(2 / (2 * k + 1)) for k in range(count, -1, -1)))

    @inlined
    def log1p(x):  # type: ignore[no-untyped-def]
        s = x / (two + x)
        return s * series(s * s)

    return log1p


@functools.cache
def make_tanh(name: str) -> Function:
    """Make the hyperbolic tangent.

    With abs(x) = n ln 2 / 2 + r, s = 2^n and w = tanh(r), it is
    ((s - 1) + (s + 1) w) / ((s + 1) + (s - 1) w): no difference in it loses digits.
    """
    real = np.dtype(name).type
    wide = name == "float64"
    bias, mantissa = (1023, 52) if wide else (127, 23)
    # n's product is exact for n = 0; where it is not, r matters less than s.
    inverse, half_ln2 = real(2 / log(2)), real(log(2) / 2)
    magic = real(1.5 * 2.0**mantissa + bias)
    # From here on the result is 1.
    most = real(20 if wide else 10)
    zero, one = real(0), real(1)
    series = make_series(coefficients.hyperbolic_tangent(name))

    @inlined
    def tanh(x):  # type: ignore[no-untyped-def]
        size = pick(x < zero, -x, x)
        size = pick(size > most, most, size)
        shifted = multiply_add(size, inverse, magic)
        r = multiply_add(magic - shifted, half_ln2, size)
        s = _as_exponent(shifted)
        square = r * r
        w = multiply_add(series(square), r * square, r)
        less, more = s - one, s + one
        t = multiply_add(more, w, less) / multiply_add(less, w, more)
        return _with_sign(t, x)

    return tanh
