"""The one driver: runs a program of stages, each over its work items, on one or more threads."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numba.np.ufunc import parallel

from fastconv.backends.native.arena import set_aside
from fastconv.backends.native.driver import Program, Words, register
from fastconv.backends.numba.engine.float_mode import FLOAT_MODE, swap_float_mode
from fastconv.backends.numba.engine.kernel import cached_njit
from fastconv.backends.numba.engine.memory import call_kernel
from fastconv.backends.numba.engine.nested import nested
from fastconv.backends.numba.engine.ranged import ranged


@numba.njit(inline="always")
def _fill(words: Any, places: Any, addresses: Any) -> None:
    """Put the buffers' addresses into a run's block."""
    for i in range(places.shape[0]):
        base = addresses[places[i, 1]]
        words[places[i, 0]] = base + places[i, 2] if base != 0 else 0


@numba.njit(inline="always")
def _run(kernel: int, args: int, first: int, last: int, worker: int) -> None:
    """Run a kernel, computing as every thread does."""
    before = swap_float_mode(FLOAT_MODE)
    call_kernel(kernel, args, first, last, worker)
    swap_float_mode(before)


@cached_njit("fill")
def _fill_block(words: Any, places: Any, addresses: Any) -> None:
    _fill(words, places, addresses)


@cached_njit("drive_serial", nogil=True)
def _drive_serial(stages: Any, words: Any, places: Any, addresses: Any) -> None:
    _fill(words, places, addresses)
    start = words.ctypes.data
    for stage in range(stages.shape[0]):
        _run(stages[stage, 0], start + stages[stage, 1], 0, stages[stage, 2], 0)


@cached_njit("drive_range", nogil=True)
def _drive_range(kernel: int, args: int, first: int, last: int, worker: int) -> None:
    _run(kernel, args, first, last, worker)


@cached_njit("drive_parallel", nogil=True, parallel=True)
def _drive_parallel(stages: Any, words: Any, places: Any, addresses: Any, threads: int) -> None:
    _fill(words, places, addresses)
    start = words.ctypes.data
    for stage in range(stages.shape[0]):
        kernel = stages[stage, 0]
        args = start + stages[stage, 1]
        items = stages[stage, 2]
        if items == 1:
            _run(kernel, args, 0, 1, 0)
        else:
            for worker in numba.prange(threads):
                first = items * worker // threads
                last = items * (worker + 1) // threads
                if last > first:
                    _run(kernel, args, first, last, worker)


def drive(program: Program, addresses: Sequence[int], threads: int) -> None:
    """Run the stages in order; each stage's items are shared out over ``threads`` workers.

    ``addresses`` are the buffers', counted from the end where a place's buffer is negative.
    """
    # The copy is held here until the kernels are done: native code frees what it sees no more use
    # of, and sees none in an address.
    words = program.block.copy()
    parts = (program.stages, words, program.places, np.array(addresses, np.int64))
    if threads == 1:
        _drive_serial(*parts)
    elif _layer.safe():
        _drive_parallel_at_most(threads, *parts)
    else:
        _drive_with_pool(*parts, threads)


class _Layer:
    """Which threads to use: Numba's where its layer supports many callers and no fork came between.

    Numba's workqueue layer aborts the process on concurrent calls, and GNU OpenMP does so in a
    child forked after its first use, be it ours or another program's; there, Python threads run the
    same kernels without the GIL.
    """

    def __init__(self) -> None:
        self._safe: bool | None = None
        self._lock = threading.Lock()
        # Without a hook no fork is seen until this module is loaded.
        if _launched() and _threads_are_missing():
            self._safe = False

    def safe(self) -> bool:
        if self._safe is None:
            with self._lock:
                rows, words = np.zeros((0, 3), np.int64), np.zeros(0, np.int64)
                _drive_parallel(rows, words, rows, words, 1)
                parallel._launch_threads()
                self._safe = bool(numba.threading_layer() != "workqueue")
        return self._safe

    def after_fork(self) -> None:
        # Another thread may have been about to launch them.
        if self._safe is not None or self._lock.locked() or _launched():
            self._safe = False
        self._lock = threading.Lock()


def _launched() -> bool:
    """Return whether Numba's threads were started, here or before a fork."""
    return bool(parallel._is_initialized)


