"""The kernel of max unpooling: planes of zeros, then values where their indices say."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.pools import Unpool
from fastconv.backends.numba.engine import array, kernel

LANE_BLOCK = Unpool.LANE_BLOCK


@kernel(Unpool)
def unpool(bits: str):  # type: ignore[no-untyped-def]
    """Scatter: a work item is one image's block of lanes; values are moved as bits."""
    kind, itemsize = np.dtype(bits).type, np.dtype(bits).itemsize

    def body(args, first_item, last_item, worker):  # type: ignore[no-untyped-def]
        cells, plane, lanes = args.cells, args.plane, args.lanes
        blocks = (lanes + LANE_BLOCK - 1) // LANE_BLOCK
        for item in range(first_item, last_item):
            image, block = divmod(item, blocks)
            first = block * LANE_BLOCK
            last = min(lanes, first + LANE_BLOCK)
            x = array(args.source + image * cells * lanes * itemsize, (cells, lanes), kind)
            places = array(args.indices + image * cells * lanes * 8, (cells, lanes), np.int64)
            out = array(args.out + image * plane * lanes * itemsize, (plane, lanes), kind)
            for row in range(plane):
                for c in range(first, last):
                    out[row, c] = 0
            for row in range(cells):
                for c in range(first, last):
                    place = places[row, c]
                    # What is run inside a larger program has not been looked at before.
                    if 0 <= place < plane:
                        out[place, c] = x[row, c]

    return body
