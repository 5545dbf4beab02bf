"""Tensor cores, and copies to shared memory that nothing waits for, in Numba's simulator.

What a warp does together is done when all of its threads have come to it, on the fragments that
they bring, laid out as in the PTX ISA. A copy poisons its target at once, and arrives when its
thread waits for it: what reads earlier reads NaN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.backends.cuda.engine.fragments import CUT_MASK, HALF_UNIT, WARP, sum_places
from fastconv.backends.cuda.engine.halves import narrowed, widened
from fastconv.backends.cuda.engine.simulator import current, wait_until

_POISON = np.int32(-1)


class Divergence(RuntimeError):
    """Threads of a warp did not come to an instruction that they execute together."""


class _Meeting:
    """What the threads of a warp bring to an instruction, and what they get."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.brought: dict[int, Any] = {}
        self.results: list[Any] = []


def together(name: str, brought: Any, work: Callable[[list[Any]], list[Any]]) -> Any:
    """Do ``work`` on what all threads of a warp bring, once; give each its part of the result.

    Raises
    ------
    Divergence
        Where another thread of the warp is at another instruction, at a barrier, or gone.
    """
    thread = current()
    warp, lane = divmod(thread.thread_id, WARP)
    meetings: dict[int, _Meeting] = vars(thread.block).setdefault("meetings", {})
    meeting = meetings.setdefault(warp, _Meeting(name))
    if meeting.name != name:
        raise Divergence(f"a warp's threads are at {meeting.name} and at {name}")
    meeting.brought[lane] = brought
    if len(meeting.brought) == WARP:
        del meetings[warp]
        meeting.results = work([meeting.brought[lane] for lane in range(WARP)])
    absent = Divergence(f"not all of a warp's {WARP} threads are at {name}")
    wait_until(lambda: bool(meeting.results), absent)
    return meeting.results[lane]


def copy_async(shared: Any, place: Any, source: Any, chunk: Any, inside: Any) -> None:
    """Begin to copy 16 bytes to words of shared memory, or zeros where not ``inside``."""
    words = _sixteen(shared, int(place))
    data = np.zeros(4, np.int32)
    if inside:
        data[...] = _sixteen(np.asarray(source), 4 * int(chunk))
    words[...] = _POISON
    _copies().pending.append((words, data))


def commit_copies() -> None:
    """Make a group of the copies that were begun since the last."""
    copies = _copies()
    copies.groups.append(copies.pending)
    copies.pending = []


def wait_copies(allowed: int) -> None:
    """Wait until all groups but the ``allowed`` newest have arrived."""
    groups = _copies().groups
    while len(groups) > allowed:
        for words, data in groups.pop(0):
            words[...] = data


@dataclasses.dataclass
class _Copies:
    pending: list[tuple[Any, Any]] = dataclasses.field(default_factory=list)
    groups: list[list[tuple[Any, Any]]] = dataclasses.field(default_factory=list)


def _copies() -> _Copies:
    found: _Copies = vars(current()).setdefault("copies", _Copies())
    return found


def _sixteen(words: Any, place: int) -> Any:
    """Return a view of 16 bytes."""
    if words.dtype.itemsize != 4:
        raise TypeError(f"words have 4 bytes, not {words.dtype.itemsize}")
    if not 0 <= place <= len(words) - 4:
        raise IndexError(f"words {place} to {place + 3} of {len(words)}")
    away = (words.ctypes.data + 4 * place) % 16
    if away:
        raise ValueError(f"16 bytes from word {place} on: misaligned by {away}")
    return words[place : place + 4]


def matrices(stride: int) -> Any:
    """Return a loader of four matrices of 8 lines of 16 bytes; lane l: line l % 8 of l // 8."""

    def work(brought: list[Any]) -> list[Any]:
        lines = np.stack([_sixteen(*one) for one in brought])
        return [tuple(words) for words in lines.reshape(4, WARP).T]

    def load(shared: Any, place: Any, number: int) -> Any:
        return together("matrices", (shared, int(place) + stride * number), work)

    return load


