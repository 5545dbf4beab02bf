"""Winograd's minimal filtering F(m, r), generated from interpolation points in exact fractions.

Y = At [(G g) * (Bt d)] gives m outputs of an r-tap correlation from m + r - 1 inputs with as many
multiplications (Cook 1966, Toom 1963; Winograd, Arithmetic Complexity of Computations, 1980;
for convolutional networks Lavin and Gray, 2015). In two dimensions each matrix is applied twice.
"""

from __future__ import annotations

import dataclasses
import functools
from fractions import Fraction
from math import prod, sqrt
from typing import Any

import numpy as np

Rows = tuple[tuple[Fraction, ...], ...]


def _with_signs(*sizes: Fraction | int) -> tuple[Fraction, ...]:
    """Give 0 and the sizes with both signs."""
    return (Fraction(0), *(Fraction(sign * size) for size in sizes for sign in (1, -1)))


# Finite points for (outputs, taps), chosen for the smallest error; infinity is always the last.
POINTS: dict[tuple[int, int], tuple[Fraction, ...]] = {
    (2, 3): _with_signs(1),
    (4, 3): _with_signs(Fraction(2, 3), Fraction(3, 2)),
    (6, 3): _with_signs(Fraction(1, 2), 1, 2),
}
# Largest of many errors, in standard deviations: bounds hold for millions of outputs.
SIGMAS = 8.0


@dataclasses.dataclass(frozen=True)
class Transform:
    """The three matrices of F(m, r): ``at`` m x n, ``g`` n x r, ``bt`` n x n; n = m + r - 1."""

    m: int
    r: int
    at: Rows
    g: Rows
    bt: Rows

    @property
    def n(self) -> int:
        """Inputs, and multiplications, of one tile in one dimension."""
        return self.m + self.r - 1

    def kernel(self, weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Transform weights (O, C, r, r) to (n, n, C, O) in float64."""
        g = np.array(self.g, np.float64)
        w = weight.astype(np.float64)
        transformed: np.ndarray[Any, Any] = np.einsum("ik,ockl,jl->ijco", g, w, g, optimize=True)
        return transformed


@functools.cache
def transform(m: int, r: int) -> Transform:
    """Give F(m, r) from its points."""
    return cook_toom(m, r, POINTS[m, r])


def cook_toom(m: int, r: int, points: tuple[Fraction, ...]) -> Transform:
    """Generate F(m, r) from m + r - 2 different finite points, and infinity.

    Raises
    ------
    ValueError
        For a wrong number of points, or equal ones.
    """
    n = m + r - 1
    if len(points) != n - 1 or len(set(points)) != n - 1:
        raise ValueError(f"F({m}, {r}) needs {n - 1} different finite points, got {points}")
    zero, one = Fraction(0), Fraction(1)
    at = tuple((*tuple(p**i for p in points), one if i == m - 1 else zero) for i in range(m))
    g = []
    bt = []
    for j, p in enumerate(points):
        others = points[:j] + points[j + 1 :]
        scale = prod((p - q for q in others), start=one)
        sign = -1 if scale < 0 else 1
        g.append(tuple(sign * p**k / scale for k in range(r)))
        bt.append((*tuple(sign * c for c in _polynomial(others)), zero))
    g.append((zero,) * (r - 1) + (one,))
    bt.append(_polynomial(points))
    return Transform(m, r, at, tuple(g), tuple(bt))


def _polynomial(roots: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """Coefficients, lowest first, of the monic polynomial with these roots."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        scaled = [root * c for c in coefficients] + [Fraction(0)]
        coefficients = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return tuple(coefficients)


def sum_bound(length: int, unit: float) -> float:
    """Largest error of a sum of ``length`` random products, relative to its standard deviation.

    Each of the roundings (the partial sum's, of standard deviation unit / sqrt(3) of its size)
    is independent: their variance adds to unit^2 length / 6 of the result's. Three more units are
    for the outputs that lie far out themselves, and so have larger roundings than most.
    """
    return SIGMAS * unit * (sqrt(length / 6) + 3)


def winograd_bound(f: Transform, channels: int, unit: float) -> float:
    """Largest error of two-dimensional F(m, r), relative to the output's standard deviation.

    Roundings are taken as independent and of relative size ``unit`` / sqrt(3) at each step, and
    their variances propagated through the squares of the matrices: for random data of mean zero,
    Var(element) of G g Gt and of Bt d B follow from the rows' norms, a frequency's sum over
    channels has the rounding of ``sum_bound``, and At sums the frequencies up.
    """
    at, g, bt = (np.array(rows, np.float64) for rows in (f.at, f.g, f.bt))
    weight, data = (np.outer(v, v) for v in ((g**2).sum(1), (bt**2).sum(1)))
    # Roundings on the way: one for the packed weight, two passes of n fused steps for the data
    # (each at most as large as the sum of the absolute terms), the channels' sum, the outputs'.
    growth = (np.abs(bt).sum(1) ** 2 / (bt**2).sum(1)).max()
    relative = unit**2 / 3 * (1 + 2 * growth + channels / 2 + 2 * f.n)
    variance = (at**2) @ (channels * weight * data * relative) @ (at**2).T
    return float(SIGMAS * (sqrt(variance.max() / (channels * f.r**2)) + 2 * unit))
