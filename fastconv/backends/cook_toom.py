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


def _points(signed: str, single: str = "") -> tuple[Fraction, ...]:
    """Give 0, sizes with both signs, and at most one more."""
    pairs = [Fraction(sign) * Fraction(size) for size in signed.split() for sign in (1, -1)]
    return (Fraction(0), *pairs, *map(Fraction, single.split()))


# Finite points for (outputs, taps); infinity is always the last. Those of the smallest bound among
# all sets of 0, pairs and at most one more from fractions of up to 5.
POINTS: dict[tuple[int, int], tuple[Fraction, ...]] = {
    (1, 1): (),
    (2, 2): _points("", "1"),
    (3, 2): _points("1"),
    (4, 2): _points("4/3", "3/5"),
    (5, 2): _points("2/3 3/2"),
    (6, 2): _points("1 2/3", "5/2"),
    (2, 3): _points("1"),
    (3, 3): _points("3/4", "5/3"),
    (4, 3): _points("2/3 3/2"),
    (5, 3): _points("1 3/5", "3"),
    (6, 3): _points("1/2 1 2"),
    (2, 4): _points("2/3", "2"),
    (3, 4): _points("2/3 3/2"),
    (4, 4): _points("1 5/3", "1/3"),
    (5, 4): _points("1/2 1 2"),
    (2, 5): _points("2/3 3/2"),
    (3, 5): _points("1 5/3", "1/3"),
    (4, 5): _points("1/2 1 2"),
    (2, 6): _points("1 3/5", "5/2"),
    (3, 6): _points("1/2 1 2"),
    (4, 6): _points("1/2 3/2 4/5", "3"),
    (2, 7): _points("1/2 1 2"),
    (3, 7): _points("1/2 3/2 4/5", "3"),
    (4, 7): _points("2/5 5/2 4/5 5/4"),
}
# Largest of many errors, in standard deviations: bounds hold for millions of outputs. The spread of
# a plain sum's error varies from output to output with the partial sums, so its tail is longer, as
# is that of a filter over few channels with the sizes of the few products.
SUM_SIGMAS = 10.0
FILTER_SIGMAS = 6.5


# Channels that are summed in one chain at each frequency; chains are then added up. Long chains
# would be most of the error.
CHAIN_CHANNELS = 32


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


@dataclasses.dataclass(frozen=True)
class Axis:
    """F(m, r) along one dimension of a convolution; ``stride`` phases where that is above 1.

    With a stride, phase p holds taps p, p + stride, ... and the inputs that they meet: a stride-1
    convolution. All phases share the points and are summed before the way back. Where a phase has
    fewer taps than the first, its weights at infinity are zero.
    """

    f: Transform
    taps: int
    stride: int

    @classmethod
    def of(cls, m: int, taps: int, stride: int) -> Axis | None:
        """Give the filter of ``m`` outputs, or None where no points are known; one tap: none."""
        m, r = (1, 1) if taps == 1 else (m, -(-taps // stride))
        return cls(transform(m, r), taps, stride) if (m, r) in POINTS else None

    @property
    def phases(self) -> int:
        """Phases that have taps."""
        return min(self.taps, self.stride)

    def phase_taps(self, phase: int) -> int:
        """Count the taps of a phase."""
        return -(-(self.taps - phase) // self.stride)

    def needed(self, frequency: int, phase: int) -> bool:
        """Tell whether a phase's weights at a frequency may be other than zero."""
        f = self.f
        return f.n == 1 or frequency < f.n - 1 or self.phase_taps(phase) == f.r

    def matrix(self, name: str) -> np.ndarray[Any, Any]:
        """Give ``at``, ``g`` or ``bt`` in float64."""
        return np.array(getattr(self.f, name), np.float64)

    def kernel(self, phase: int) -> np.ndarray[Any, Any]:
        """Give the matrix (n, taps) that transforms a whole kernel's taps for one phase."""
        g = np.zeros((self.f.n, self.taps))
        own = self.phase_taps(phase)
        g[:, phase :: self.stride] = self.matrix("g")[:, :own]
        return g

    def weight_variance(self) -> np.ndarray[Any, Any]:
        """Sum over phases of the transformed weights' variance at each frequency."""
        total: np.ndarray[Any, Any] = sum((self.kernel(p) ** 2).sum(1) for p in range(self.phases))
        return total

    def growth(self) -> float:
        """Give the largest square of absolute over signed sums of the data's transform."""
        bt = self.matrix("bt")
        if self.f.n == 1:
            return 0.0
        return float((np.abs(bt).sum(1) ** 2 / (bt**2).sum(1)).max())


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
    return SUM_SIGMAS * unit * (sqrt(length / 6) + 3)


def winograd_bound(down: Axis, across: Axis, channels: int, unit: float) -> float:
    """Largest error of two-dimensional filtering, relative to the output's standard deviation.

    Roundings are taken as independent and of relative size ``unit`` / sqrt(3) at each step, and
    their variances propagated through the squares of the matrices: for random data of mean zero,
    Var(element) of G g Gt and of Bt d B follow from the rows' norms, a frequency's sum over
    channels in chains has the rounding of ``sum_bound``, and At sums the frequencies up.
    """
    axes = (down, across)
    data = np.outer(*((axis.matrix("bt") ** 2).sum(1) for axis in axes))
    # A frequency's variance: that of the weights of all phases, times that of the data.
    weight = np.outer(*(axis.weight_variance() for axis in axes))
    # Roundings on the way: one for the packed weight, two passes of n fused steps for the data
    # (each at most as large as the sum of the absolute terms), the channels' sum, the outputs'.
    growth = sum(axis.growth() for axis in axes)
    chains = -(-channels // CHAIN_CHANNELS) * down.phases * across.phases
    sums = (min(channels, CHAIN_CHANNELS) + chains) / 2
    steps = sum(axis.f.n for axis in axes)
    relative = unit**2 / 3 * (1 + growth + sums + steps)
    at, at_across = (axis.matrix("at") ** 2 for axis in axes)
    variance = at @ (channels * weight * data * relative) @ at_across.T
    whole = channels * down.taps * across.taps
    sigmas = FILTER_SIGMAS * (1 + 1 / sqrt(channels))
    return float(sigmas * (sqrt(variance.max() / whole) + 2 * unit))
