"""What windows of planar pools are brought together as."""

from __future__ import annotations

# What windows are brought together as: their cells, folded ones, and folded ones without a NaN.
OPERATIONS = {
    "max": ("max", "max", "ordered max"),
    "avg": ("sum", "sum", "sum"),
    "squares": ("squares", "sum", "sum"),
    "magnitudes": ("magnitudes", "sum", "sum"),
}
# Vectors of the tile that lines are folded in.
VECTORS = 2
# Cells of a window from which on it is folded by vectors where windows differ.
LONG = 32
# Vectors that a long run of cells is summed in side by side, and cells of each before blocks are
# put together in float64.
SUMS, SUM_CELLS = 4, 32