def _threads_are_missing() -> bool:
    """Return whether this process has fewer threads than Numba's would be: they are a parent's."""
    try:
        there = len(os.listdir("/proc/self/task"))
    except OSError:
        return False
    return there < int(numba.config.NUMBA_NUM_THREADS)


def _drive_parallel_at_most(threads: int, *parts: Words) -> None:
    """Let no more of Numba's threads run than are asked for: those without work wait awake."""
    before = numba.get_num_threads()
    most = min(threads, numba.config.NUMBA_NUM_THREADS)
    if most == before:
        _drive_parallel(*parts, threads)
        return
    numba.set_num_threads(most)
    try:
        _drive_parallel(*parts, threads)
    finally:
        numba.set_num_threads(before)


_layer = _Layer()
_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def _drive_with_pool(
    stages: Words, words: Words, places: Words, addresses: Words, threads: int
) -> None:
    _fill_block(words, places, addresses)
    start = words.ctypes.data
    # Python sees signals between the stages: what a handler computes is elsewhere.
    with set_aside():
        for kernel, offset, items in stages.tolist():
            _Shared(kernel, start + offset, items, threads).run()


class _Shared:
    """One stage's parts, which the caller and Python threads take until none is left.

    A call that ends, by an error or Ctrl-C too, leaves no thread behind that works for it: the
    memory may be another's from then on.
    """

    def __init__(self, kernel: int, args: int, items: int, threads: int) -> None:
        self._kernel, self._args = kernel, args
        bounds = [items * worker // threads for worker in range(threads + 1)]
        self._parts = [
            (bounds[w], bounds[w + 1], w) for w in range(threads) if bounds[w + 1] > bounds[w]
        ]
        self._changed = threading.Condition()
        self._running = 0
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do all parts."""
        try:
            for _ in range(len(self._parts) - 1):
                # There may be no thread to be had; then this one does the more.
                with contextlib.suppress(RuntimeError):
                    _get_pool().submit(self._help)
            # Parts that no thread has taken yet are done before one could.
            while (part := self._taken()) is not None:
                _drive_range(self._kernel, self._args, *part)
            self._wait()
        except BaseException:
            self._parts.clear()
            self._wait_whatever_comes()
            raise
        if self._error is not None:
            raise self._error

    def _taken(self) -> tuple[int, int, int] | None:
        with self._changed:
            return self._parts.pop() if self._parts else None

    def _help(self) -> None:
        while True:
            with self._changed:
                if not self._parts:
                    return
                part = self._parts.pop()
                self._running += 1
            try:
                _drive_range(self._kernel, self._args, *part)
            except BaseException as error:
                self._error = error
            finally:
                with self._changed:
                    self._running -= 1
                    self._changed.notify()

    def _wait(self) -> None:
        with self._changed:
            while self._running:
                self._changed.wait()

    def _wait_whatever_comes(self) -> None:
        while True:
            # A second Ctrl-C ends no wait either: the first one is raised when it is over.
            with contextlib.suppress(BaseException):
                self._wait()
                return


def _get_pool() -> ThreadPoolExecutor:
    global _pool
    with _pool_lock:
        if _pool is None:
            workers = max(1, (os.cpu_count() or 1) - 1)
            _pool = ThreadPoolExecutor(workers, thread_name_prefix="fastconv")
        return _pool


def _after_fork() -> None:
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()
    _layer.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def running(name: str) -> int:
    """Return the address of a kernel that runs others."""
    return {"nested": nested, "ranged": ranged}[name]()


register(drive, running)
