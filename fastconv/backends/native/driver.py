"""Programs of stages, and the one driver that runs them on one or more threads.

A kernel is a function's address, whichever compiler made it: any driver can run any program.
Backends register theirs as they are imported.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastconv.backends.native.addresses import address_of
from fastconv.backends.native.arena import set_aside

Words = np.ndarray[Any, np.dtype[np.int64]]


class Program:
    """Stages as the driver reads them; the same at every run.

    ``stages`` has a row a stage: kernel address, bytes from the block's start to its arguments,
    work items. ``places`` has a row an argument that is an address known only at the run: its
    place in ``block``, its buffer, bytes from that buffer's start. All three are left alone from
    then on; ``parts`` has each one's address and length. ``times`` are the seconds that each
    stage is predicted to take on one thread; without them a program counts as short. A ``brief``
    one is over before a thread that has to be woken could help.
    """

    __slots__ = (
        "_table", "address", "block", "brief", "parts", "places", "seconds", "stages", "times",
    )  # fmt: skip

    def __init__(
        self, stages: Words, block: Words, places: Words, times: Sequence[float] = ()
    ) -> None:
        self.stages, self.block, self.places = stages, block, places
        self.parts = tuple(n for part in (stages, block, places) for n in _part(part))
        self.times, self.seconds = times, sum(times)
        self.brief = 0 < self.seconds < BRIEF_SECONDS
        # The same words in memory, for who takes one address.
        self._table = np.array((*self.parts, self.brief), np.int64)
        self.address = address_of(self._table)


def _part(array: Words) -> tuple[int, int]:
    return address_of(array), len(array)


class Driver(Protocol):
    """What runs a program.

    ``addresses`` are the buffers', counted from the end where a place's buffer is negative.
    """

    def __call__(self, program: Program, addresses: Sequence[int], threads: int) -> None: ...


class ArrayDriver(Protocol):
    """What runs a program on arrays, and workspace and scratch memory after them."""

    def __call__(
        self, program: Program, arrays: tuple[Any, ...], workspace: int, scratch: int, threads: int
    ) -> None: ...


class _Offer(NamedTuple):
    drive: Driver
    kernel: Callable[[str], int]
    arrays: ArrayDriver


_offers: list[_Offer] = []


def register(
    drive: Driver,
    kernel: Callable[[str], int],
    *,
    first: bool = False,
    arrays: ArrayDriver | None = None,
) -> None:
    """Offer a driver, and what gives the addresses of kernels that run others, by name.

    One that is ``first`` is taken before the others. ``arrays`` is a shorter way for arrays.
    """

    def by_address(
        program: Program, arrays: tuple[Any, ...], workspace: int, scratch: int, threads: int
    ) -> None:
        drive(program, [*map(address_of, arrays), workspace, scratch], threads)

    offer = _Offer(drive, kernel, arrays or by_address)
    _offers.insert(0 if first else len(_offers), offer)


def drive(program: Program, addresses: Sequence[int], threads: int, *, whole: bool = False) -> None:
    """Run a program's stages in order, each one's items shared out over ``threads`` workers.

    A long one runs in parts, so that Python sees signals between them: Ctrl-C ends it there. It
    does not where it is to be ``whole``, nor in a thread that is shown no signals.
    """
    if whole or program.seconds < LONG_SECONDS * threads or not _sees_signals():
        _offers[0].drive(program, addresses, threads)
        return
    from fastconv.backends.native.cuts import cuts

    # What a signal's handler computes is not to be in the memory that this program works in.
    with set_aside():
        for part in cuts(program, threads, PART_SECONDS, ranged_kernel()):
            _offers[0].drive(part, addresses, threads)


def drive_arrays(
    program: Program,
    arrays: tuple[Any, ...],
    workspace: int,
    scratch: int,
    threads: int,
    whole: bool = False,
) -> None:
    """Run a program as `drive` does, on arrays (None: address 0) and two addresses after them."""
    short = whole or program.seconds < LONG_SECONDS
    if short and len(arrays) <= MOST_ARRAYS:
        _offers[0].arrays(program, arrays, workspace, scratch, threads)
    else:
        drive(program, [*map(address_of, arrays), workspace, scratch], threads, whole=whole)


# By prediction: up to where waking a thread takes longer than it saves. One that sleeps begins some
# 20 to 40 us after it is called: of 66 us it loses a tenth, of 98 it gains a tenth (Intel Xeon).
BRIEF_SECONDS = 90e-6
# Arrays that drivers take at once.
MOST_ARRAYS = 30


def array_driver() -> ArrayDriver:
    """Return what `drive_arrays` runs short programs with."""
    return _offers[0].arrays


# By prediction: from how many on a program is cut, and how many a part takes.
LONG_SECONDS = 0.2
PART_SECONDS = 0.1


def _sees_signals() -> bool:
    return threading.current_thread() is threading.main_thread()


def nested_kernel() -> int:
    """Return the address of the kernel of `fastconv.backends.native.nested`."""
    return _offers[0].kernel("nested")


def ranged_kernel() -> int:
    """Return the address of the kernel of `fastconv.backends.native.cuts`."""
    return _offers[0].kernel("ranged")
