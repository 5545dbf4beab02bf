"""What a machine can do at most: programs that multiply, or read, and do nothing else."""

from __future__ import annotations

import platform
from typing import NamedTuple

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.manifest.moves import Chains, ReadBytes
from fastconv.backends.native.addresses import address_of
from fastconv.backends.native.arena import ALIGNMENT, aligned
from fastconv.backends.native.driver import Program, drive
from fastconv.backends.native.gemm import tile_for, vector_tile
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import Slot, Stage, pack_program
from fastconv.machine import Machine

# Chains of multiply-adds, each of which waits for itself: enough to keep all units of a core busy,
# and no more than it has registers.
CHAINS = 24 if platform.machine().lower() in ("arm64", "aarch64") else 12
# Loads that an item has under way.
SUMS = 8
# Multiply-adds of an item in each chain, and bytes that a thread reads at least: samples last long
# next to the call, and are mostly over before a busy neighbour has its turn.
ITEM_STEPS = 20_000
LEAST_BYTES = 32 << 20
# Parts into which a worker's share is cut: workers that are held up leave some to the others.
PARTS = 4


class Gauge(NamedTuple):
    """A program with its memory, and how much it does: operations, or bytes."""

    program: Program
    memory: list[Array]
    amount: int
    threads: int

    def run(self) -> None:
        """Run it once."""
        drive(self.program, [address_of(array) for array in self.memory], self.threads, whole=True)


def multiplying(library: Library, machine: Machine, dtype: str, threads: int) -> Gauge:
    """Return a program of multiply-adds in registers."""
    tile = vector_tile(tile_for(library, np.dtype(dtype), machine))
    items = threads * PARTS
    # Every chain stays at 1.
    arguments = Chains(steps=ITEM_STEPS, factor=0.5, term=0.5, sink=Slot(0), sink_stride=ALIGNMENT)
    stage = Stage(library.kernel("peak.chains", tile), items, arguments)
    program, _ = pack_program([stage])
    amount = 2 * CHAINS * tile.lanes * ITEM_STEPS * items
    return Gauge(program, [aligned(ALIGNMENT * threads)], amount, threads)


def filled(size: int) -> Array:
    """Return bytes to read: memory that was never written is all one page of zeros."""
    source = aligned(size)
    source[:] = 1
    return source


def reading(library: Library, machine: Machine, source: Array, threads: int) -> Gauge:
    """Return a program that reads bytes, a part a thread, again and again if they are few.

    They are in the caches that hold them from the second run on.
    """
    size = source.nbytes
    tile = vector_tile(tile_for(library, np.dtype("float32"), machine))
    step = SUMS * machine.figures.vector_bytes
    # Of little memory each thread reads its own part, and stays with it.
    again = LEAST_BYTES * threads // size
    items = threads if again > 1 else threads * PARTS
    part = max(1, size // items // step) * step
    times = max(1, again)
    arguments = ReadBytes(
        source=Slot(0), part_bytes=part, times=times, sink=Slot(1), sink_stride=ALIGNMENT
    )
    stage = Stage(library.kernel("peak.read", tile), items, arguments)
    program, _ = pack_program([stage])
    return Gauge(program, [source, aligned(ALIGNMENT * threads)], part * items * times, threads)
