"""Kernels: families of functions that differ in constants; addresses come at launch alone."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numba import config, cuda, types

from fastconv.backends.cuda.engine.source import unrolled

# Whether kernels run as Python, in Numba's simulator (NUMBA_ENABLE_CUDASIM=1).
SIMULATED = bool(config.ENABLE_CUDASIM)

# What a kernel's parameters are annotated with: addresses of elements in the card's memory.
ELEMENTS = {"Float32": np.float32, "Float16": np.float16, "Int32": np.int32}
Float32: TypeAlias = Any
Float16: TypeAlias = Any
Int32: TypeAlias = Any

# Registers of a multiprocessor.
REGISTERS = 65536

Body = Callable[..., None]


class Kernel:
    """One function with its constants baked in, for blocks of ``threads``.

    All its parameters are addresses, named by annotations such as ``Float32``: an array would
    travel as seven words, and shapes do not change.
    """

    def __init__(self, name: str, constants: tuple[Any, ...], body: Body, threads: int) -> None:
        self.name, self.constants, self.threads = name, constants, threads
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
        return REGISTERS // (2 * self.threads) if self.threads >= 256 else None

    @property
    def source(self) -> str:
        """What is compiled, with constants."""
        text = getattr(self.function, "__unrolled_source__", None)
        return f"{self.constants!r}\n{text or inspect.getsource(self.function)}"

    def simulate(self, grid: tuple[int, ...], *arrays: Any) -> None:
        """Run in the simulator, on flat NumPy arrays."""
        if self._simulated is None:
            self._simulated = cuda.jit(self.function)
        self._simulated[grid, self.threads](*arrays)

    def __repr__(self) -> str:
        return f"Kernel({self.name}, {self.constants})"


class KernelFamily:
    """Kernels that differ in compile-time constants alone."""

    def __init__(self, factory: Callable[..., tuple[Body, int]]) -> None:
        self._factory = factory
        self.name = f"{factory.__module__.rsplit('.', 1)[-1]}.{factory.__name__}"
        self._made: dict[tuple[Any, ...], Kernel] = {}
        self._lock = threading.Lock()

    def __call__(self, *constants: Any) -> Kernel:
        """Give the kernel for constants; nothing is compiled yet."""
        with self._lock:
            if constants not in self._made:
                body, threads = self._factory(*constants)
                self._made[constants] = Kernel(self.name, constants, body, threads)
            return self._made[constants]


def kernel(factory: Callable[..., tuple[Body, int]]) -> KernelFamily:
    """Declare a family: ``factory(*constants)`` gives a kernel's function and a block's threads."""
    return KernelFamily(factory)
