"""The coefficients of the complementary error function, worked out rather than typed in.

erfc(z) = exp(-z^2) w(z), and w is smooth: a polynomial in t = (z - SCALE) / (z + SCALE) gives it
from zero to infinity (Schonfelder: Chebyshev expansions for the error and related functions,
1978): w at Chebyshev's points from its series and its continued fraction, in decimal arithmetic
of 40 digits. The build of the C extension reads this file by itself: it imports nothing of ours.
"""

from __future__ import annotations

import functools
from decimal import Decimal, localcontext
from math import cos, pi

SCALE = 3.75
DEGREES = {"float32": 12, "float64": 27}
_DIGITS = 40


@functools.cache
def coefficients(degree: int) -> tuple[float, ...]:
    """Interpolate w at degree + 1 points; coefficients of powers of t, highest first."""
    with localcontext() as context:
        context.prec = _DIGITS
        points = [Decimal(cos(pi * (2 * j + 1) / (2 * degree + 2))) for j in range(degree + 1)]
        places = [Decimal(SCALE) * (1 + t) / (1 - t) for t in points]
        return tuple(float(c) for c in _interpolate(points, [_scaled_erfc(z) for z in places]))


def _interpolate(points: list[Decimal], values: list[Decimal]) -> list[Decimal]:
    """Give the polynomial through points and values, from Newton's divided differences."""
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
    """Give exp(z^2) erfc(z) for z >= 0."""
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


@functools.cache
def _pi() -> Decimal:
    """Give pi by Machin's formula (1706)."""
    return 16 * _arctangent(5) - 4 * _arctangent(239)


def _arctangent(inverse: int) -> Decimal:
    total, power = Decimal(0), 1 / Decimal(inverse)
    for n in range(60):
        total += power / (2 * n + 1) * (-1) ** n
        power /= inverse * inverse
    return total
