"""A minimal filter along each dimension of a convolution, and how far it rounds."""

from __future__ import annotations

import functools
from math import sqrt
from typing import Any

import numpy as np

from fastconv.backends.native.bounds import FILTER_SIGMAS
from fastconv.backends.native.cook_toom import CHAIN_CHANNELS, POINTS, transform
from fastconv.forks import cached_property
from fastconv.problem.record import record


@record(frozen=True)
class Axis:
    """F(m, r) along one dimension of a convolution; ``stride`` phases where that is above 1.

    With a stride, phase p holds taps p, p + stride, ... and the inputs that they meet: a stride-1
    convolution. All phases share the points and are summed before the way back. Where a phase has
    fewer taps than the first, its weights at infinity are zero.
    """

    m: int
    r: int
    taps: int
    stride: int

    @classmethod
    @functools.cache
    def of(cls, m: int, taps: int, stride: int) -> Axis | None:
        """Return the filter of ``m`` outputs, or None where no points are known; one tap: none."""
        m, r = (1, 1) if taps == 1 else (m, -(-taps // stride))
        return cls(m, r, taps, stride) if (m, r) in POINTS else None

    @cached_property
    def n(self) -> int:
        """Multiplications of one tile: the filter's frequencies."""
        return self.m + self.r - 1

    @cached_property
    def phases(self) -> int:
        """Phases that have taps."""
        return min(self.taps, self.stride)

    def phase_taps(self, phase: int) -> int:
        """Count the taps of a phase."""
        return -(-(self.taps - phase) // self.stride)

    def needed(self, frequency: int, phase: int) -> bool:
        """Return whether a phase's weights at a frequency may be other than zero."""
        return self.n == 1 or frequency < self.n - 1 or self.phase_taps(phase) == self.r

    @cached_property
    def segments(self) -> int:
        """Count the pairs of a frequency and a phase that has weights there."""
        return sum(self.needed(i, phase) for i in range(self.n) for phase in range(self.phases))

    def matrix(self, name: str) -> np.ndarray[Any, Any]:
        """Return ``at``, ``g`` or ``bt`` in float64."""
        return _matrix(self.m, self.r, name)

    def kernel(self, phase: int) -> np.ndarray[Any, Any]:
        """Return the matrix (n, taps) that transforms a whole kernel's taps for one phase."""
        g = np.zeros((self.n, self.taps))
        own = self.phase_taps(phase)
        g[:, phase :: self.stride] = self.matrix("g")[:, :own]
        return g

    def weight_variance(self) -> np.ndarray[Any, Any]:
        """Sum over phases of the transformed weights' variance at each frequency."""
        total: np.ndarray[Any, Any] = sum((self.kernel(p) ** 2).sum(1) for p in range(self.phases))
        return total

    def growth(self) -> float:
        """Return the largest square of absolute over signed sums of the data's transform."""
        bt = self.matrix("bt")
        if self.n == 1:
            return 0.0
        return float((np.abs(bt).sum(1) ** 2 / (bt**2).sum(1)).max())


@functools.cache
def _matrix(m: int, r: int, name: str) -> np.ndarray[Any, Any]:
    matrix = np.array(getattr(transform(m, r), name), np.float64)
    matrix.flags.writeable = False
    return matrix


def winograd_bound(
    down: Axis, across: Axis, channels: int, unit: float, chain: int = CHAIN_CHANNELS
) -> float:
    """Largest error of two-dimensional filtering, relative to the output's standard deviation.

    Roundings are taken as independent and of relative size ``unit`` / sqrt(3) at each step, and
    their variances propagated through the squares of the matrices: for random data of mean zero,
    Var(element) of G g Gt and of Bt d B follow from the rows' norms, a frequency's sum over
    channels in chains of ``chain`` has the rounding of ``sum_bound``, and At sums the frequencies
    up.
    """
    axes = (down, across)
    data = np.outer(*((axis.matrix("bt") ** 2).sum(1) for axis in axes))
    # A frequency's variance: that of the weights of all phases, times that of the data.
    weight = np.outer(*(axis.weight_variance() for axis in axes))
    # Roundings on the way: one for the packed weight, two passes of n fused steps for the data
    # (each at most as large as the sum of the absolute terms), the channels' sum, the outputs'.
    growth = sum(axis.growth() for axis in axes)
    chains = -(-channels // chain) * down.phases * across.phases
    sums = (min(channels, chain) + chains) / 2
    steps = sum(axis.n for axis in axes)
    relative = unit**2 / 3 * (1 + growth + sums + steps)
    at, at_across = (axis.matrix("at") ** 2 for axis in axes)
    variance = at @ (channels * weight * data * relative) @ at_across.T
    whole = channels * down.taps * across.taps
    sigmas = FILTER_SIGMAS * (1 + 1 / sqrt(channels))
    return float(sigmas * (sqrt(variance.max() / whole) + 2 * unit))
