"""Winograd's minimal filtering F(m, r), generated from interpolation points in exact fractions.

Y = At [(G g) * (Bt d)] gives m outputs of an r-tap correlation from m + r - 1 inputs with as many
multiplications (Cook 1966, Toom 1963; Winograd, Arithmetic Complexity of Computations, 1980;
for convolutional networks Lavin and Gray, 2015). In two dimensions each matrix is applied twice.

The build of the C extension reads this file by itself: it imports nothing of ours, nor NumPy.
"""

from __future__ import annotations

import functools
from math import prod
from typing import TYPE_CHECKING, NamedTuple

# Imported where filters are made, not where it is asked which there are.
if TYPE_CHECKING:
    from fractions import Fraction

Rows = tuple[tuple["Fraction | int", ...], ...]

# Finite points for (outputs, taps); infinity is always the last. Those of the smallest bound among
# all sets of 0, pairs and at most one more from fractions of up to 5; +- stands for a pair.
POINTS: dict[tuple[int, int], str] = {
    (1, 1): "",
    (2, 2): "0 1",
    (3, 2): "0 +-1",
    (4, 2): "0 +-4/3 3/5",
    (5, 2): "0 +-2/3 +-3/2",
    (6, 2): "0 +-1 +-2/3 5/2",
    (2, 3): "0 +-1",
    (3, 3): "0 +-3/4 5/3",
    (4, 3): "0 +-2/3 +-3/2",
    (5, 3): "0 +-1 +-3/5 3",
    (6, 3): "0 +-1/2 +-1 +-2",
    (2, 4): "0 +-2/3 2",
    (3, 4): "0 +-2/3 +-3/2",
    (4, 4): "0 +-1 +-5/3 1/3",
    (5, 4): "0 +-1/2 +-1 +-2",
    (2, 5): "0 +-2/3 +-3/2",
    (3, 5): "0 +-1 +-5/3 1/3",
    (4, 5): "0 +-1/2 +-1 +-2",
    (2, 6): "0 +-1 +-3/5 5/2",
    (3, 6): "0 +-1/2 +-1 +-2",
    (4, 6): "0 +-1/2 +-3/2 +-4/5 3",
    (2, 7): "0 +-1/2 +-1 +-2",
    (3, 7): "0 +-1/2 +-3/2 +-4/5 3",
    (4, 7): "0 +-2/5 +-5/2 +-4/5 +-5/4",
}
# Channels that are summed in one chain at each frequency; chains are then added up. Long chains
# would be most of the error.
CHAIN_CHANNELS = 32


class Transform(NamedTuple):
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


@functools.cache
def transform(m: int, r: int) -> Transform:
    """Return F(m, r) from its points."""
    return cook_toom(m, r, finite_points(m, r))


def finite_points(m: int, r: int) -> tuple[Fraction, ...]:
    """Return the finite points of F(m, r)."""
    from fractions import Fraction

    signs = {True: (1, -1), False: (1,)}
    return tuple(
        sign * Fraction(word.removeprefix("+-"))
        for word in POINTS[m, r].split()
        for sign in signs[word.startswith("+-")]
    )


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
    at: Rows = tuple((*(p**i for p in points), int(i == m - 1)) for i in range(m))
    g: list[tuple[Fraction | int, ...]] = []
    bt: list[tuple[Fraction | int, ...]] = []
    for j, p in enumerate(points):
        others = points[:j] + points[j + 1 :]
        scale = prod(p - q for q in others)
        sign = -1 if scale < 0 else 1
        g.append(tuple(sign * p**k / scale for k in range(r)))
        bt.append((*tuple(sign * c for c in _polynomial(others)), 0))
    g.append((0,) * (r - 1) + (1,))
    bt.append(_polynomial(points))
    return Transform(m, r, at, tuple(g), tuple(bt))


def _polynomial(roots: tuple[Fraction, ...]) -> tuple[Fraction | int, ...]:
    """Coefficients, lowest first, of the monic polynomial with these roots."""
    coefficients: list[Fraction | int] = [1]
    for root in roots:
        shifted = [0, *coefficients]
        scaled = [root * c for c in coefficients] + [0]
        coefficients = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return tuple(coefficients)
