"""Bounds of rounding errors, relative to an output's standard deviation."""

from __future__ import annotations

from math import sqrt

# Largest of many errors, in standard deviations: bounds hold for millions of outputs. The spread of
# a plain sum's error varies from output to output with the partial sums, so its tail is longer, as
# is that of a filter over few channels with the sizes of the few products.
SUM_SIGMAS = 10.0
FILTER_SIGMAS = 6.5


def sum_bound(length: int, unit: float) -> float:
    """Largest error of a sum of ``length`` random products, relative to its standard deviation.

    Each of the roundings (the partial sum's, of standard deviation unit / sqrt(3) of its size)
    is independent: their variance adds to unit^2 length / 6 of the result's. Three more units are
    for the outputs that are far out themselves, and so have larger roundings than most.
    """
    return SUM_SIGMAS * unit * (sqrt(length / 6) + 3)
