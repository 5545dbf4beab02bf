"""A GPU by NVIDIA's driver. Nothing here is imported before an array or a caller asks for one."""

from __future__ import annotations

import dataclasses
import functools
import threading
from typing import Any

import numpy as np

from fastconv import settings
from fastconv.backends.cuda.engine.cache import cubin_of
from fastconv.backends.cuda.engine.device import Device, Given, Graph, Memory, Run
from fastconv.backends.cuda.engine.encode import encoded
from fastconv.backends.cuda.engine.kernel import Kernel
from fastconv.backends.cuda.engine.tensormap import Spec

# Architectures whose own instructions are asked for by a letter.
_OWN = {(9, 0): "sm_90a"}
# Shared memory that a block has without asking.
_GRANTED_SHARED = 48 << 10
# Tensor maps that a GPU keeps, of 128 bytes each.
_MOST_MAPS = 1024


def device(ordinal: int = 0, stream: int | None = None) -> CudaDevice:
    """Return a GPU, and the stream of a handle; None: the default stream.

    Raises
    ------
    ValueError
        If the GPU or its driver does not exist.
    """
    return CudaDevice(_card(ordinal), stream)


@functools.cache
def _card(ordinal: int) -> _Card:
    from cuda.core import Device as Handle

    try:
        handle = Handle(ordinal)
        handle.set_current()
    except Exception as error:
        raise ValueError(
            f"backend 'cuda' needs an NVIDIA GPU and its driver, and GPU {ordinal} cannot be "
            f"used: {error}"
        ) from error
    return _Card(ordinal, handle)


class _Card:
    """What all streams of a GPU share: its kernels, loaded once, and tensor maps."""

    def __init__(self, ordinal: int, handle: Any) -> None:
        self.ordinal, self.handle = ordinal, handle
        major, minor = handle.compute_capability
        self.arch = settings.cuda_arch() or _OWN.get((major, minor), f"sm_{major}{minor}")
        self._kernels: dict[Kernel, Any] = {}
        self._maps: dict[tuple[Spec, int], Memory] = {}
        self._own_stream: Any = None
        self._lock = threading.Lock()

    def loaded(self, kernel: Kernel) -> Any:
        """Return a kernel as it is stored on the GPU."""
        with self._lock:
            found = self._kernels.get(kernel)
            if found is None:
                from cuda.core import ObjectCode

                cubin = cubin_of(kernel, self.arch)
                found = ObjectCode.from_cubin(cubin.code).get_kernel(cubin.entry)
                self._allow_shared(found, kernel)
                self._kernels[kernel] = found
        return found

    def tensor_map(self, spec: Spec, address: int) -> Memory:
        """Return the map of the data at an address; encode and upload it the first time."""
        with self._lock:
            found = self._maps.get((spec, address))
            if found is None:
                if len(self._maps) >= _MOST_MAPS:
                    # Launches on any stream may still read them; graphs keep their own.
                    self.handle.sync()
                    self._maps.clear()
                found = self._uploader().upload(encoded(spec, address))
                self._maps[spec, address] = found
        return found

    def _uploader(self) -> CudaDevice:
        """Return a private stream of the GPU: waiting for it waits for no other work."""
        if self._own_stream is None:
            self._own_stream = self.handle.create_stream()
        return CudaDevice(self, int(self._own_stream.handle))

    def _allow_shared(self, loaded: Any, kernel: Kernel) -> None:
        """Let a kernel have more dynamic shared memory than every GPU grants unasked."""
        size = kernel.block.shared_bytes
        if size <= _GRANTED_SHARED:
            return
        from cuda.bindings import driver

        what = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        (status,) = driver.cuKernelSetAttribute(what, size, loaded.handle, self.ordinal)
        if status != driver.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"{kernel.name} needs {size} bytes of shared memory: {status}")


@dataclasses.dataclass(frozen=True)
class _Adopted:
    """Memory that another library keeps."""

    handle: int
    owner: Any


