"""Channels-last images copied so that each group's channels come in whole chunks."""

from __future__ import annotations

from numba import cuda
from numba import int64 as i64

from fastconv.backends.cuda.conv.tensor_gemm import access
from fastconv.backends.cuda.engine.kernel import Body, Float32, kernel
from fastconv.backends.cuda.engine.plan import Argument, Launch

_THREADS = 256


@kernel
def fill_channels(groups: int, channels: int, filled: int, stored: str) -> tuple[Body, int]:
    """Copy groups of ``channels`` to groups of ``filled``, a multiple of 4: zeros behind."""
    GROUPS, CHANNELS, FILLED, THREADS = groups, channels, filled, _THREADS
    QUADS = filled // 4
    (_, load_some, store, _), element = access(stored)

    def body(x: Float32, y: Float32) -> None:
        quad = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
        group = quad // i64(QUADS)
        if group < i64(GROUPS):
            channel = quad % i64(QUADS) * i64(4)
            source = group * i64(CHANNELS) + channel
            target = group * i64(FILLED) + channel
            store(y, target, load_some(x, source, i64(CHANNELS) - channel))

    body.__annotations__.update(x=element, y=element)
    return body, THREADS


def filling(
    groups: int, channels: int, filled: int, stored: str, source: Argument, target: Argument
) -> Launch:
    """Give the launch that copies ``groups`` groups, those of all pixels."""
    blocks = -(-groups * (filled // 4) // _THREADS)
    kern = fill_channels(groups, channels, filled, stored)
    return Launch(kern, (blocks, 1, 1), [source, target])
