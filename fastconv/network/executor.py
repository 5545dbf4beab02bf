"""Running code: one native call where no Python code runs in between."""

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
from fastconv.network.code import Code, NativePart, Place, PythonPart, piece_count, write_code
from fastconv.network.planner import Planned
from fastconv.network.program import Images, Op


class Span(NamedTuple):
    """An operation of one run: when it began and ended, by ``time.perf_counter``."""

    op: Op
    begin: float
    end: float


class Executor:
    """Runs one planned program. It keeps nothing from run to run, so many threads may share it.

    ``most`` bytes of memory limit how many workers a run has.
    """

    def __init__(self, planned: Planned, most: int | None = None) -> None:
        self.planned = planned
        self.code = write_code(planned)
        self._pieces = piece_count(planned.program)
        self._ready = {0: _Ready(self.code)}
        self._serial = planned.seconds < SERIAL_SECONDS
        self._most = most
        limit = settings.workspace_limit()
        self._most_threads = None if limit is None else planned.threads_within(limit)

    @property
    def threads(self) -> int:
        """How many threads a run takes: as many as have memory, one where it is over too soon."""
        if self._serial:
            return 1
        threads = settings.get_num_threads()
        if self._most_threads is not None:
            threads = min(threads, self._most_threads)
        if self._most is None:
            return threads
        while threads > 1 and self._ready_for(threads).needs(threads) > self._most:
            threads -= 1
        return threads

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run forward on contiguous, aligned arrays of the right shapes and dtypes."""
        threads = self.threads
        ready = self._ready_for(threads)
        if ready.only is None:
            return _run_parts(ready, inputs, threads, None)
        outputs = [empty(shape, dtype) for shape, dtype in ready.outputs]
        # The memory is held by its name until the run is over.
        _memory, start = take_address(ready.needs(threads))
        drive(
            ready.only,
            [*map(address_of, inputs), *map(address_of, outputs), start, start + ready.arena],
            threads,
        )
        return outputs

    def run_spans(self, inputs: Sequence[Array]) -> tuple[list[Array], list[Span]]:
        """Run operation by operation; return the outputs, and when each began and ended.

        One that is done for some images at a time has a span each time.
        """
        times: list[Span] = []
        outputs = _run_parts(self._ready_with(self._pieces), inputs, self.threads, times)
        return outputs, times

    def run_timed(self, inputs: Sequence[Array]) -> list[Span]:
        """Run operation by operation; tell how long each took, and when it began."""
        _, times = self.run_spans(inputs)
        whole: dict[Op, Span] = {}
        for span in times:
            first = whole.get(span.op, span._replace(end=span.begin))
            whole[span.op] = first._replace(end=first.end + span.end - span.begin)
        return list(whole.values())

    def copied(self, op: Op) -> float:
        """Return the part of an operation's cells that `run_timed` moves; 0: it runs no kernel."""
        return self._ready_with(self._pieces).code.copied.get(op, 1.0)

    def pieces(self, op: Op) -> int:
        """Count the pieces of the batch that an operation is done in, one after the other."""
        images = (whole for whole in self.planned.program.ops if isinstance(whole, Images))
        return self._pieces if any(op in whole.replaced for whole in images) else 1

    def _ready_for(self, threads: int) -> _Ready:
        """Return the code whose pieces keep so many threads busy.

        A thread takes whole pieces; where those of the last round would leave many without one,
        all threads do them together.
        """
        if threads == 1:
            return self._ready[0]
        rest = self._pieces % threads
        return self._ready_with(rest if rest < _BUSY * threads else 0)

    def _ready_with(self, together: int) -> _Ready:
        ready = self._ready.get(together)
        if ready is None:
            ready = self._ready[together] = _Ready(write_code(self.planned, together))
        return ready


# The part of threads that do something from which on each takes a piece.
_BUSY = 0.75


class _Ready:
    """Code, and what of it every run asks for."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.outputs = [(shape, np.dtype(dtype)) for shape, dtype in code.outputs]
        self.arena = code.memory.size
        self._scratch = scratch_stride(code.scratch_bytes)
        only = code.parts[0] if len(code.parts) == 1 and not code.copies else None
        self.only = only.program if isinstance(only, NativePart) else None

    def needs(self, threads: int) -> int:
        """Return the bytes of memory that a run takes."""
        return self.arena + self._scratch * threads


def _run_parts(
    ready: _Ready, inputs: Sequence[Array], threads: int, times: list[Span] | None
) -> list[Array]:
    outputs = [empty(shape, dtype) for shape, dtype in ready.outputs]
    # Python parts may come back to fastconv, which may take this thread's own memory.
    memory = aligned(ready.needs(threads))
    start, arrays = address_of(memory), [*inputs, *outputs]
    addresses = [*map(address_of, arrays), start, start + ready.arena]
    for part in ready.code.parts:
        if isinstance(part, PythonPart):
            begin = time.perf_counter()
            _run_python(part, arrays, memory)
            if times is not None:
                times.append(Span(part.op, begin, time.perf_counter()))
            continue
        assert isinstance(part, NativePart)
        if times is None:
            drive(part.program, addresses, threads)
        else:
            times += _drive_timed(part, addresses, threads)
    for number, given in ready.code.copies.items():
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
    """Run an operation in Python; results that it cannot write in their places are copied there."""
    given = [_at(v, arrays, memory) if isinstance(v, Place) else v for v in part.inputs]
    if part.into is not None:
        places = tuple(_at(place, arrays, memory) for place in part.outputs)
        part.into(places[0] if len(places) == 1 else places, *given)
        return
    results = part.run(*given)
    several = results if isinstance(results, (tuple, list)) else (results,)
    for place, result in zip(part.outputs, several, strict=True):
        _at(place, arrays, memory)[...] = result


def _at(place: Place, arrays: list[Array], memory: Array) -> Array:
    slot = place.slot
    buffer = memory if slot.buffer < 0 else arrays[slot.buffer].reshape(-1).view(np.uint8)
    return np.ndarray(place.shape, place.dtype, buffer=buffer, offset=slot.offset)
