"""Programs kept a shape: traced, rewritten and planned when a shape is first met."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import forks, settings
from fastconv.arrays import ready
from fastconv.device_arrays import DeviceArray
from fastconv.dispatch import tuning
from fastconv.network.code import NativePart
from fastconv.network.executor import Executor
from fastconv.network.limits import allow, memory_limit
from fastconv.network.lowering import lower
from fastconv.network.passes import PassReport, run_passes
from fastconv.network.planner import plan_program
from fastconv.network.program import Program
from fastconv.network.report import Footprint
from fastconv.network.trace import Trace, trace
from fastconv.problem import Shape

if TYPE_CHECKING:
    from fastconv.network.on_device import DeviceExecutor

# How many shapes are kept, the latest ones.
KEPT = 16


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A network for given input shapes: its program after all passes, and what runs it.

    The program has no parameters any more; ``again`` makes it once more, with them.
    """

    trace: Trace
    program: Program
    passes: tuple[PassReport, ...]
    executor: Executor
    again: Callable[[], Program]

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arena and of one worker's scratch memory."""
        return self.footprint.arena_bytes + self.footprint.scratch_bytes

    @property
    def live_bytes(self) -> int:
        """The most bytes that live at one time in the arena: its least size."""
        return self.footprint.live_bytes

    @property
    def calls(self) -> int:
        """Native and Python calls of a forward pass."""
        return self.footprint.native_calls + self.footprint.python_calls

    @property
    def footprint(self) -> Footprint:
        """What a forward pass takes besides weights, inputs and outputs."""
        code = self.executor.code
        native = sum(isinstance(part, NativePart) for part in code.parts)
        return Footprint(
            code.memory.size, code.memory.live, code.scratch_bytes, native, len(code.parts) - native
        )


