"""Blocks in Numba's simulator, one thread at a time: each runs until it waits for others.

Numba's own simulator gives each of a block's threads one of the system's, and looks at all of them
again and again until they have come to a barrier. Here they are coroutines of one thread, so that a
barrier costs a switch, runs are the same each time, and what waits for something that cannot
come is known at once. Threads take turns upwards, then downwards: where a barrier is missing some
thread runs ahead of what it reads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

_here = threading.local()


class Stuck(RuntimeError):
    """Threads wait for what cannot come any more."""


class Thread:
    """One thread of a block; what an emulation keeps for it are attributes of its own."""

    def __init__(self, block: Block, place: tuple[int, ...], dim: tuple[int, ...], work: Any):
        from greenlet import greenlet
        from numba.cuda.simulator.kernelapi import Dim3

        self.blockIdx, self.threadIdx = Dim3(*block.place), Dim3(*place)
        self.thread_id = place[0] + dim[0] * (place[1] + dim[1] * place[2])
        self.block = block
        self.at_barrier = False
        self.done: Callable[[], bool] | None = None
        self.error: Exception = Stuck()
        self.coroutine = greenlet(work)

    def syncthreads(self) -> None:
        """Wait for the block's other threads."""
        self.at_barrier = True
        self.block.hub.switch()

    def syncthreads_count(self, value: Any) -> int:
        """Wait for the others, and count those with a true value."""
        self.block.votes[self.thread_id] = bool(value)
        self.syncthreads()
        count = int(np.count_nonzero(self.block.votes))
        self.syncthreads()
        return count

    def syncthreads_and(self, value: Any) -> int:
        """Wait for the others; tell whether all values are true."""
        return int(self.syncthreads_count(value) == len(self.block.votes))

    def syncthreads_or(self, value: Any) -> int:
        """Wait for the others; tell whether some value is true."""
        return int(self.syncthreads_count(value) > 0)


class Block:
    """A block; takes the place of the class of this name in Numba's simulator.

    What emulations keep for a block are attributes of its own.
    """

    def __init__(self, function: Any, grid_dim: Any, block_dim: Any, debug: bool) -> None:
        self._function, self._dim = function, tuple(block_dim)
        self.votes = np.zeros(int(np.prod(self._dim)), np.bool_)
        self.place: tuple[int, ...] = (0, 0, 0)
        self.hub: Any = None

    def run(self, place: tuple[int, ...], *arguments: Any) -> None:
        """Run all threads to their end.

        Raises
        ------
        Stuck
            Where threads wait for what cannot come; else whatever a thread raises.
        """
        from greenlet import getcurrent

        self.place, self.hub = place, getcurrent()
        live = [
            Thread(self, where, self._dim, lambda: self._function(*arguments))
            for where in np.ndindex(*self._dim)
        ]
        try:
            while live:
                if not self._turn(live):
                    raise next((t.error for t in live if not t.at_barrier), Stuck())
                live = [t for t in live[::-1] if not t.coroutine.dead]
        finally:
            _here.thread = None

    def _turn(self, live: list[Thread]) -> bool:
        """Let each thread run that can; tell whether any could, or all were at a barrier."""
        moved = False
        for thread in live:
            if thread.at_barrier or (thread.done is not None and not thread.done()):
                continue
            thread.done, moved = None, True
            _here.thread = thread
            thread.coroutine.switch()
        if all(thread.at_barrier for thread in live if not thread.coroutine.dead):
            for thread in live:
                thread.at_barrier = False
            moved = True
        return moved


def current() -> Any:
    """Return the thread that runs."""
    return _here.thread


def wait_until(done: Callable[[], bool], error: Exception) -> None:
    """Let other threads run until something is so; ``error`` is raised where it cannot come."""
    thread = current()
    if not done():
        thread.done, thread.error = done, error
        thread.block.hub.switch()


class _Threading:
    """What Numba's simulator asks of `threading`."""

    Lock = staticmethod(threading.Lock)
    current_thread = staticmethod(current)


def install() -> None:
    """Have Numba's simulator run blocks so."""
    from numba.cuda.simulator import kernel, kernelapi

    kernel.BlockManager, kernelapi.threading = Block, _Threading
