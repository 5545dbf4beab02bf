"""Native plans: stages whose argument blocks are filled with addresses at each run."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastconv import settings
from fastconv.backends.base import Array, Plan
from fastconv.backends.native.addresses import address_of
from fastconv.backends.native.arena import ALIGNMENT, aligned, take_address
from fastconv.backends.native.driver import Program, drive
from fastconv.backends.native.outputs import empty
from fastconv.backends.native.shared import shared
from fastconv.problem.record import record

# Below this many seconds of predicted work, sharing it out costs more than it saves.
SERIAL_SECONDS = 30e-6


@record(frozen=True)
class Slot:
    """An address that is known only when the plan runs: a buffer's, and bytes from its start."""

    buffer: int
    offset: int = 0

    def __add__(self, offset: int) -> Slot:
        return Slot(self.buffer, self.offset + offset)


# Buffers: the inputs come first (a missing one's address is 0), then these, counted from the end.
OUTPUT = Slot(-3)
WORKSPACE = Slot(-2)
SCRATCH = Slot(-1)


def INPUT(number: int) -> Slot:
    """Give the slot of the plan's input ``number``."""
    return Slot(number)


@record(frozen=True)
class Constant:
    """An array that belongs to the plan; its address stands in the block, itself in the plan."""

    array: Array


def constant(array: Any, dtype: Any = None) -> Constant:
    """Give an array to a plan: weights packed, tables of offsets. 64-byte aligned."""
    given = np.asarray(array, dtype=dtype)
    kept = aligned(given.nbytes).view(given.dtype).reshape(given.shape)
    kept[...] = given
    return Constant(shared(kept))


def owned(array: Array) -> Constant:
    """Give an array to a plan that `aligned_zeros` made for it: it is not copied."""
    return Constant(shared(array))


@record(frozen=True)
class Stage:
    """One kernel over its work items. Arguments are ints, Slots and Constants, in its order."""

    kernel: int
    items: int
    arguments: Sequence[int | Slot | Constant]


class NativePlan(Plan):
    """Stages run one after the other by one native call.

    Parameters
    ----------
    problem
        Gives the output's shape and dtype and the predicted work.
    stages
        In order; each sees all that those before it wrote.
    workspace_bytes
        Shared scratch memory, at the slot WORKSPACE.
    scratch_bytes
        Scratch memory a worker. Worker w's starts at SCRATCH + w * scratch_bytes (rounded up to
        64): a kernel that uses it takes both as arguments; see ``scratch_stride``.
    seconds
        Predicted time on one thread: small plans stay on one.
    extra_outputs
        Shapes and dtypes of outputs after the first; their slots follow the inputs'.
    """

    def __init__(
        self,
        problem: Any,
        stages: Sequence[Stage],
        *,
        workspace_bytes: int = 0,
        scratch_bytes: int = 0,
        seconds: float,
        extra_outputs: Sequence[tuple[tuple[int, ...], Any]] = (),
    ) -> None:
        self.stages = tuple(stages)
        self.workspace_bytes, self.scratch_bytes = workspace_bytes, scratch_bytes
        self._shape, self._dtype = problem.output_shape, problem.output_dtype
        self._extra = tuple(extra_outputs)
        self._scratch = scratch_stride(scratch_bytes)
        self._shared = -(-workspace_bytes // ALIGNMENT) * ALIGNMENT
        self.seconds, self._serial = seconds, seconds < SERIAL_SECONDS
        # No stage is known apart; each is cut as if it took all the time.
        self._program, self._constants = pack_program(stages, [seconds] * len(self.stages))

    @property
    def is_staged(self) -> bool:
        return type(self).run is NativePlan.run

    def run(self, *inputs: Array | None, out: Array | None = None) -> Any:
        threads = 1 if self._serial else settings.get_num_threads()
        if threads > 1 and (limit := settings.workspace_limit()) is not None:
            most = (limit - self._shared) // max(1, self._scratch)
            threads = max(1, min(threads, most))
        given = out is not None
        if out is None:
            out = empty(self._shape, self._dtype)
        extra = [np.empty(shape, dtype) for shape, dtype in self._extra]
        # The memory is held by its name until the run is over.
        _memory, start = take_address(self._shared + self._scratch * threads)
        buffers = [*map(address_of, (*inputs, *extra, out)), start, start + self._shared]
        # What a caller gave is never left half-written.
        drive(self._program, buffers, threads, whole=given)
        return (out, *extra) if extra else out


def pack_program(
    stages: Sequence[Stage], times: Sequence[float] = ()
) -> tuple[Program, list[Array]]:
    """Give stages as the driver reads them, and the arrays whose addresses stand in them."""
    block: list[int] = []
    places: list[tuple[int, int, int]] = []
    rows: list[tuple[int, int, int]] = []
    kept: list[Array] = []
    for stage in stages:
        rows.append((stage.kernel, 8 * len(block), stage.items))
        for argument in stage.arguments:
            if isinstance(argument, Slot):
                places.append((len(block), argument.buffer, argument.offset))
                block.append(0)
            elif isinstance(argument, Constant):
                kept.append(argument.array)
                block.append(argument.array.ctypes.data)
            else:
                block.append(int(argument))
    program = Program(
        np.array(rows, np.int64).reshape(-1, 3),
        np.array(block, np.int64),
        np.array(places, np.int64).reshape(-1, 3),
        times,
    )
    return program, kept


def moved(stages: Sequence[Stage], slots: Mapping[int, Slot]) -> list[Stage]:
    """Give stages whose buffers, where ``slots`` names them, lie elsewhere."""

    def move(argument: int | Slot | Constant) -> int | Slot | Constant:
        if isinstance(argument, Slot) and argument.buffer in slots:
            return slots[argument.buffer] + argument.offset
        return argument

    return [dataclasses.replace(s, arguments=[move(a) for a in s.arguments]) for s in stages]


def scratch_stride(scratch_bytes: int) -> int:
    """Bytes from one worker's scratch memory to the next one's."""
    return -(-scratch_bytes // ALIGNMENT) * ALIGNMENT


def float_bits(value: float) -> int:
    """Give the int64 with the bits of a float64: how a float travels in an argument block."""
    return int(struct.unpack("<q", struct.pack("<d", value))[0])