class Shapes:
    """The programs of one function, by the shapes and dtypes of its inputs.

    A function that cannot be traced (it looks at data) has none; it is run as it is.
    """

    def __init__(self, function: Callable[..., Any], max_memory: int | None = None) -> None:
        self._function = function
        self._max_memory = max_memory
        self._kept: collections.OrderedDict[Any, Compiled | None] = collections.OrderedDict()
        self._on_devices: collections.OrderedDict[Any, DeviceExecutor | None]
        self._on_devices = collections.OrderedDict()
        self._lock = forks.reentrant_lock()
        self._generation = tuning.generation()

    def known(self, inputs: tuple[Any, ...]) -> Executor | None:
        """Give what runs plain, contiguous arrays of shapes that were met before; else None."""
        if self._generation != tuning.generation():
            return None
        key: tuple[Any, ...] = ()
        for value in inputs:
            if type(value) is not np.ndarray or not value.flags.carray:
                return None
            key += (value.shape, value.dtype)
        found = self._kept.get(key)
        return None if found is None else found.executor

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """Run forward; give all outputs."""
        on_device = any(isinstance(value, DeviceArray) for value in inputs)
        if on_device or settings.backend() == "cuda":
            return self._run_on_device(inputs, on_device)
        known = all(isinstance(value, np.ndarray) for value in inputs)
        found = self.compiled([(v.shape, v.dtype) for v in inputs]) if known else None
        if found is None:
            return self._run_as_written(inputs)
        return found.executor.run([ready(value) for value in inputs])

    def _run_as_written(self, inputs: Sequence[Any]) -> list[Any]:
        results = self._function(*inputs)
        return list(results) if isinstance(results, (tuple, list)) else [results]

    def _run_on_device(self, inputs: Sequence[Any], on_device: bool) -> list[Any]:
        """Run forward on a GPU: on its arrays, or on arrays in main memory that are copied."""
        with settings.on_backend("cuda"):
            if not on_device and not all(isinstance(value, np.ndarray) for value in inputs):
                return self._run_as_written(inputs)
            found = self._for_device([(v.shape, v.dtype) for v in inputs])
            if found is None:
                return self._run_as_written(inputs)
            return found.run(inputs) if on_device else found.run_arrays(list(map(ready, inputs)))

    def _for_device(self, specs: Sequence[tuple[Shape, Any]]) -> DeviceExecutor | None:
        """Give what runs on GPUs for shapes and dtypes, made now if it is not kept."""
        key = tuple(part for shape, dtype in specs for part in (tuple(shape), np.dtype(dtype)))
        with self._lock:
            if key not in self._on_devices:
                self._on_devices[key] = self._made_for_device(specs)
                while len(self._on_devices) > KEPT:
                    self._on_devices.popitem(last=False)
            return self._on_devices[key]

    def _made_for_device(self, specs: Sequence[tuple[Shape, Any]]) -> DeviceExecutor | None:
        traced = self._lowered(specs)
        if traced is None:
            return None
        from fastconv.network.on_device import DeviceExecutor

        program, _ = run_passes(traced[1], traced[1], on_device=True)
        return DeviceExecutor(plan_program(program))

    def compiled(self, specs: Sequence[tuple[Shape, Any]]) -> Compiled | None:
        """Give the program for shapes and dtypes, made now if it is not kept."""
        if not specs:
            # What hangs on no input may hang on chance.
            return None
        key = tuple(part for shape, dtype in specs for part in (tuple(shape), np.dtype(dtype)))
        with self._lock:
            if self._generation != tuning.generation():
                self._kept.clear()
                self._generation = tuning.generation()
            if key not in self._kept:
                self._kept[key] = self._compile(specs)
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            return self._kept[key]

    def _compile(self, specs: Sequence[tuple[Shape, Any]]) -> Compiled | None:
        found = self._lowered(specs)
        if found is None:
            return None
        traced, lowered = found
        with memory_limit(self._max_memory):
            for spec in lowered.values.values():
                allow(spec.shape, spec.dtype)
        passed = functools.partial(self._passed, lowered, specs)
        program, reports = passed()
        executor = self._planned(program)
        return Compiled(traced, executor.planned.program, reports, executor, lambda: passed()[0])

    def _lowered(self, specs: Sequence[tuple[Shape, Any]]) -> tuple[Trace, Program] | None:
        """Trace and lower; None: it cannot be, or has nothing to do."""
        try:
            traced = trace(self._function, specs)
            if not all(hasattr(value, "shape") for value in traced.outputs):
                return None
            lowered = lower(traced)
        except MemoryError:
            # That says nothing of the function; without its program it would compute other bits.
            raise
        except Exception:
            # It looks at data, or the input is not right: running it will tell.
            return None
        if any(0 in spec.shape or spec.dtype.hasobject for spec in lowered.values.values()):
            return None
        return traced, lowered

    def _passed(
        self, lowered: Program, specs: Sequence[tuple[Shape, Any]]
    ) -> tuple[Program, tuple[PassReport, ...]]:
        return run_passes(lowered, self._of_one_image(specs) or lowered)

    def _of_one_image(self, specs: Sequence[tuple[Shape, Any]]) -> Program | None:
        """Give the program of a batch of one, where the inputs share a first dimension."""
        batches = {shape[0] if shape else 0 for shape, _ in specs}
        if len(batches) != 1 or batches <= {0, 1}:
            return None
        try:
            program = lower(trace(self._function, [((1, *shape[1:]), d) for shape, d in specs]))
        except MemoryError:
            raise
        except Exception:
            return None
        # What leaves images out may leave none.
        return None if any(0 in spec.shape for spec in program.values.values()) else program

    def _planned(self, program: Program) -> Executor:
        """Plan within ``max_memory``, with leaner algorithms where it needs them.

        Raises
        ------
        ValueError
            Where even the leanest need more.
        """
        limit: int | None = None
        most = settings.memory_allowed() if self._max_memory is None else self._max_memory
        while True:
            with settings.workspace_at_most(limit):
                executor = Executor(plan_program(program), most)
            # One thread's: what more there is decides how many run, and so changes no bits.
            code = executor.code
            needed = code.memory.size + code.scratch_bytes
            if needed <= most:
                return executor
            plans = executor.planned.all_plans()
            largest = max((p.workspace_bytes + p.scratch_bytes for p in plans), default=0)
            if largest == 0 or (limit is not None and largest > limit):
                raise ValueError(
                    f"the network needs {needed:,} bytes besides its weights, and max_memory is "
                    f"{most:,}; allow more, or take a smaller batch or image"
                )
            limit = largest // 2

    def __reduce__(self) -> Any:
        return Shapes, (self._function, self._max_memory)
