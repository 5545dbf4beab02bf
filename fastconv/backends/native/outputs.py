"""Large outputs, in memory that earlier ones left.

The C library gives blocks above 32 MB back to the system as soon as they are freed, and fresh
memory costs a page fault every 4 KB: as long as many a convolution takes to fill it.
"""

from __future__ import annotations

import mmap
import os
import threading
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.native.arena import huge_pages

# Smaller outputs the C library reuses by itself.
LEAST_BYTES = 32 << 20
# What is kept for later outputs, all together.
KEPT_BYTES = 256 << 20


class _Pages:
    """Memory that no output is in, newest last."""

    def __init__(self) -> None:
        self.unlock()
        self._kept: list[tuple[int, mmap.mmap, int]] = []

    def unlock(self) -> None:
        """Have a new lock: a child process has not the thread that may have held the old one."""
        # Memory may come back while this is held: a collection can start anywhere.
        self._lock = threading.RLock()

    def take(self, size: int) -> tuple[mmap.mmap, int]:
        """Return memory of ``size`` bytes, and the place where it starts."""
        with self._lock:
            for piece in tuple(self._kept):
                # It may be gone: while one is looked for, a collection or a signal's handler in
                # this thread may take and give memory too.
                if piece[0] == size and self._taken(piece):
                    return piece[1:]
        return huge_pages(size)

    def _taken(self, piece: tuple[int, mmap.mmap, int]) -> bool:
        try:
            self._kept.remove(piece)
        except ValueError:
            return False
        return True

    def keep(self, size: int, pages: mmap.mmap, start: int) -> None:
        """Take memory back; the oldest goes where it gets too much."""
        with self._lock:
            self._kept.append((size, pages, start))
            while self._kept and sum(kept for kept, _, _ in tuple(self._kept)) > KEPT_BYTES:
                for oldest in tuple(self._kept)[:1]:
                    self._taken(oldest)


_pages = _Pages()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pages.unlock)


class _Lease(np.ndarray[Any, Any]):
    """The memory of one output; it lives as long as the last view of it."""

    def __new__(cls, size: int) -> _Lease:
        pages, start = _pages.take(size)
        lease = super().__new__(cls, (size,), np.uint8, buffer=pages, offset=start)
        lease.returned = (size, pages, start)
        return lease

    def __array_finalize__(self, source: Any) -> None:
        self.returned: tuple[int, mmap.mmap, int] | None = None

    # Bound here, so that it is still there when the interpreter ends.
    def __del__(self, keep: Any = _pages.keep) -> None:
        if self.returned is not None:
            keep(*self.returned)


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return an array as ``np.empty`` does; a large one reuses memory that an earlier one left."""
    if not is_large(shape, dtype):
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, buffer=_Lease(prod(shape) * dtype.itemsize))


def is_large(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Return whether an array is in memory that earlier ones left."""
    return hasattr(mmap, "MADV_HUGEPAGE") and prod(shape) * dtype.itemsize >= LEAST_BYTES