def multiplying(factor: str, lines: int, columns: int) -> Any:
    """Return what adds the product of so many tiles of lines and of columns to the sums."""
    places = np.array([[sum_places(i, j, columns) for j in range(columns)] for i in range(lines)])

    def work(brought: list[Any]) -> list[Any]:
        sums, left, right = (np.stack([one[i] for one in brought]) for i in range(3))
        # Lanes as (8, 4); registers as (tile, half of the depth, half of the lines); elements.
        a = _decoded(factor, left).reshape(8, 4, lines, 2, 2, -1).transpose(2, 4, 0, 3, 1, 5)
        b = _decoded(factor, right).reshape(8, 4, columns, 2, -1).transpose(2, 0, 3, 1, 4)
        # Lanes; tiles; upper and lower lines; two columns.
        c = sums[:, places].reshape(8, 4, lines, columns, 2, 2).transpose(2, 4, 0, 3, 1, 5)
        with np.errstate(all="ignore"):
            product = a.reshape(16 * lines, -1) @ b.reshape(8 * columns, -1).T
            total = toward_zero(c.astype(np.float64) + product.reshape(c.shape))
        values = total.transpose(2, 4, 0, 3, 1, 5).reshape(WARP, lines, columns, 4)
        for (own, *_), each in zip(brought, values, strict=True):
            own[places] = each
        return [None] * WARP

    def multiply(sums: Any, left: Any, right: Any) -> None:
        together(f"multiply {factor}", (sums, left, right), work)

    return multiply


def toward_zero(x: Any) -> Any:
    """Round to float32 as tensor cores do: Fasi, Higham, Mikaitis, Pranesh (2021)."""
    near = x.astype(np.float32)
    over = np.abs(near.astype(np.float64)) > np.abs(x)
    return np.where(over, np.nextafter(near, np.float32(0)), near)


def _tf32(words: Any) -> Any:
    # The lower bits are not looked at.
    return (words & np.int32(CUT_MASK)).view(np.float32)


def _decoded(factor: str, words: Any) -> Any:
    numbers = _tf32(words) if factor == "tf32" else widened(words.view(np.uint16), factor)
    return numbers.astype(np.float64)


def round_tf32(words: tuple[Any, ...]) -> tuple[Any, ...]:
    """Round four float32 to the nearest tf32, ties away from zero."""
    bits = np.array(words, np.int32).view(np.uint32)
    size = bits & np.uint32(0x7FFFFFFF)
    rounded = (bits + np.uint32(HALF_UNIT)) & np.uint32(CUT_MASK & 0xFFFFFFFF)
    rounded = np.where(size < 0x7F800000, rounded, bits)
    return tuple(np.where(size > 0x7F800000, np.uint32(0x7FFFFFFF), rounded).view(np.int32))


def cut_tf32(words: tuple[Any, ...]) -> tuple[Any, ...]:
    """Round four float32 toward zero to tf32."""
    return tuple(np.array(words, np.int32) & np.int32(CUT_MASK))


def rest_tf32(words: tuple[Any, ...], cut: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what four float32 have beyond what was cut to tf32, and half a unit."""
    whole, main = (np.array(w, np.int32).view(np.float32) for w in (words, cut))
    with np.errstate(all="ignore"):
        return tuple((whole - main).view(np.int32) + np.int32(HALF_UNIT))


def packing(kind: str) -> Any:
    """Return what rounds eight float32 to halves: of each four the first two with the last two."""

    def pack(first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Any, ...]:
        four = np.array([first, second], np.int32).view(np.float32).reshape(2, 2, 2)
        pairs = np.ascontiguousarray(narrowed(four, kind).transpose(0, 2, 1))
        return tuple(pairs.view(np.int32).reshape(4))

    return pack
