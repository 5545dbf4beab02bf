"""Programs of stages, and the one driver that runs them on one or more threads.

A kernel is a function's address, whoever compiled it: any driver can run any program. Backends
register theirs as they are imported.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from fastconv.problem.record import record

Words = np.ndarray[Any, np.dtype[np.int64]]


@record(frozen=True)
class Program:
    """Stages as the driver reads them; the same at every run.

    ``stages`` has a row a stage: kernel address, bytes from the block's start to its arguments,
    work items. ``places`` has a row an argument that is an address known only at the run: its
    place in ``block``, its buffer, bytes from that buffer's start.
    """

    stages: Words
    block: Words
    places: Words


class Driver(Protocol):
    """What runs a program.

    ``addresses`` are the buffers', counted from the end where a place's buffer is negative.
    """

    def __call__(self, program: Program, addresses: Words, threads: int) -> None: ...


_drivers: list[Driver] = []


def register(driver: Driver, *, first: bool = False) -> None:
    """Offer a driver; one that is ``first`` is taken before the others."""
    _drivers.insert(0 if first else len(_drivers), driver)


def drive(program: Program, addresses: Words, threads: int) -> None:
    """Run a program's stages in order, each one's items shared out over ``threads`` workers."""
    _drivers[0](program, addresses, threads)
