"""The one driver: runs a program of stages, each over its work items, on one or more threads."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numba
import numpy as np

from fastconv.backends.numba.engine.kernel import cached_njit
from fastconv.backends.numba.engine.memory import call_kernel

# A program is a row a stage: kernel address, address of its argument block, work items.
Program = np.ndarray[Any, np.dtype[np.int64]]


@cached_njit("drive_serial", nogil=True)
def _drive_serial(program: Any) -> None:
    for stage in range(program.shape[0]):
        call_kernel(program[stage, 0], program[stage, 1], 0, program[stage, 2], 0)


@cached_njit("drive_range", nogil=True)
def _drive_range(kernel: int, args: int, first: int, last: int, worker: int) -> None:
    call_kernel(kernel, args, first, last, worker)


@cached_njit("drive_parallel", nogil=True, parallel=True)
def _drive_parallel(program: Any, threads: int) -> None:
    for stage in range(program.shape[0]):
        kernel = program[stage, 0]
        args = program[stage, 1]
        items = program[stage, 2]
        if items == 1:
            call_kernel(kernel, args, 0, 1, 0)
        else:
            for worker in numba.prange(threads):
                first = items * worker // threads
                last = items * (worker + 1) // threads
                if last > first:
                    call_kernel(kernel, args, first, last, worker)


def drive(program: Program, threads: int) -> None:
    """Run the stages in order; each stage's items are shared out over ``threads`` workers."""
    if threads == 1:
        _drive_serial(program)
    elif _layer.safe():
        _drive_parallel(program, threads)
    else:
        _drive_with_pool(program, threads)


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
                _drive_parallel(np.zeros((0, 3), np.int64), 1)
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


def _drive_with_pool(program: Program, threads: int) -> None:
    pool = _get_pool()
    for kernel, args, items in program.tolist():
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
