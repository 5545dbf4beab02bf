"""The one driver: runs a program of stages, each over its work items, on one or more threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numba
import numpy as np

from fastconv.backends.native.driver import Program, Words, register
from fastconv.backends.numba.engine.kernel import cached_njit
from fastconv.backends.numba.engine.memory import call_kernel
from fastconv.backends.numba.engine.nested import nested


@numba.njit(inline="always")
def _fill(words: Any, places: Any, addresses: Any) -> None:
    """Put the buffers' addresses into a run's block."""
    for i in range(places.shape[0]):
        base = addresses[places[i, 1]]
        words[places[i, 0]] = base + places[i, 2] if base != 0 else 0


@cached_njit("fill")
def _fill_block(words: Any, places: Any, addresses: Any) -> None:
    _fill(words, places, addresses)


@cached_njit("drive_serial", nogil=True)
def _drive_serial(stages: Any, words: Any, places: Any, addresses: Any) -> None:
    _fill(words, places, addresses)
    start = words.ctypes.data
    for stage in range(stages.shape[0]):
        call_kernel(stages[stage, 0], start + stages[stage, 1], 0, stages[stage, 2], 0)


@cached_njit("drive_range", nogil=True)
def _drive_range(kernel: int, args: int, first: int, last: int, worker: int) -> None:
    call_kernel(kernel, args, first, last, worker)


@cached_njit("drive_parallel", nogil=True, parallel=True)
def _drive_parallel(stages: Any, words: Any, places: Any, addresses: Any, threads: int) -> None:
    _fill(words, places, addresses)
    start = words.ctypes.data
    for stage in range(stages.shape[0]):
        kernel = stages[stage, 0]
        args = start + stages[stage, 1]
        items = stages[stage, 2]
        if items == 1:
            call_kernel(kernel, args, 0, 1, 0)
        else:
            for worker in numba.prange(threads):
                first = items * worker // threads
                last = items * (worker + 1) // threads
                if last > first:
                    call_kernel(kernel, args, first, last, worker)


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
        _drive_parallel(*parts, threads)
    else:
        _drive_with_pool(*parts, threads)


class _Layer:
    """Which threads to use: Numba's where its layer stands many callers and no fork came between.

    Numba's workqueue layer aborts the process on concurrent calls, and GNU OpenMP does so in a
    child forked after its first use; there, Python threads run the same kernels without the GIL.
    """

    def __init__(self) -> None:
        self._safe: bool | None = None
        self._lock = threading.Lock()

    def safe(self) -> bool:
        if self._safe is None:
            with self._lock:
                rows, words = np.zeros((0, 3), np.int64), np.zeros(0, np.int64)
                _drive_parallel(rows, words, rows, words, 1)
                from numba.np.ufunc.parallel import _launch_threads

                _launch_threads()
                self._safe = numba.threading_layer() != "workqueue"
        return self._safe

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        if self._safe is not None:
            self._safe = False


_layer = _Layer()
_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def _drive_with_pool(
    stages: Words, words: Words, places: Words, addresses: Words, threads: int
) -> None:
    pool = _get_pool()
    _fill_block(words, places, addresses)
    start = words.ctypes.data
    for kernel, offset, items in stages.tolist():
        args = start + offset
        bounds = [items * worker // threads for worker in range(threads + 1)]
        futures = [
            pool.submit(_drive_range, kernel, args, bounds[w], bounds[w + 1], w)
            for w in range(1, threads)
            if bounds[w + 1] > bounds[w]
        ]
        if bounds[1]:
            _drive_range(kernel, args, 0, bounds[1], 0)
        wait(futures)


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

# Before others: its threads are those that Numba's and PyTorch's other loops use.
register(drive, nested, first=True)
