"""Programs of stages, and the one driver that runs them on one or more threads.

A kernel is a function's address, whoever compiled it: any driver can run any program. Backends
register theirs as they are imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from fastconv.backends.native.addresses import address_of

Words = np.ndarray[Any, np.dtype[np.int64]]


class Program:
    """Stages as the driver reads them; the same at every run.

    ``stages`` has a row a stage: kernel address, bytes from the block's start to its arguments,
    work items. ``places`` has a row an argument that is an address known only at the run: its
    place in ``block``, its buffer, bytes from that buffer's start. All three are left alone from
    then on; ``parts`` has each one's address and length.
    """

    __slots__ = ("block", "parts", "places", "stages")

    def __init__(self, stages: Words, block: Words, places: Words) -> None:
        self.stages, self.block, self.places = stages, block, places
        self.parts = tuple(n for part in (stages, block, places) for n in _part(part))


def _part(array: Words) -> tuple[int, int]:
    return address_of(array), len(array)


class Driver(Protocol):
    """What runs a program.

    ``addresses`` are the buffers', counted from the end where a place's buffer is negative.
    """

    def __call__(self, program: Program, addresses: Sequence[int], threads: int) -> None: ...


_drivers: list[Driver] = []


def register(driver: Driver, *, first: bool = False) -> None:
    """Offer a driver; one that is ``first`` is taken before the others."""
    _drivers.insert(0 if first else len(_drivers), driver)


def drive(program: Program, addresses: Sequence[int], threads: int) -> None:
    """Run a program's stages in order, each one's items shared out over ``threads`` workers."""
    _drivers[0](program, addresses, threads)
