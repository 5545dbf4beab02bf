"""Weights transformed in float64 and packed as the multiplications read them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.native.arena import aligned_zeros
from fastconv.backends.native.conv.winograd.layout import Layout
from fastconv.backends.native.gemm import flush

# Channels that are transformed together: what they become should stay in the caches.
CHUNK_CHANNELS = 32


def pack_weights(layout: Layout, weight: Array) -> Array:
    """Give (group, frequency, panel, segment, channel, column), flattened; one row a group.

    ``weight`` is (out, in / groups, *kernel). Rows of a group's last panel, where that is narrower,
    lie one after the other. Aligned, for a plan to keep.
    """
    tile, segments = layout.tile, layout.segments()
    depth = layout.channel_blocks * tile.lanes
    whole = layout.columns // tile.columns
    packed = aligned_zeros((layout.groups, layout.weights_group // tile.size), tile.dtype)
    kernels = weight.reshape(layout.groups, -1, *weight.shape[1:])
    for group, own in enumerate(kernels):
        starts = _starts(layout, segments)
        panels = [_panels(layout, packed[group], start, len(found) * depth)
                  for start, found in zip(starts, segments, strict=True)]  # fmt: skip
        for phase, first, transformed in _transformed(layout, own):
            stop = first + transformed.shape[1]
            for (full, last), found, block in zip(panels, segments, transformed, strict=True):
                if phase not in found:
                    continue
                rows = slice(found.index(phase) * depth + first, found.index(phase) * depth + stop)
                split = block[:, : whole * tile.columns].reshape(len(block), whole, tile.columns)
                full[:whole, rows] = split.transpose(1, 0, 2)
                rest = block[:, whole * tile.columns :]
                if rest.shape[1]:
                    last[rows, : rest.shape[1]] = rest
    return packed


def _starts(layout: Layout, segments: list[list[int]]) -> list[int]:
    """Give the element at which each frequency's panels start."""
    depth = layout.channel_blocks * layout.tile.lanes
    sizes = [len(found) * depth * layout.panels * layout.tile.columns for found in segments]
    return [0, *np.cumsum(sizes).tolist()][:-1]


def _panels(layout: Layout, packed: Array, start: int, rows: int) -> tuple[Array, Array]:
    """Give views of a frequency's panels (panel, row, column), and of the last one by itself."""
    tile = layout.tile
    size = rows * tile.columns
    full = packed[start : start + layout.panels * size].reshape(layout.panels, rows, tile.columns)
    columns = (layout.tail or tile.vectors) * tile.lanes
    start += (layout.panels - 1) * size
    return full, packed[start : start + rows * columns].reshape(rows, columns)


def _transformed(layout: Layout, weight: Array) -> Iterator[tuple[int, int, Array]]:
    """Give a group's weights phase by phase and chunk by chunk.

    A chunk is (frequency, channel, column), with the number of its first channel. Groups that are
    done as one have zeros between them.
    """
    down, across = layout.down, layout.across
    merged = layout.problem.groups // layout.groups
    per_group, out = weight.shape[1], len(weight) // merged
    taps = weight.reshape(merged, out, per_group, -1).transpose(3, 0, 2, 1)
    for phase in range(layout.phases):
        py, px = divmod(phase, across.phases)
        both = np.kron(down.kernel(py), across.kernel(px))
        for u in range(merged):
            for first in range(0, per_group, CHUNK_CHANNELS):
                some = taps[:, u, first : first + CHUNK_CHANNELS].astype(np.float64, order="C")
                product = both @ some.reshape(len(some), -1)
                chunk = product.astype(layout.tile.dtype).reshape(-1, some.shape[1], out)
                if merged > 1:
                    wide = np.zeros((*chunk.shape[:2], merged * out), chunk.dtype)
                    wide[:, :, u * out : (u + 1) * out] = chunk
                    chunk = wide
                yield phase, u * per_group + first, flush(chunk)