class CudaDevice(Device):
    """A GPU, and one of its streams."""

    def __init__(self, card: _Card, stream: int | None) -> None:
        from cuda.core import Stream

        # Each thread has a current GPU of its own.
        card.handle.set_current()
        self._card, self.ordinal, self.arch = card, card.ordinal, card.arch
        if stream:
            self._stream = Stream.from_handle(stream)
        else:
            self._stream = card.handle.default_stream

    @property
    def stream(self) -> int:
        return int(self._stream.handle)

    def empty(self, size: int) -> Memory:
        try:
            return self._card.handle.allocate(max(size, 1), stream=self._stream)
        except Exception as error:
            if "OUT_OF_MEMORY" not in str(error):
                raise
            raise MemoryError(f"GPU {self.ordinal} has no {size:,} bytes left") from error

    def adopt(self, pointer: int, size: int, owner: Any) -> Memory:
        return _Adopted(pointer, owner)

    def address(self, memory: Memory) -> int:
        return int(memory.handle)

    def upload(self, array: np.ndarray[Any, Any]) -> Memory:
        memory = self.empty(array.nbytes)
        self._copy(int(memory.handle), array.ctypes.data, array.nbytes)
        # The copy reads the array, which may be gone before the stream comes to it.
        self._stream.sync()
        return memory

    def download(self, memory: Memory, array: np.ndarray[Any, Any]) -> None:
        self._copy(array.ctypes.data, int(memory.handle), array.nbytes)
        self._stream.sync()

    def part(self, memory: Memory, start: int) -> Memory:
        return _Adopted(int(memory.handle) + start, memory)

    def copy(self, target: Memory, source: Memory, size: int) -> None:
        self._copy(int(target.handle), int(source.handle), size)

    def _copy(self, target: int, source: int, size: int) -> None:
        from cuda.bindings import driver

        if size == 0:
            return
        (status,) = driver.cuMemcpyAsync(target, source, size, int(self._stream.handle))
        if status != driver.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"copying {size} bytes failed: {status}")

    def tensor_map(self, spec: Spec, memory: Memory, offset: int) -> Memory:
        return self._card.tensor_map(spec, int(memory.handle) + offset)

    def wait_for(self, stream: int) -> None:
        from cuda.core import Stream

        if stream != self.stream:
            self._stream.wait(Stream.from_handle(stream))

    def launch(self, kernel: Kernel, grid: tuple[int, int, int], arguments: Given) -> None:
        self._launch_on(self._stream, kernel, grid, arguments)

    def _launch_on(
        self, target: Any, kernel: Kernel, grid: tuple[int, int, int], arguments: Given
    ) -> None:
        from cuda.core import LaunchConfig, launch

        config = LaunchConfig(grid=grid, block=kernel.threads, shmem_size=kernel.block.shared_bytes)
        addresses = [0 if given is None else int(given[0].handle) + given[1] for given in arguments]
        launch(target, config, self._card.loaded(kernel), *addresses)

    def capture(self, runs: list[Run]) -> Graph:
        # What loading asks of the driver is not part of a graph.
        for kernel, _, _ in runs:
            self._card.loaded(kernel)
        # Captured on a stream of its own: the default stream cannot be.
        builder = self._card.handle.create_stream().create_graph_builder().begin_building()
        for kernel, grid, arguments in runs:
            self._launch_on(builder, kernel, grid, arguments)
        whole = builder.end_building().complete()
        # Memory that the graph's addresses stand for lives as long as it does.
        kept = [arguments for _, _, arguments in runs]
        return _CapturedGraph(whole, kept)


class _CapturedGraph(Graph):
    def __init__(self, graph: Any, kept: Any) -> None:
        self._graph, self._kept = graph, kept

    def replay(self, device: Device) -> None:
        assert isinstance(device, CudaDevice)
        self._graph.launch(device._stream)
