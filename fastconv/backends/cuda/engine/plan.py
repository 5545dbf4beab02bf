"""CUDA plans: launches of kernels over buffers that are known when they run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv.backends.cuda.engine.device import Device, Memory, Run
from fastconv.backends.cuda.engine.kernel import Kernel
from fastconv.backends.cuda.engine.tensormap import Spec
from fastconv.backends.native.plan import OUTPUT, WORKSPACE, Constant, Slot


@dataclasses.dataclass(frozen=True)
class TensorMap:
    """A tensor map of what is at a slot or in a constant: it is made for the address there."""

    source: Slot | Constant
    spec: Spec


# What a launch's arguments begin at: a buffer's bytes, a constant's, or a tensor map's.
Argument = Slot | Constant | TensorMap | None


def source_of(argument: Argument) -> Slot | Constant | None:
    """Return what an argument begins at, or what its tensor map is of."""
    return argument.source if isinstance(argument, TensorMap) else argument


def with_source(argument: Argument, source: Slot | Constant) -> Argument:
    """Return an argument that is of another source."""
    return TensorMap(source, argument.spec) if isinstance(argument, TensorMap) else source


Buffer = Memory | None


@dataclasses.dataclass(frozen=True)
class Launch:
    """One kernel over a grid of blocks. Arguments are addresses, in the kernel's order."""

    kernel: Kernel
    grid: tuple[int, int, int]
    arguments: Sequence[Argument]


class CudaPlan:
    """Launches one after the other on a stream, each of which sees what those before it wrote.

    Buffers are numbered as in native plans: the inputs first, then outputs beyond the first;
    OUTPUT and WORKSPACE are counted from the end.

    Parameters
    ----------
    launches
        In order.
    workspace_bytes
        Memory at the slot WORKSPACE.
    """

    def __init__(self, launches: Sequence[Launch], *, workspace_bytes: int = 0) -> None:
        self.launches, self.workspace_bytes = tuple(launches), workspace_bytes
        self._constants: dict[int, dict[int, Memory]] = {}

    def enqueue(
        self,
        device: Device,
        inputs: Sequence[Buffer],
        output: Buffer,
        more_outputs: Sequence[Buffer] = (),
    ) -> None:
        """Put the launches on the device's stream; nothing waits for them."""
        workspace = device.empty(self.workspace_bytes) if self.workspace_bytes else None
        for run in self.bound(device, [*inputs, *more_outputs, output, workspace, None]):
            device.launch(*run)

    def bound(self, device: Device, buffers: Sequence[Buffer]) -> list[Run]:
        """Return the launches with the memory that their slots stand for."""
        constants = self._on(device)

        def given(argument: Argument) -> tuple[Memory, int] | None:
            if isinstance(argument, Slot):
                memory = buffers[argument.buffer]
                return None if memory is None else (memory, argument.offset)
            if isinstance(argument, Constant):
                return constants[id(argument.array)], 0
            if isinstance(argument, TensorMap):
                found = given(argument.source)
                return found and (device.tensor_map(argument.spec, *found), 0)
            return None

        return [(each.kernel, each.grid, [*map(given, each.arguments)]) for each in self.launches]

    def _on(self, device: Device) -> dict[int, Memory]:
        """Return the constants as they are stored on a device: brought there once."""
        found = self._constants.get(device.ordinal)
        if found is None:
            sources = (source_of(a) for launch in self.launches for a in launch.arguments)
            arrays: dict[int, Any] = {
                id(a.array): a.array for a in sources if isinstance(a, Constant)
            }
            found = {key: device.upload(np.asarray(array)) for key, array in arrays.items()}
            self._constants[device.ordinal] = found
        return found


__all__ = [
    "OUTPUT",
    "WORKSPACE",
    "Argument",
    "CudaPlan",
    "Launch",
    "TensorMap",
    "source_of",
    "with_source",
]
