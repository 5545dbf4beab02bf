"""What runs launches: a card by its driver, or Numba's simulator."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv.backends.cuda.engine.kernel import Kernel

# Addresses of memory are multiples of it, as the driver gives them.
ALIGNMENT = 256
# A device's memory: an object of the driver's, or bytes of the simulator's.
Memory = Any
Given = Sequence["tuple[Memory, int] | None"]


class Device(abc.ABC):
    """A card, and the stream on which everything happens in order."""

    ordinal: int = 0

    @abc.abstractmethod
    def empty(self, size: int) -> Memory:
        """Give memory of ``size`` bytes with nothing in it."""

    @abc.abstractmethod
    def upload(self, array: np.ndarray[Any, Any]) -> Memory:
        """Give a copy of a contiguous array."""

    @abc.abstractmethod
    def download(self, memory: Memory, array: np.ndarray[Any, Any]) -> None:
        """Wait for all that was launched, and copy memory to a contiguous array."""

    @abc.abstractmethod
    def launch(self, kernel: Kernel, grid: tuple[int, int, int], arguments: Given) -> None:
        """Run a kernel on memory, from bytes on; None is the address 0."""


class SimulatedDevice(Device):
    """Numba's simulator: memory is NumPy's, and what is not written stays poisoned."""

    def empty(self, size: int) -> Memory:
        room = np.full(size + ALIGNMENT, 0xFF, np.uint8)
        start = -room.ctypes.data % ALIGNMENT
        return room[start : start + size]

    def upload(self, array: np.ndarray[Any, Any]) -> Memory:
        memory = self.empty(array.nbytes)
        memory[...] = array.reshape(-1).view(np.uint8)
        return memory

    def download(self, memory: Memory, array: np.ndarray[Any, Any]) -> None:
        array.reshape(-1).view(np.uint8)[...] = memory[: array.nbytes]

    def launch(self, kernel: Kernel, grid: tuple[int, int, int], arguments: Given) -> None:
        arrays = [
            np.empty(0, element) if given is None else _from(*given, np.dtype(element))
            for given, element in zip(arguments, kernel.elements, strict=True)
        ]
        kernel.simulate(grid, *arrays)


def _from(memory: Memory, offset: int, element: np.dtype[Any]) -> np.ndarray[Any, Any]:
    size = element.itemsize
    whole: np.ndarray[Any, Any] = memory[offset:]
    return whole[: len(whole) // size * size].view(element)
