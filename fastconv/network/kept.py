"""Programs kept for the shapes met last: as many as fit into some memory."""

from __future__ import annotations

import collections
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastconv.network.compiled import Compiled

# What programs may take besides that of the latest shape: packed parameters and tables that it
# has not. So many bytes, or a share of its own where that is more.
MOST_BYTES = 32 << 20
MOST_SHARE = 0.2
# What Python's objects take for an operation.
OPERATION_BYTES = 4 << 10
# A shape for which there is no program.
EMPTY_BYTES = 1 << 10


class KeptPrograms:
    """Programs by their shapes. Memory that several of them hold, packed parameters, counts once.

    One thread at a time may put; any may look.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._kept: collections.OrderedDict[Any, Compiled | None] = collections.OrderedDict()
        # Of each array: how many programs hold it, and its bytes.
        self._arrays: dict[int, list[int]] = {}
        self._held: dict[Any, tuple[list[np.ndarray[Any, Any]], int]] = {}
        self.nbytes = 0
        _every.add(self)

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: Any) -> bool:
        return key in self._kept

    def __iter__(self) -> Any:
        return iter(list(self._kept))

    def latest(self, key: Any) -> Compiled | None:
        """Return the program kept for ``key``, if there is one, as the one used last."""
        found = self._kept.get(key)
        if found is not None:
            try:
                self._kept.move_to_end(key)
            except KeyError:  # another thread has dropped it since
                return found
        return found

    def put(self, key: Any, program: Compiled | None) -> None:
        """Keep a program, and drop those used longest ago; the newest stays, whatever it takes."""
        arrays, own = ([], EMPTY_BYTES) if program is None else _memory(program)
        self._kept[key], self._held[key] = program, (arrays, own)
        needed = own
        for array in arrays:
            count = self._arrays.setdefault(id(array), [0, array.nbytes])
            count[0] += 1
            needed += array.nbytes
            self.nbytes += array.nbytes if count[0] == 1 else 0
        self.nbytes += own
        most = needed + max(self._most, int(MOST_SHARE * needed))
        while self.nbytes > most and len(self._kept) > 1:
            self._drop()

    def _drop(self) -> None:
        # In one step: others may look meanwhile.
        key, _ = self._kept.popitem(last=False)
        arrays, own = self._held.pop(key)
        self.nbytes -= own
        for array in arrays:
            count = self._arrays[id(array)]
            count[0] -= 1
            if count[0] == 0:
                self.nbytes -= count[1]
                del self._arrays[id(array)]

    def clear(self) -> None:
        """Drop all."""
        while self._kept:
            self._drop()


_every: weakref.WeakSet[KeptPrograms] = weakref.WeakSet()


def totals() -> tuple[int, int]:
    """Return how many programs all networks of this process keep, and their bytes."""
    every = list(_every)
    return sum(map(len, every)), sum(each.nbytes for each in every)


def _memory(program: Compiled) -> tuple[list[np.ndarray[Any, Any]], int]:
    """Return the arrays that a program holds, each once, and the bytes of its objects."""
    arrays = {id(array): array for array in program.arrays()}
    return list(arrays.values()), len(program.program.posed()) * OPERATION_BYTES
