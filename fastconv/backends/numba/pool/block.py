"""How the kernels that go tile by tile find their way in the argument block they share."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.numba.engine import array, part


@part
def split_item(args: Any, item: int) -> Any:
    """Return a work item's image, output depth, output row, tile and lane block."""
    blocks = (args.lanes + args.lane_block - 1) // args.lane_block
    rest, block = divmod(item, blocks)
    rest, tile = divmod(rest, args.tiles)
    rest, oh = divmod(rest, args.out_height)
    image, od = divmod(rest, args.out_depth)
    return image, od, oh, tile, block


@part
def window(table: int, length: int, place: int) -> Any:
    """Return start, cells and first tap of a window."""
    words = array(table, (3, length), np.int64)
    return words[0, place], words[1, place], words[2, place]
