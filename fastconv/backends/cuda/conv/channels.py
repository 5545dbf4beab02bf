"""Channels-last images copied so that each group's channels come in whole chunks."""

from __future__ import annotations

from numba import cuda
from numba import int64 as i64

from fastconv.backends.cuda.engine.cells import Cell, access, of_cells
from fastconv.backends.cuda.engine.kernel import Body, kernel
from fastconv.backends.cuda.engine.plan import Argument, Launch

_THREADS = 256


@kernel
def fill_channels(groups: int, channels: int, filled: int, dtype: str) -> tuple[Body, int]:
    """Copy groups of ``channels`` to groups of ``filled``, a multiple of 4: zeros behind."""
    GROUPS, CHANNELS, FILLED, THREADS = groups, channels, filled, _THREADS
    QUADS = filled // 4
    load_some, store = access(dtype).load_first, access(dtype).store4

    def body(x: Cell, y: Cell) -> None:
        quad = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
        group = quad // i64(QUADS)
        if group < i64(GROUPS):
            channel = quad % i64(QUADS) * i64(4)
            source = group * i64(CHANNELS) + channel
            target = group * i64(FILLED) + channel
            store(y, target, load_some(x, source, i64(CHANNELS) - channel))

    return of_cells(body, dtype), THREADS


def filling(
    groups: int, channels: int, filled: int, dtype: str, source: Argument, target: Argument
) -> Launch:
    """Return the launch that copies ``groups`` groups, those of all pixels."""
    blocks = -(-groups * (filled // 4) // _THREADS)
    kern = fill_channels(groups, channels, filled, dtype)
    return Launch(kern, (blocks, 1, 1), [source, target])
