"""How the kernels that go tile by tile find their way in the argument block they share."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.native.pool.block import (
    LANE_BLOCK,
    LANES,
    OUT_DEPTH,
    OUT_HEIGHT,
    TILES,
)
from fastconv.backends.numba.engine import array, part


@part
def split_item(args: Any, item: int) -> Any:
    """Give a work item's image, output depth, output row, tile and lane block."""
    blocks = (args[LANES] + args[LANE_BLOCK] - 1) // args[LANE_BLOCK]
    rest, block = divmod(item, blocks)
    rest, tile = divmod(rest, args[TILES])
    rest, oh = divmod(rest, args[OUT_HEIGHT])
    image, od = divmod(rest, args[OUT_DEPTH])
    return image, od, oh, tile, block


@part
def window(table: int, length: int, place: int) -> Any:
    """Give start, cells and first tap of a window."""
    words = array(table, (3, length), np.int64)
    return words[0, place], words[1, place], words[2, place]
