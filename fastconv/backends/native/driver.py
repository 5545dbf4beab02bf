"""Programs of stages, and the one driver that runs them on one or more threads.

A kernel is a function's address, whoever compiled it: any driver can run any program. Backends
register theirs as they are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

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


class _Offer(NamedTuple):
    drive: Driver
    nested: Callable[[], int]


_offers: list[_Offer] = []


def register(drive: Driver, nested: Callable[[], int], *, first: bool = False) -> None:
    """Offer a driver, and what gives the address of the kernel of programs within a program.

    One that is ``first`` is taken before the others.
    """
    _offers.insert(0 if first else len(_offers), _Offer(drive, nested))


def drive(program: Program, addresses: Sequence[int], threads: int) -> None:
    """Run a program's stages in order, each one's items shared out over ``threads`` workers."""
    _offers[0].drive(program, addresses, threads)


def nested_kernel() -> int:
    """Give the address of the kernel of `fastconv.backends.native.nested`."""
    return _offers[0].nested()
