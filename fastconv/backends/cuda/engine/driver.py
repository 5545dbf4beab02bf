"""A card by NVIDIA's driver. Nothing here is imported before an array or a caller asks for one."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np

from fastconv.backends.cuda.engine.cache import cubin_of
from fastconv.backends.cuda.engine.device import Device, Given, Memory
from fastconv.backends.cuda.engine.kernel import Kernel

# Architectures whose own instructions are asked for by a letter.
_OWN = {(9, 0): "sm_90a"}
# Shared memory that a block has without asking.
_GRANTED_SHARED = 48 << 10


@functools.cache
def device(ordinal: int = 0) -> CudaDevice:
    """Give a card.

    Raises
    ------
    RuntimeError
        Where there is none, or no driver.
    """
    return CudaDevice(ordinal)


class CudaDevice(Device):
    """A card, and one of its streams."""

    def __init__(self, ordinal: int = 0, stream: Any = None) -> None:
        from cuda.core import Device as Card

        try:
            self._card = Card(ordinal)
            self._card.set_current()
        except Exception as error:
            raise RuntimeError(
                f"backend 'cuda' needs an NVIDIA GPU and its driver, and GPU {ordinal} cannot be "
                f"used: {error}"
            ) from error
        self.ordinal = ordinal
        card = self._card
        self._stream = card.default_stream if stream is None else card.create_stream(stream)
        self._kernels: dict[Kernel, Any] = {}
        self._lock = threading.Lock()

    @property
    def arch(self) -> str:
        """What kernels are compiled for."""
        major, minor = self._card.compute_capability
        return _OWN.get((major, minor), f"sm_{major}{minor}")

    def empty(self, size: int) -> Memory:
        return self._card.allocate(max(size, 1), stream=self._stream)

    def upload(self, array: np.ndarray[Any, Any]) -> Memory:
        memory = self.empty(array.nbytes)
        self._copy(int(memory.handle), array.ctypes.data, array.nbytes)
        # The copy reads the array, which may be gone before the stream comes to it.
        self._stream.sync()
        return memory

    def download(self, memory: Memory, array: np.ndarray[Any, Any]) -> None:
        self._copy(array.ctypes.data, int(memory.handle), array.nbytes)
        self._stream.sync()

    def _copy(self, target: int, source: int, size: int) -> None:
        from cuda.bindings import driver

        (status,) = driver.cuMemcpyAsync(target, source, size, int(self._stream.handle))
        if status != driver.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"copying {size} bytes failed: {status}")

    def launch(self, kernel: Kernel, grid: tuple[int, int, int], arguments: Given) -> None:
        from cuda.core import LaunchConfig, launch

        config = LaunchConfig(grid=grid, block=kernel.threads, shmem_size=kernel.block.shared_bytes)
        addresses = [0 if given is None else int(given[0].handle) + given[1] for given in arguments]
        launch(self._stream, config, self._loaded(kernel), *addresses)

    def _loaded(self, kernel: Kernel) -> Any:
        with self._lock:
            found = self._kernels.get(kernel)
            if found is None:
                from cuda.core import ObjectCode

                cubin = cubin_of(kernel, self.arch)
                found = ObjectCode.from_cubin(cubin.code).get_kernel(cubin.entry)
                self._allow_shared(found, kernel)
                self._kernels[kernel] = found
        return found

    def _allow_shared(self, loaded: Any, kernel: Kernel) -> None:
        """Let a kernel have more dynamic shared memory than every card grants unasked."""
        if kernel.block.shared_bytes <= _GRANTED_SHARED:
            return
        from cuda.bindings import driver

        what = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        size = kernel.block.shared_bytes
        (status,) = driver.cuKernelSetAttribute(what, size, loaded.handle, self.ordinal)
        if status != driver.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"{kernel.name} needs {size} bytes of shared memory: {status}")
