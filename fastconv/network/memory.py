"""Where a program's buffers are in one arena: those that live at one time do not overlap."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence

from fastconv.backends.native.arena import rounded


@dataclasses.dataclass(frozen=True)
class Buffer:
    """Bytes that hold something from one operation's place to another's, both included."""

    size: int
    first: int
    last: int


@dataclasses.dataclass(frozen=True)
class Layout:
    """Each buffer's offset, the arena's size, and the most bytes that live at one time."""

    offsets: tuple[int, ...]
    size: int
    live: int


def arrange(buffers: Sequence[Buffer]) -> Layout:
    """Lay buffers out, the largest first, each in the smallest gap that it fits.

    Pisarchyk, Lee: Efficient memory management for deep neural net inference (2020), "greedy by
    size". Sizes are rounded up to whole cache lines.
    """
    sizes = [rounded(buffer.size) for buffer in buffers]
    # Offset, size, first and last place, by offset.
    placed: list[tuple[int, int, int, int]] = []
    offsets = [0] * len(buffers)
    for number in sorted(range(len(buffers)), key=lambda i: (-sizes[i], buffers[i].first)):
        begin, end = buffers[number].first, buffers[number].last
        meanwhile = [(o, size) for o, size, first, last in placed if first <= end and begin <= last]
        offsets[number] = _best_gap(meanwhile, sizes[number])
        bisect.insort(placed, (offsets[number], sizes[number], begin, end))
    total = max((o + s for o, s in zip(offsets, sizes, strict=True)), default=0)
    return Layout(tuple(offsets), total, _most_live(buffers, sizes))


def _best_gap(placed: list[tuple[int, int]], size: int) -> int:
    """Return the offset of the smallest gap that is large enough between buffers placed so far."""
    end, best, least = 0, -1, 0
    for offset, length in placed:
        gap = offset - end
        if gap >= size and (best < 0 or gap < least):
            best, least = end, gap
        end = max(end, offset + length)
    return end if best < 0 else best


def _most_live(buffers: Sequence[Buffer], sizes: Sequence[int]) -> int:
    changes: dict[int, int] = {}
    for buffer, size in zip(buffers, sizes, strict=True):
        changes[buffer.first] = changes.get(buffer.first, 0) + size
        changes[buffer.last + 1] = changes.get(buffer.last + 1, 0) - size
    most = now = 0
    for place in sorted(changes):
        now += changes[place]
        most = max(most, now)
    return most
