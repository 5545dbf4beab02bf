"""Fourier transforms in place, as many at once as a vector has lanes."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastconv.backends.manifest.convolutions import FftPass
from fastconv.backends.manifest.schema import size_of
from fastconv.backends.numba.engine import part
from fastconv.backends.numba.engine.arguments import record_at
from fastconv.backends.numba.simd import (
    I64,
    Tile,
    load,
    multiply_add,
    offset_by,
    splat,
    store,
)

_pass_at, _PASS_BYTES = record_at(FftPass), 8 * size_of(FftPass)

Complex = tuple[Any, Any]


def _add(builder: Any, a: Complex, b: Complex) -> Complex:
    return builder.fadd(a[0], b[0]), builder.fadd(a[1], b[1])


def _subtract(builder: Any, a: Complex, b: Complex) -> Complex:
    return builder.fsub(a[0], b[0]), builder.fsub(a[1], b[1])


def _times_i(builder: Any, a: Complex, sign: int) -> Complex:
    """Multiply by i, or by -i."""
    return (builder.fneg(a[1]), a[0]) if sign > 0 else (a[1], builder.fneg(a[0]))


def _multiply(builder: Any, s: Tile, a: Complex, b: Complex, conjugate: bool = False) -> Complex:
    """Return a * b, or a times the conjugate of b."""
    imaginary = builder.fneg(b[1]) if conjugate else b[1]
    real = multiply_add(builder, s, builder.fneg(a[1]), imaginary, builder.fmul(a[0], b[0]))
    return real, multiply_add(builder, s, a[0], imaginary, builder.fmul(a[1], b[0]))


def _small_transform(builder: Any, s: Tile, a: list[Complex], sign: int) -> list[Complex]:
    """Transform 2, 3 or 4 numbers; ``sign`` is that of the exponent."""
    if len(a) == 2:
        return [_add(builder, *a), _subtract(builder, *a)]
    if len(a) == 3:
        total = _add(builder, a[1], a[2])
        half, root = (ir.Constant(s.element, n) for n in (-0.5, sqrt(3) / 2))
        half, root = (splat(builder, s, n) for n in (half, root))
        middle = tuple(
            multiply_add(builder, s, half, t, x) for t, x in zip(total, a[0], strict=True)
        )
        apart = _times_i(builder, _subtract(builder, a[1], a[2]), sign)
        scaled = tuple(builder.fmul(root, x) for x in apart)
        return [
            _add(builder, a[0], total),
            _add(builder, middle, scaled),
            _subtract(builder, middle, scaled),
        ]
    even, odd = _add(builder, a[0], a[2]), _add(builder, a[1], a[3])
    apart, across = _subtract(builder, a[0], a[2]), _subtract(builder, a[1], a[3])
    turned = _times_i(builder, across, sign)
    return [
        _add(builder, even, odd),
        _add(builder, apart, turned),
        _subtract(builder, even, odd),
        _subtract(builder, apart, turned),
    ]


@intrinsic(prefer_literal=True)
def butterfly(
    typingctx: Any, shape: Any, radix: Any, inverse: Any, real: Any, imaginary: Any, step: Any,
    twiddles: Any,
) -> Any:  # fmt: skip
    """Transform ``radix`` vectors, ``step`` bytes apart, in place, with their twiddle factors."""
    s, count, back = shape.shape, radix.literal_value, inverse.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, _, _, real, imaginary, step, twiddles = args
        places = []
        for q in range(count):
            away = builder.mul(step, I64(q))
            places.append((builder.add(real, away), builder.add(imaginary, away)))
        values: list[Complex] = [(load(builder, s, re), load(builder, s, im)) for re, im in places]
        factors: list[Complex] = []
        for i in range(count - 1):
            numbers = (offset_by(builder, twiddles, (2 * i + c) * s.size) for c in range(2))
            re, im = (splat(builder, s, load(builder, s, n, scalar=True)) for n in numbers)
            factors.append((re, im))
        if back:
            turned = zip(values[1:], factors, strict=True)
            values[1:] = [_multiply(builder, s, v, f, conjugate=True) for v, f in turned]
        values = _small_transform(builder, s, values, 1 if back else -1)
        if not back:
            turned = zip(values[1:], factors, strict=True)
            values[1:] = [_multiply(builder, s, v, f) for v, f in turned]
        for value, place in zip(values, places, strict=True):
            store(builder, s, value[0], place[0])
            store(builder, s, value[1], place[1])
        return context.get_dummy_value()

    return types.void(shape, radix, inverse, *(types.int64,) * 4), codegen


@intrinsic(prefer_literal=True)
def multiply_spectrum(typingctx: Any, shape: Any, single: Any, place: Any, spectrum: Any) -> Any:
    """Multiply the vectors (real, then imaginary) at ``place`` by those at ``spectrum``.

    With ``single`` one number is stored for all lanes.
    """
    s, one = shape.shape, single.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, _, place, spectrum = args
        width = s.size if one else s.lanes * s.size
        value = tuple(load(builder, s, offset_by(builder, place, c * s.lanes * s.size))
                      for c in range(2))  # fmt: skip
        parts = [load(builder, s, offset_by(builder, spectrum, c * width), scalar=one)
                 for c in range(2)]  # fmt: skip
        factor = tuple(splat(builder, s, p) for p in parts) if one else tuple(parts)
        result = _multiply(builder, s, value, factor)
        for c in range(2):
            store(builder, s, result[c], offset_by(builder, place, c * s.lanes * s.size))
        return context.get_dummy_value()

    return types.void(shape, single, types.int64, types.int64), codegen


def make_passes(tile: Tile, inverse: bool) -> Callable[..., None]:
    """Make the function that transforms ``count`` passes' worth of vectors in place.

    Element k's vectors are at ``real`` + k * ``pitch`` and ``imaginary`` + k * ``pitch``.
    """
    size = tile.size

    def make_pass(radix: int) -> Callable[..., None]:
        twiddle_bytes = 2 * (radix - 1) * size

        @part
        def one_pass(real, imaginary, pitch, total, length, twiddles):  # type: ignore[no-untyped-def]
            step = length // radix
            for start in range(0, total, length):
                for j in range(step):
                    away = (start + j) * pitch
                    butterfly(
                        tile, radix, inverse, real + away, imaginary + away, step * pitch,
                        twiddles + j * twiddle_bytes,
                    )  # fmt: skip

        return one_pass  # type: ignore[no-any-return]

    two, three, four = make_pass(2), make_pass(3), make_pass(4)

    @part
    def passes(real, imaginary, pitch, table, count, twiddles):  # type: ignore[no-untyped-def]
        total = _pass_at(table).length
        for i in range(count):
            row = _pass_at(table + (count - 1 - i if inverse else i) * _PASS_BYTES)
            radix, length, own = row.radix, row.length, twiddles + row.twiddles
            if radix == 4:
                four(real, imaginary, pitch, total, length, own)
            elif radix == 3:
                three(real, imaginary, pitch, total, length, own)
            else:
                two(real, imaginary, pitch, total, length, own)

    return passes  # type: ignore[no-any-return]
