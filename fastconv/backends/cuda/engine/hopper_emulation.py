"""Hopper's instructions for Numba's simulator: as asynchronous as the hardware may be, and strict.

What a copy brings is not available before a wait has seen its barrier's phase end; products read
shared memory when they are begun and again when they are waited for, and must find the same; sums
are poisoned in between. What the hardware leaves undefined is an error, and so is a wait without
end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.backends.cuda.engine.halves import widened
from fastconv.backends.cuda.engine.simulator import Stuck, current, wait_until
from fastconv.backends.cuda.engine.tensormap import SimulatedMap, copied
from fastconv.backends.cuda.engine.warpgroup import ITEMS, LINES, ROWS, STEP, WARPGROUP

# Where the launch's shared memory begins: no more aligned than the hardware promises.
_START = 0x410
_MOST_BYTES = (1 << 20) - 1
_POISON = 0xFF


class _Barrier:
    def __init__(self, count: int) -> None:
        self.count = self.pending = count
        self.bytes = self.phase = 0
        # Copies that will end in the phase that runs.
        self.copies: list[tuple[int, Callable[[], None]]] = []

    def settle(self) -> None:
        """Let copies come in, and begin the next phase where nothing is missing."""
        for size, copy in self.copies:
            copy()
            self.bytes -= size
        self.copies.clear()
        if self.pending == 0 and self.bytes == 0:
            self.phase += 1
            self.pending = self.count


class _Block:
    """A block's shared memory, barriers and warpgroups."""

    def __init__(self) -> None:
        self.memory: Any = None
        self.barriers: dict[int, _Barrier] = {}
        self.fenced = False
        self.acquired: set[int] = set()
        self.warpgroups: dict[int, _Warpgroup] = {}

    def barrier(self, address: Any) -> _Barrier:
        found = self.barriers.get(int(address))
        if found is None:
            raise RuntimeError(f"no barrier at {int(address):#x}")
        return found

    def cells(self, addresses: Any) -> Any:
        """Return the 16-bit words at addresses, and see that they are the block's own."""
        places = (np.asarray(addresses, np.int64) - _START) // 2
        if places.min() < 0 or places.max() >= len(self.memory):
            raise IndexError(f"shared memory beyond the block's: {int(np.max(addresses)):#x}")
        return places


def _block() -> _Block:
    """Return the state of the block that this thread is of."""
    found: _Block = vars(current().block).setdefault("hopper", _Block())
    return found


def _thread() -> int:
    return int(current().thread_id)


def shared_address(array: Any) -> Any:
    """Return the address of the launch's shared memory, all of which is poisoned at first."""
    block = _block()
    if block.memory is None:
        block.memory = np.asarray(array).reshape(-1).view(np.uint16)
        block.memory.view(np.uint8)[...] = _POISON
    return np.uint32(_START)


