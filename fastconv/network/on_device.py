"""Running a planned network on a GPU: its launches are one CUDA graph, replayed at each call."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv import forks
from fastconv.arrays import Array
from fastconv.backends.cuda.engine.device import Device, Memory, device_for
from fastconv.backends.cuda.engine.plan import CudaPlan
from fastconv.device_arrays import DeviceArray
from fastconv.dispatch.on_device import device_of, given_back, made, memory_of, together
from fastconv.network.code import Code, LaunchPart, Place, PythonPart, write_code
from fastconv.network.planner import Planned

# Streams whose graphs are kept, the latest ones.
KEPT = 4


class DeviceExecutor:
    """Runs one planned program on GPUs.

    Each stream has a graph of its own, over memory of its own: inputs are copied there and outputs
    from there, on the GPU and in the stream's order. Many threads may share it.

    Raises
    ------
    ValueError
        For a program with an operation that only NumPy does.
    """

    def __init__(self, planned: Planned) -> None:
        self.planned = planned
        self.code = write_code(planned)
        for part in self.code.parts:
            if isinstance(part, PythonPart):
                raise ValueError(
                    f"the network cannot run on the GPU: {part.op.label} is done by NumPy"
                )
        launches = [p.launches for p in self.code.parts if isinstance(p, LaunchPart)]
        self._plan = CudaPlan([launch for several in launches for launch in several])
        values = planned.program.values
        self._inputs = [(tuple(values[v].shape), values[v].dtype) for v in planned.program.inputs]
        self._replays: collections.OrderedDict[tuple[int, int], _Replay] = collections.OrderedDict()
        self._lock = forks.lock()

    def run(self, inputs: Sequence[DeviceArray]) -> list[Any]:
        """Run forward on the caller's stream; results are of the first input's kind."""
        together(tuple(inputs))
        leader = inputs[0]
        device = device_of(leader, tuple(inputs))
        results = [made(leader.kind, *spec, device) for spec in self.code.outputs]
        with self._lock:
            given = [(memory_of(value, device), value.nbytes) for value in inputs]
            outputs = self._replay(device).run(device, given)
            for result, output in zip(results, outputs, strict=True):
                device.copy(memory_of(result, device), output, result.nbytes)
        return [given_back(result) for result in results]

    def run_arrays(self, inputs: Sequence[Array]) -> list[Array]:
        """Run forward on arrays in main memory: they are copied to the GPU, and results back."""
        device = device_for()
        results = [np.empty(shape, dtype) for shape, dtype in self.code.outputs]
        with self._lock:
            given = [(device.upload(value), value.nbytes) for value in inputs]
            outputs = self._replay(device).run(device, given)
            for result, output in zip(results, outputs, strict=True):
                device.download(output, result)
        return results

    def _replay(self, device: Device) -> _Replay:
        key = device.ordinal, device.stream
        found = self._replays.pop(key, None)
        if found is None:
            found = _Replay(self.code, self._plan, self._inputs, device)
        self._replays[key] = found
        while len(self._replays) > KEPT:
            self._replays.popitem(last=False)
        return found


class _Replay:
    """A graph, and the memory of its inputs, outputs and arena."""

    def __init__(self, code: Code, plan: CudaPlan, inputs: Sequence[Any], device: Device) -> None:
        self._buffers = [
            device.empty(prod(shape) * dtype.itemsize) for shape, dtype in (*inputs, *code.outputs)
        ]
        self._outputs = self._buffers[len(inputs) :]
        # The arena is counted from the end, before what native programs have for their workers.
        self._buffers += [device.empty(code.memory.size), None]
        for number, value in code.copies.items():
            if isinstance(value, Place):
                memory = self._buffers[value.slot.buffer]
                self._outputs[number] = device.part(memory, value.slot.offset)
            else:
                self._outputs[number] = device.upload(np.ascontiguousarray(value))
        self._graph = device.capture(plan.bound(device, self._buffers))

    def run(self, device: Device, inputs: Sequence[tuple[Memory, int]]) -> Sequence[Memory]:
        """Run on copies of the inputs; give where the outputs are until the next run."""
        for target, (source, size) in zip(self._buffers, inputs, strict=False):
            device.copy(target, source, size)
        self._graph.replay(device)
        return self._outputs
