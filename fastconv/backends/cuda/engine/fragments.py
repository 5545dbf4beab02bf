"""What tensor cores' intrinsics and their emulation agree on."""

from __future__ import annotations

# Threads of a warp.
WARP = 32
# What of a float32's word tf32 keeps, and half of the last place that it keeps.
CUT_MASK, HALF_UNIT = -0x2000, 0x1000


def sum_places(line: int, column: int, columns: int) -> tuple[int, int, int, int]:
    """Return where a lane's four sums of a tile are in its local array.

    The pairs of ``columns`` tiles of columns come in fours, so that what a lane holds of a pair is
    one four, if the columns are packed accordingly. The first two are of the tile's upper lines.
    """
    pair, second = divmod(column, 2)
    upper, lower = (((2 * line + half) * (columns // 2) + pair) * 4 + 2 * second for half in (0, 1))
    return upper, upper + 1, lower, lower + 1
