"""Kernels: families of functions that differ in constants; addresses come at launch alone."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numba import config, cuda, types

from fastconv.backends.cuda.engine.simulator import install
from fastconv.backends.cuda.engine.source import unrolled

# Whether kernels run as Python, in Numba's simulator (NUMBA_ENABLE_CUDASIM=1).
SIMULATED = bool(config.ENABLE_CUDASIM)
if SIMULATED:
    install()

# What a kernel's parameters are annotated with: addresses of elements in the GPU's memory. A
# tensor map is 16 words that the driver encoded.
ELEMENTS = {
    "Float32": np.float32, "Float16": np.float16, "Float64": np.float64, "Int32": np.int32,
    "Int64": np.int64, "UInt8": np.uint8, "UInt16": np.uint16, "TensorMap": np.uint64,
}  # fmt: skip
Float32: TypeAlias = Any
Float16: TypeAlias = Any
Float64: TypeAlias = Any
Int32: TypeAlias = Any
Int64: TypeAlias = Any
UInt16: TypeAlias = Any
TensorMap: TypeAlias = Any

# Registers of a multiprocessor, and the most of one thread.
REGISTERS = 65536
MOST_REGISTERS = 255

Body = Callable[..., None]


@dataclass(frozen=True)
class Block:
    """What a kernel's block takes of a multiprocessor.

    Parameters
    ----------
    threads
        Threads of a block.
    shared_bytes
        Dynamic shared memory, which ``cuda.shared.array(0, ...)`` gives: more than 48 KiB is
        allowed there.
    resident
        Blocks that are to share a multiprocessor's registers; None: two of 256 threads or more,
        and no limit for smaller ones.
    """

    threads: int
    shared_bytes: int = 0
    resident: int | None = None

    @property
    def most_registers(self) -> int | None:
        """Registers a thread with which the blocks share a multiprocessor; None: it has plenty."""
        resident = self.resident
        if resident is None:
            if self.threads < 256:
                return None
            resident = 2
        # Registers are handed out by eights.
        return min(REGISTERS // (resident * self.threads) // 8 * 8, MOST_REGISTERS)


class Kernel:
    """One function with its constants baked in, for blocks of ``threads``.

    All its parameters are addresses, named by annotations such as ``Float32``: an array would
    travel as seven words, and shapes do not change.
    """

    def __init__(self, name: str, constants: tuple[Any, ...], body: Body, block: Block) -> None:
        self.name, self.constants, self.block, self.threads = name, constants, block, block.threads
        self.function = body if SIMULATED else unrolled(body)
        annotations = inspect.get_annotations(body).values()
        self.elements = tuple(ELEMENTS[str(kind)] for kind in annotations if kind != "None")
        self._simulated: Any = None

    @property
    def signature(self) -> tuple[Any, ...]:
        """Numba's types of the parameters."""
        return tuple(types.CPointer(getattr(types, np.dtype(e).name)) for e in self.elements)

    @property
    def most_registers(self) -> int | None:
        """Registers a thread with which two blocks share a multiprocessor; None: it has plenty."""
        return self.block.most_registers

    @property
    def source(self) -> str:
        """What is compiled, with constants."""
        text = getattr(self.function, "__unrolled_source__", None)
        return f"{self.constants!r}\n{text or inspect.getsource(self.function)}"

    def simulate(self, grid: tuple[int, ...], *arrays: Any) -> None:
        """Run in the simulator, on flat NumPy arrays."""
        if self._simulated is None:
            self._simulated = cuda.jit(self.function)
        self._simulated[grid, self.threads, 0, self.block.shared_bytes](*arrays)

    def __repr__(self) -> str:
        return f"Kernel({self.name}, {self.constants})"


class KernelFamily:
    """Kernels that differ in compile-time constants alone."""

    def __init__(self, factory: Callable[..., tuple[Body, int | Block]]) -> None:
        self._factory = factory
        self.name = f"{factory.__module__.rsplit('.', 1)[-1]}.{factory.__name__}"
        self._made: dict[tuple[Any, ...], Kernel] = {}
        self._lock = threading.Lock()

    def __call__(self, *constants: Any) -> Kernel:
        """Return the kernel for constants; nothing is compiled yet."""
        with self._lock:
            if constants not in self._made:
                body, block = self._factory(*constants)
                if isinstance(block, int):
                    block = Block(block)
                self._made[constants] = Kernel(self.name, constants, body, block)
            return self._made[constants]


def kernel(factory: Callable[..., tuple[Body, int | Block]]) -> KernelFamily:
    """Declare a family: ``factory(*constants)`` gives a function, and its block or threads."""
    return KernelFamily(factory)
