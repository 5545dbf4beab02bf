"""Running code: one native call where nothing of Python's stands in between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv import settings
from fastconv.arrays import Array
from fastconv.backends.native.addresses import address_of
from fastconv.backends.native.arena import aligned, take
from fastconv.backends.native.driver import drive
from fastconv.backends.native.outputs import empty
from fastconv.backends.native.plan import SERIAL_SECONDS, scratch_stride
from fastconv.network.planner import Code, NativePart, Place, PythonPart


class Executor:
    """Runs one program's code. It keeps nothing from run to run, so many threads may share it."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self._arena = code.memory.size
        self._scratch = scratch_stride(code.scratch_bytes)
        self._serial = code.seconds < SERIAL_SECONDS
        only = code.parts[0] if len(code.parts) == 1 and not code.copies else None
        self._only = only.program if isinstance(only, NativePart) else None

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run forward on contiguous, aligned arrays of the right shapes and dtypes."""
        threads = 1 if self._serial else settings.get_num_threads()
        outputs = [empty(shape, dtype) for shape, dtype in self.code.outputs]
        size = self._arena + self._scratch * threads
        # Python parts may come back to fastconv, which may take this thread's own memory.
        memory = aligned(size) if self._only is None else take(size)
        start = address_of(memory)
        buffers = [address_of(array) for array in (*inputs, *outputs)]
        addresses = np.array([*buffers, start, start + self._arena], np.int64)
        if self._only is not None:
            drive(self._only, addresses, threads)
        else:
            self._run_parts([*inputs, *outputs], memory, addresses, threads)
        return outputs

    def _run_parts(
        self, arrays: list[Array], memory: Array, addresses: Array, threads: int
    ) -> None:
        for part in self.code.parts:
            if isinstance(part, NativePart):
                drive(part.program, addresses, threads)
            else:
                _run_python(part, arrays, memory)
        first = len(arrays) - len(self.code.outputs)
        for number, given in self.code.copies.items():
            value = _at(given, arrays, memory) if isinstance(given, Place) else given
            arrays[first + number][...] = value


def _run_python(part: PythonPart, arrays: list[Array], memory: Array) -> None:
    """Run an operation in Python; its results are copied to their places."""
    given = [_at(v, arrays, memory) if isinstance(v, Place) else v for v in part.inputs]
    results = part.run(*given)
    several = results if isinstance(results, (tuple, list)) else (results,)
    for place, result in zip(part.outputs, several, strict=True):
        _at(place, arrays, memory)[...] = result


def _at(place: Place, arrays: list[Array], memory: Array) -> Array:
    slot = place.slot
    buffer = memory if slot.buffer < 0 else arrays[slot.buffer].reshape(-1).view(np.uint8)
    return np.ndarray(place.shape, place.dtype, buffer=buffer, offset=slot.offset)
