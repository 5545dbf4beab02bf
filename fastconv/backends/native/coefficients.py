"""The coefficients of elementary functions' polynomials, worked out rather than typed in.

Each function is made of a smooth one, which a polynomial through its values at Chebyshev's points
gives to the last place. Values are worked out in decimal arithmetic of 40 digits. The build of the
C extension reads this file by itself: it imports nothing of ours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from decimal import Decimal, localcontext
from math import cos, log, pi

_DIGITS = 40

# erfc(z) = exp(-z^2) w(z), and w is smooth from zero to infinity: a polynomial in
# t = (z - ERFC_SCALE) / (z + ERFC_SCALE) (Schonfelder: Chebyshev expansions for the error and
# related functions, 1978).
ERFC_SCALE = 3.75
_ERFC_DEGREES = {"float32": 12, "float64": 27}
# erf(z) = z q(z^2) for abs(z) <= 1.
_ERF_DEGREES = {"float32": 6, "float64": 13}
# exp(r) = 1 + r + r^2 q(r) for abs(r) <= ln 2 / 2.
_EXP_DEGREES = {"float32": 4, "float64": 10}
# tanh(r) = r + r^3 q(r^2) for abs(r) <= ln 2 / 4.
_TANH_DEGREES = {"float32": 2, "float64": 6}
# Arguments are reduced by a rounded factor, and may be that much outside.
_OUTSIDE = 1 + 1e-6


@functools.cache
def erfc(dtype: str) -> tuple[float, ...]:
    """Return the coefficients of w in powers of t for a dtype, highest first."""

    def scaled(t: Decimal) -> Decimal:
        return _scaled_erfc(Decimal(ERFC_SCALE) * (1 + t) / (1 - t))

    return _fitted(scaled, -1.0, 1.0, _ERFC_DEGREES[dtype])


@functools.cache
def erf(dtype: str) -> tuple[float, ...]:
    """Return the coefficients of q in powers of z^2 for a dtype, highest first."""
    return _fitted(_erf_part, 0.0, 1.0, _ERF_DEGREES[dtype])


@functools.cache
def exponential(dtype: str) -> tuple[float, ...]:
    """Return the coefficients of q in powers of r for a dtype, highest first."""
    end = log(2) / 2 * _OUTSIDE
    return _fitted(_exponential_rest, -end, end, _EXP_DEGREES[dtype])


@functools.cache
def hyperbolic_tangent(dtype: str) -> tuple[float, ...]:
    """Return the coefficients of q in powers of r^2 for a dtype, highest first."""

    def rest(square: Decimal) -> Decimal:
        r = square.sqrt()
        power = (2 * r).exp()
        return ((power - 1) / (power + 1) / r - 1) / square

    return _fitted(rest, 0.0, (log(2) / 4 * _OUTSIDE) ** 2, _TANH_DEGREES[dtype])


def _fitted(
    function: Callable[[Decimal], Decimal], low: float, high: float, degree: int
) -> tuple[float, ...]:
    """Interpolate a function at Chebyshev's points; coefficients of powers, highest first."""
    with localcontext() as context:
        context.prec = _DIGITS
        angles = [pi * (2 * j + 1) / (2 * degree + 2) for j in range(degree + 1)]
        points = [Decimal((low + high) / 2 + (high - low) / 2 * cos(angle)) for angle in angles]
        return tuple(float(c) for c in _interpolate(points, [function(t) for t in points]))


def _exponential_rest(r: Decimal) -> Decimal:
    """Return (exp(r) - 1 - r) / r^2 for small r, from its series: nothing is lost near zero."""
    term, total = Decimal(1) / 2, Decimal(0)
    for k in range(3, 40):
        total += term
        term = term * r / k
    return total


def _interpolate(points: list[Decimal], values: list[Decimal]) -> list[Decimal]:
    """Return the polynomial through points and values, from Newton's divided differences."""
    differences = list(values)
    count = len(points)
    for order in range(1, count):
        for j in range(count - 1, order - 1, -1):
            step = points[j] - points[j - order]
            differences[j] = (differences[j] - differences[j - 1]) / step
    result = [Decimal(0)]
    for point, difference in zip(reversed(points), reversed(differences), strict=True):
        shifted = [*result, Decimal(0)]
        for place, coefficient in enumerate(result):
            shifted[place + 1] -= point * coefficient
        shifted[-1] += difference
        result = shifted
    return result[1:]


def _scaled_erfc(z: Decimal) -> Decimal:
    """Return exp(z^2) erfc(z) for z >= 0."""
    root_pi = _pi().sqrt()
    if z > 1:
        tail = z
        for k in range(1000, 0, -1):
            tail = z + Decimal(k) / 2 / tail
        return 1 / (tail * root_pi)
    term, total = z, Decimal(0)
    for n in range(100):
        total += term
        term = term * 2 * z * z / (2 * n + 3)
    return (z * z).exp() - 2 * total / root_pi


def _erf_part(square: Decimal) -> Decimal:
    """Return erf(z) / z for small z^2, from its series."""
    term, total = Decimal(1), Decimal(0)
    for n in range(60):
        total += term / (2 * n + 1)
        term *= -square / (n + 1)
    return 2 * total / _pi().sqrt()


@functools.cache
def _pi() -> Decimal:
    """Return pi by Machin's formula (1706)."""
    return 16 * _arctangent(5) - 4 * _arctangent(239)


def _arctangent(inverse: int) -> Decimal:
    total, power = Decimal(0), 1 / Decimal(inverse)
    for n in range(60):
        total += power / (2 * n + 1) * (-1) ** n
        power /= inverse * inverse
    return total
