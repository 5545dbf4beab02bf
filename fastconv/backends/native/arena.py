"""Scratch memory kept from call to call, one piece a Python thread.

Fresh memory costs a page fault every 4 KB at its first touch, more than many a convolution. A
plan's run never calls back into Python, so a thread's piece serves one run at a time; what does
come back to Python in between, where a signal's handler may compute too, sets it aside.
"""

from __future__ import annotations

import contextlib
import mmap
import threading
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

ALIGNMENT = 64
# Pieces larger than this are not kept.
KEPT_BYTES = 256 << 20
# Pieces from this size on ask for huge pages: their parts then are spread in the caches as they do
# in the address space, whatever pages the system hands out.
HUGE_PAGE = 2 << 20


def rounded(size: int) -> int:
    """Return ``size`` bytes rounded up to whole alignments."""
    return -(-size // ALIGNMENT) * ALIGNMENT


class _Arena(threading.local):
    def __init__(self) -> None:
        self.memory = np.empty(0, np.uint8)
        # Of the first aligned byte in it.
        self.address = 0


_arena = _Arena()


def aligned(size: int) -> np.ndarray[Any, Any]:
    """Return ``size`` bytes of their own, 64-byte aligned."""
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size]


def aligned_zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """Return an array of zeros, 64-byte aligned; what stays zero may never take memory."""
    size = prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    found: np.ndarray[Any, Any] = memory[start : start + size].view(dtype)
    return found.reshape(shape)


def take(size: int) -> np.ndarray[Any, Any]:
    """Return ``size`` bytes, 64-byte aligned, whose content is whatever was there before."""
    memory, address = take_address(size)
    start = address - memory.__array_interface__["data"][0]
    return memory[start : start + size]


def take_address(size: int) -> tuple[np.ndarray[Any, Any], int]:
    """Return the memory that holds those bytes, and their address."""
    memory = _arena.memory
    if memory.nbytes >= size + ALIGNMENT:
        return memory, _arena.address
    memory = _fresh(size + ALIGNMENT)
    at: int = memory.__array_interface__["data"][0]
    address = at + -at % ALIGNMENT
    if memory.nbytes <= KEPT_BYTES:
        _arena.memory, _arena.address = memory, address
    return memory, address


@contextlib.contextmanager
def set_aside() -> Iterator[None]:
    """Keep this thread's piece from all that is run in this context."""
    kept = _arena.memory, _arena.address
    _arena.memory, _arena.address = np.empty(0, np.uint8), 0
    try:
        yield
    finally:
        _arena.memory, _arena.address = kept


def _fresh(size: int) -> np.ndarray[Any, Any]:
    if size < HUGE_PAGE // 2 or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.empty(size, np.uint8)
    pages, start = huge_pages(size)
    return np.frombuffer(pages, np.uint8)[start : start + size]


def huge_pages(size: int) -> tuple[mmap.mmap, int]:
    """Return memory of this process alone, in huge pages if possible, and its first one's place.

    A child that is forked gets a copy: it may write to its own while the parent writes here.

    Raises
    ------
    MemoryError
        Where the system has not so much.
    """
    whole = -(-size // HUGE_PAGE) * HUGE_PAGE
    try:
        pages = mmap.mmap(-1, whole + HUGE_PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as error:
        raise MemoryError(f"unable to allocate {size:,} bytes: {error}") from None
    with contextlib.suppress(OSError):  # a system without them
        pages.madvise(mmap.MADV_HUGEPAGE)
    address = np.frombuffer(pages, np.uint8).__array_interface__["data"][0]
    return pages, -address % HUGE_PAGE


def poison() -> None:
    """Fill this thread's kept memory with NaN, so that a kernel that reads unset cells shows."""
    _arena.memory[:] = 0xFF
