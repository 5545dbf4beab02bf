"""Running code: one native call where nothing of Python's stands in between."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fastconv import settings
from fastconv.arrays import Array
from fastconv.backends.native.addresses import address_of
from fastconv.backends.native.arena import aligned, take_address
from fastconv.backends.native.driver import Program as NativeProgram
from fastconv.backends.native.driver import drive
from fastconv.backends.native.outputs import empty
from fastconv.backends.native.plan import SERIAL_SECONDS, scratch_stride
from fastconv.network.planner import Code, NativePart, Place, PythonPart
from fastconv.network.program import Op


class Span(NamedTuple):
    """An operation of one run: when it began and ended, by ``time.perf_counter``."""

    op: Op
    begin: float
    end: float


class Executor:
    """Runs one program's code. It keeps nothing from run to run, so many threads may share it.

    ``most`` bytes of memory limit how many workers a run has.
    """

    def __init__(self, code: Code, most: int | None = None) -> None:
        self.code = code
        self._arena = code.memory.size
        self._scratch = scratch_stride(code.scratch_bytes)
        self._most_threads = None if most is None else (most - self._arena) // max(1, self._scratch)
        if code.seconds < SERIAL_SECONDS:
            self._most_threads = 1
        only = code.parts[0] if len(code.parts) == 1 and not code.copies else None
        self._only = only.program if isinstance(only, NativePart) else None

    @property
    def threads(self) -> int:
        """How many threads a run takes: as many as have memory, one where it is over too soon."""
        most = self._most_threads
        if most == 1:
            return 1
        threads = settings.get_num_threads()
        return threads if most is None else max(1, min(threads, most))

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run forward on contiguous, aligned arrays of the right shapes and dtypes."""
        if self._only is None:
            return self._run_parts(inputs, None)
        threads = self.threads
        outputs = [empty(shape, dtype) for shape, dtype in self.code.outputs]
        # The memory is held by its name until the run is over.
        _memory, start = take_address(self._arena + self._scratch * threads)
        drive(
            self._only,
            [*map(address_of, inputs), *map(address_of, outputs), start, start + self._arena],
            threads,
        )
        return outputs

    def run_timed(self, inputs: Sequence[Array]) -> list[Span]:
        """Run operation by operation; tell when each began and ended."""
        times: list[Span] = []
        self._run_parts(inputs, times)
        return times

    def _run_parts(self, inputs: Sequence[Array], times: list[Span] | None) -> list[Array]:
        threads = self.threads
        outputs = [empty(shape, dtype) for shape, dtype in self.code.outputs]
        # Python parts may come back to fastconv, which may take this thread's own memory.
        memory = aligned(self._arena + self._scratch * threads)
        start, arrays = address_of(memory), [*inputs, *outputs]
        addresses = [*map(address_of, arrays), start, start + self._arena]
        for part in self.code.parts:
            if isinstance(part, PythonPart):
                begin = time.perf_counter()
                _run_python(part, arrays, memory)
                if times is not None:
                    times.append(Span(part.op, begin, time.perf_counter()))
            elif times is None:
                drive(part.program, addresses, threads)
            else:
                times += _drive_timed(part, addresses, threads)
        for number, given in self.code.copies.items():
            value = _at(given, arrays, memory) if isinstance(given, Place) else given
            outputs[number][...] = value
        return outputs


def _drive_timed(part: NativePart, addresses: list[int], threads: int) -> Iterator[Span]:
    whole = part.program
    for op, first, last in part.spans:
        program = NativeProgram(whole.stages[first:last], whole.block, whole.places)
        begin = time.perf_counter()
        drive(program, addresses, threads)
        yield Span(op, begin, time.perf_counter())


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
