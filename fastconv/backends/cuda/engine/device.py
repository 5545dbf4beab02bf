"""What runs launches: a GPU by its driver, or Numba's simulator."""

from __future__ import annotations

import abc
import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv import settings
from fastconv.backends.cuda.engine.kernel import SIMULATED, Kernel
from fastconv.backends.cuda.engine.tensormap import SimulatedMap, Spec

# Addresses of memory are multiples of it, as the driver gives them.
ALIGNMENT = 256
# A device's memory: an object of the driver's, or bytes of the simulator's.
Memory = Any
Given = Sequence["tuple[Memory, int] | None"]
# A launch with the memory that it is for.
Run = tuple[Kernel, tuple[int, int, int], Given]


class Graph(abc.ABC):
    """Launches that are known to the GPU as one."""

    @abc.abstractmethod
    def replay(self, device: Device) -> None:
        """Put all launches on the device's stream at once."""


class Device(abc.ABC):
    """A GPU, and the stream on which everything happens in order."""

    ordinal: int = 0
    # What kernels are compiled for, such as "sm_90a".
    arch: str

    @property
    @abc.abstractmethod
    def stream(self) -> int:
        """The stream's handle."""

    @abc.abstractmethod
    def empty(self, size: int) -> Memory:
        """Return memory of ``size`` bytes with nothing in it."""

    @abc.abstractmethod
    def adopt(self, pointer: int, size: int, owner: Any) -> Memory:
        """Return memory that another library keeps as long as ``owner`` lives."""

    @abc.abstractmethod
    def address(self, memory: Memory) -> int:
        """Return where memory begins."""

    @abc.abstractmethod
    def upload(self, array: np.ndarray[Any, Any]) -> Memory:
        """Return a copy of a contiguous array."""

    @abc.abstractmethod
    def download(self, memory: Memory, array: np.ndarray[Any, Any]) -> None:
        """Wait for all that was launched, and copy memory to a contiguous array."""

    @abc.abstractmethod
    def part(self, memory: Memory, start: int) -> Memory:
        """Return memory from a byte on."""

    @abc.abstractmethod
    def copy(self, target: Memory, source: Memory, size: int) -> None:
        """Copy ``size`` bytes on the GPU, in the stream's order."""

    @abc.abstractmethod
    def wait_for(self, stream: int) -> None:
        """Make this stream wait for work queued on another stream; the host does not block."""

    @abc.abstractmethod
    def tensor_map(self, spec: Spec, memory: Memory, offset: int) -> Memory:
        """Return a tensor map of what is stored in memory from bytes on, for kernels to copy by."""

    @abc.abstractmethod
    def launch(self, kernel: Kernel, grid: tuple[int, int, int], arguments: Given) -> None:
        """Run a kernel on memory, from bytes on; None is the address 0."""

    @abc.abstractmethod
    def capture(self, runs: list[Run]) -> Graph:
        """Make a graph of launches; nothing runs."""


class SimulatedDevice(Device):
    """Numba's simulator: memory is NumPy's, and what is not written stays poisoned."""

    arch = "sm_90a"

    @property
    def stream(self) -> int:
        return 1

    def empty(self, size: int) -> Memory:
        room = np.full(size + ALIGNMENT, 0xFF, np.uint8)
        start = -room.ctypes.data % ALIGNMENT
        return room[start : start + size]

    def adopt(self, pointer: int, size: int, owner: Any) -> Memory:
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer))

    def address(self, memory: Memory) -> int:
        return int(memory.ctypes.data)

    def upload(self, array: np.ndarray[Any, Any]) -> Memory:
        memory = self.empty(array.nbytes)
        memory[...] = array.reshape(-1).view(np.uint8)
        return memory

    def download(self, memory: Memory, array: np.ndarray[Any, Any]) -> None:
        array.reshape(-1).view(np.uint8)[...] = memory[: array.nbytes]

    def part(self, memory: Memory, start: int) -> Memory:
        return memory[start:]

    def copy(self, target: Memory, source: Memory, size: int) -> None:
        target[:size] = source[:size]

    def wait_for(self, stream: int) -> None:
        """All is done at once here."""

    def tensor_map(self, spec: Spec, memory: Memory, offset: int) -> Memory:
        return SimulatedMap(spec, memory[offset:])

    def launch(self, kernel: Kernel, grid: tuple[int, int, int], arguments: Given) -> None:
        arrays = [
            np.empty(0, element) if given is None else _from(*given, np.dtype(element))
            for given, element in zip(arguments, kernel.elements, strict=True)
        ]
        kernel.simulate(grid, *arrays)

    def capture(self, runs: list[Run]) -> Graph:
        return _Recorded(runs)


class _Recorded(Graph):
    def __init__(self, runs: list[Run]) -> None:
        self._runs = tuple(runs)

    def replay(self, device: Device) -> None:
        for run in self._runs:
            device.launch(*run)


def _from(memory: Memory, offset: int, element: np.dtype[Any]) -> Any:
    if isinstance(memory, SimulatedMap):
        return memory
    size = element.itemsize
    whole: np.ndarray[Any, Any] = memory[offset:]
    return whole[: len(whole) // size * size].view(element)


def current_arch() -> str:
    """Return what kernels are compiled for: the first GPU's architecture, unless one is asked for.

    Raises
    ------
    ValueError
        Where none is asked for, and there is no GPU.
    """
    return settings.cuda_arch() or device_for().arch


def device_for(ordinal: int = 0, stream: int | None = None) -> Device:
    """Return a GPU and the stream of a handle; None: its default stream.

    Raises
    ------
    ValueError
        Where there is no GPU, or no driver.
    """
    if SIMULATED:
        return SimulatedDevice()
    from fastconv.backends.cuda.engine.driver import device

    return device(ordinal, stream)