def swizzled(addresses: Any, line: int) -> Any:
    """Return where the swizzle of 128, 64 or 32 bytes puts bytes.

    Bits from 4 on, which count the 16 bytes of a line, are crossed with those from 7 on.
    """
    return addresses ^ (addresses >> 7 & (line // 16 - 1)) << 4


def barrier_init(barrier: Any, count: Any) -> None:
    """Make 8 bytes a barrier: a phase ends with ``count`` arrivals and all bytes expected."""
    block = _block()
    if int(barrier) % 8 or int(count) < 1:
        raise ValueError(f"a barrier at {int(barrier):#x} for {int(count)} arrivals")
    block.cells([int(barrier), int(barrier) + 6])
    if int(barrier) in block.barriers:
        raise RuntimeError(f"the barrier at {int(barrier):#x} is made twice")
    block.barriers[int(barrier)] = _Barrier(int(count))
    block.fenced = False


def fence_barriers() -> None:
    """Let the copies' engine see barriers that this thread made."""
    _block().fenced = True


def barrier_expect(barrier: Any, size: Any) -> None:
    """Arrive, and let the phase last until ``size`` bytes more have come."""
    block = _block()
    own = block.barrier(barrier)
    own.bytes += int(size)
    if own.bytes > _MOST_BYTES:
        raise ValueError(f"a barrier expects {own.bytes} bytes: more than {_MOST_BYTES}")
    _arrive(block, own)


def barrier_arrive(barrier: Any) -> None:
    """Arrive; what this thread did before is done for those who wait."""
    block = _block()
    _arrive(block, block.barrier(barrier))


def _arrive(block: _Block, barrier: _Barrier) -> None:
    if barrier.pending == 0:
        raise RuntimeError("more arrivals at a barrier than its phase counts")
    barrier.pending -= 1
    if not barrier.copies:
        barrier.settle()


def barrier_wait(barrier: Any, parity: Any) -> None:
    """Wait for the end of the phase of a parity: the first one's is 0."""
    block = _block()

    def done() -> bool:
        own.settle()
        # The phase before the one that runs has ended: the first finds one of parity 1.
        return own.phase % 2 != int(parity)

    own = block.barrier(barrier)
    phase = own.phase
    wait_until(done, Stuck(f"phase {phase} of the barrier at {int(barrier):#x} does not end"))


def acquire_map(map: SimulatedMap) -> None:
    """Let this block's copies read a map in global memory that the host has written."""
    _block().acquired.add(id(map))


def _copy(map: SimulatedMap, target: Any, barrier: Any, at: Any, offsets: Any = ()) -> None:
    """Poison the target now, and write it when the barrier's phase is waited for."""
    block = _block()
    tile = copied(map.spec, map.memory, at, offsets)
    if not block.fenced or id(map) not in block.acquired:
        raise RuntimeError("a copy before its barrier or its map was fenced")
    line = 2 * tile.shape[1]
    if int(target) % 128 or line not in LINES:
        raise ValueError(f"a tile of {tile.shape} at {int(target):#x}: not by 128 bytes")
    places = block.cells(swizzled(int(target) + 2 * np.arange(tile.size), line))
    block.memory[places] = 0xFFFF

    def write() -> None:
        block.memory[places] = tile.reshape(-1)

    # What is out of bounds counts like what was copied.
    block.barrier(barrier).copies.append((tile.nbytes, write))


def load_pixels(dimensions: int) -> Any:
    """Return what copies a tile of pixels at a tap, for images of so many spatial dimensions."""

    def load(map: Any, target: Any, barrier: Any, channel: Any, d: Any, h: Any, w: Any,
             image: Any, *taps: Any) -> None:  # fmt: skip
        place, offsets = (w, h, d), taps[::-1]
        outside = (*place[dimensions:], *offsets[dimensions:])
        if any(int(o) for o in outside):
            raise ValueError(f"places in dimensions that the map does not have: {outside}")
        at = (channel, *place[:dimensions], image)
        _copy(map, target, barrier, at, offsets[:dimensions])

    return load


def load_tile(map: Any, target: Any, barrier: Any, column: Any, row: Any) -> None:
    """Copy a tile of a matrix from a column and a row on."""
    _copy(map, target, barrier, (column, row))


@dataclasses.dataclass
class _Product:
    """A product in flight: where its sides are, what they were when it began, who joined."""

    kind: str
    sides: tuple[int, int]
    found: tuple[Any, Any]
    joined: int = 0
    done: bool = False


@dataclasses.dataclass
class _Lane:
    """A thread's products: how many it began and has not committed, and those of each group."""

    fenced: bool = False
    begun: int = 0
    uncommitted: int = 0
    groups: list[int] = dataclasses.field(default_factory=list)

    @property
    def finished(self) -> int:
        """How many it has waited for."""
        return self.begun - self.uncommitted - sum(self.groups)


class _Warpgroup:
    """What 128 threads do together: products in the order in which they begin."""

    def __init__(self, columns: int) -> None:
        self.sums = np.zeros((ROWS, columns), np.float32)
        self.products: list[_Product] = []
        self.lanes = [_Lane() for _ in range(WARPGROUP)]

    def finish(self, block: _Block, product: _Product) -> None:
        """Multiply: the sides must still be what they were when the product began."""
        now = (_side(block, s, len(f)) for s, f in zip(product.sides, product.found, strict=True))
        if not all(map(np.array_equal, now, product.found)):
            raise RuntimeError("shared memory was written while products read it")
        left, right = (_factors(f, product.kind) for f in product.found)
        terms = STEP // ITEMS[product.kind]
        with np.errstate(all="ignore"):
            for k in range(0, left.shape[1], terms):
                part = left[:, k : k + terms] @ right[:, k : k + terms].T
                self.sums[...] = self.sums + part
        product.done = True


def _factors(words: Any, kind: str) -> Any:
    """Return lines of 16-bit words as numbers; of a tf32 the last 13 bits are not looked at."""
    if kind == "tf32":
        return (words.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)
    return widened(words, kind).astype(np.float64)


def _fragment(columns: int, lane: int) -> tuple[Any, Any]:
    """Return the rows and columns of a thread's sums ("Register Fragments", m64nNk16, D)."""
    i = np.arange(columns // 2)
    rows = lane // 32 * 16 + lane % 32 // 4 + i // 2 % 2 * 8
    return rows, i // 4 * 8 + lane % 4 * 2 + i % 2


def _side(block: _Block, descriptor: int, rows: int) -> Any:
    """Read rows behind a descriptor, a line each, as 16-bit words."""
    swizzle, stride = descriptor >> 62, (descriptor >> 32 & 0x3FFF) * 16
    start = (descriptor & 0x3FFF) * 16
    if not swizzle or descriptor >> 49 & 7 or descriptor >> 14 & 3:
        raise ValueError(f"descriptor {descriptor:#x}: not lines of a swizzle")
    line = {mode: line for line, mode in LINES.items()}[swizzle]
    if start % (8 * line):
        raise ValueError(f"a tile at {start:#x}: not where its swizzle begins")
    row, word = np.arange(rows)[:, None], np.arange(line // 2)
    places = swizzled(start + row // 8 * stride + row % 8 * line + 2 * word, line)
    return block.memory[block.cells(places)]


def _own(block: _Block, columns: int) -> tuple[_Warpgroup, int, _Lane]:
    """Return this thread's warpgroup, its number in there, and its state."""
    thread = _thread()
    number = thread // WARPGROUP
    if number not in block.warpgroups:
        block.warpgroups[number] = _Warpgroup(columns)
    group = block.warpgroups[number]
    lane = thread % WARPGROUP
    return group, lane, group.lanes[lane]


def products_fence(count: int) -> Any:
    """Return what orders a thread's ``count`` sums before the products that add to them."""

    def fence(sums: Any) -> None:
        assert len(sums) == count
        block = _block()
        _own(block, 2 * count)[2].fenced = True

    return fence


def multiply_tiles(columns: int, line: int, kind: str) -> Any:
    """Return what adds 64 rows times ``columns`` columns to a warpgroup's sums."""

    def multiply(sums: Any, left: Any, right: Any) -> None:
        block, sides = _block(), (int(left), int(right))
        group, number, lane = _own(block, columns)
        if not lane.fenced:
            raise RuntimeError("products without a fence after their sums were written")
        if lane.begun == lane.finished:
            group.sums[_fragment(columns, number)] = sums
            sums[...] = np.nan
        if lane.begun == len(group.products):
            found = (_side(block, sides[0], ROWS), _side(block, sides[1], columns))
            if found[0].nbytes != ROWS * line:
                raise ValueError(f"lines of {found[0].nbytes // ROWS} bytes, not {line}")
            group.products.append(_Product(kind, sides, found))
        product = group.products[lane.begun]
        if product.sides != sides:
            raise RuntimeError("threads of a warpgroup multiply different tiles")
        product.joined += 1
        lane.begun += 1
        lane.uncommitted += 1

    return multiply


def commit_products() -> None:
    """Make what was multiplied since the last time a group that can be waited for."""
    block, thread = _block(), _thread()
    lane = block.warpgroups[thread // WARPGROUP].lanes[thread % WARPGROUP]
    lane.groups.append(lane.uncommitted)
    lane.uncommitted = 0


def products_wait(count: int, pending: int) -> Any:
    """Return what waits until at most ``pending`` groups are unfinished, for ``count`` sums."""

    def wait(sums: Any) -> None:
        block = _block()
        group, number, lane = _own(block, 2 * count)
        first, kept = lane.finished, lane.groups[max(len(lane.groups) - pending, 0) :]
        last = lane.begun - lane.uncommitted - sum(kept)
        for product in group.products[first:last]:
            wait_until(
                lambda p=product: p.joined == WARPGROUP,  # type: ignore[misc]
                Stuck("a product whose warpgroup does not come to it"),
            )
            if not product.done:
                group.finish(block, product)
        if lane.begun > first and not np.isnan(sums).all():
            raise RuntimeError("sums were touched while products added to them")
        lane.groups = kept
        if first < lane.begun == lane.finished:
            sums[...] = group.sums[_fragment(2 * count, number)]
            lane.fenced = False

    return wait


def spread(columns: int, pitch: int) -> Any:
    """Return what stores a thread's sums as rows of ``pitch`` floats: two floats at a time."""

    def store(target: Any, start: Any, sums: Any) -> None:
        if int(start) % 2:
            raise ValueError(f"pairs from {int(start)} on are misaligned")
        i = np.arange(columns // 2)
        target[int(start) + i // 4 * 8 + i % 2 + i // 2 % 2 * 8 * pitch] = sums

    return store
