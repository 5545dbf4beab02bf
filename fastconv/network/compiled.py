"""Programs kept a shape: traced, rewritten and planned when a shape is first met."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import forks, settings
from fastconv.arrays import ready
from fastconv.device_arrays import DeviceArray
from fastconv.dispatch import tuning
from fastconv.network.code import NativePart
from fastconv.network.deciding import decided, deciding_inputs
from fastconv.network.executor import Executor
from fastconv.network.graph import Port
from fastconv.network.kept import KeptPrograms
from fastconv.network.limits import allow, memory_limit
from fastconv.network.lowering import lower
from fastconv.network.passes import PassReport, rewrites, run_passes
from fastconv.network.planner import plan_program
from fastconv.network.program import Program
from fastconv.network.report import Footprint
from fastconv.network.trace import trace
from fastconv.network.turns import OpenSizes, Turns
from fastconv.problem import Shape
from fastconv.problem.values import shown

if TYPE_CHECKING:
    from fastconv.network.on_device import DeviceExecutor

# How many shapes are kept on GPUs, the latest ones.
KEPT = 16
# For how many values of the inputs that decide branches programs are kept.
DECIDED = 8


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A network for given input shapes: its program after all passes, and what runs it.

    The program has no parameters any more; ``again`` makes it once more, with them.
    """

    program: Program
    passes: tuple[PassReport, ...]
    executor: Executor
    again: Callable[[], Program]

    def arrays(self) -> list[np.ndarray[Any, Any]]:
        """Return the memory that it keeps: tables, argument blocks, packed parameters."""
        code = self.executor.code
        blocks = [
            array
            for part in code.parts
            if isinstance(part, NativePart)
            for array in (part.program.block, part.program.stages, part.program.places)
        ]
        held = (plan.arrays() for plan in self.executor.planned.all_plans())
        return [*blocks, *(array for several in held for array in several)]

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

    def __init__(
        self,
        function: Callable[..., Any],
        max_memory: int | None = None,
        open_sizes: OpenSizes = (),
    ) -> None:
        self.function = function
        self._max_memory = max_memory
        self._open_sizes = open_sizes
        self._kept = KeptPrograms()
        self._rewrites = rewrites()
        self._turns = Turns(self._rewrites, self._lower, open_sizes)
        # The places of the inputs that decide branches.
        self.places = deciding_inputs(function)
        self._decided: collections.OrderedDict[Any, Shapes] = collections.OrderedDict()
        self._on_devices: collections.OrderedDict[Any, DeviceExecutor | None]
        self._on_devices = collections.OrderedDict()
        self._lock = forks.reentrant_lock()
        self._generation = tuning.generation()

    def known(self, inputs: tuple[Any, ...]) -> Executor | None:
        """Return what runs plain, contiguous arrays of shapes that were met before; else None."""
        if self._generation != tuning.generation():
            return None
        if self.places:
            enough = len(inputs) > self.places[-1]
            own = self.deciding(inputs) if enough else self
            return None if own is self else own.known(inputs)
        key: tuple[Any, ...] = ()
        for value in inputs:
            if type(value) is not np.ndarray or not value.flags.carray:
                return None
            key += (value.shape, value.dtype)
        found = self._kept.latest(key)
        return None if found is None else found.executor

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """Run forward; give all outputs."""
        if self.places and (own := self.deciding(inputs)) is not self:
            return own.run(inputs)
        on_device = any(isinstance(value, DeviceArray) for value in inputs)
        if on_device or settings.backend() == "cuda":
            return self._run_on_device(inputs, on_device)
        known = all(isinstance(value, np.ndarray) for value in inputs)
        found = self.compiled([(v.shape, v.dtype) for v in inputs]) if known else None
        if found is None:
            return self._run_as_written(inputs)
        return found.executor.run([ready(value) for value in inputs])

    def deciding(self, inputs: Sequence[Any]) -> Shapes:
        """Return the programs for the values of the inputs that decide branches."""
        function = decided(self.function, self.places, inputs) if self.places else None
        if function is None:
            return self
        key = tuple((v.tobytes(), v.dtype, v.shape) for v in function.values.values())
        with self._lock:
            found = self._decided.get(key)
            if found is None:
                found = Shapes(function, self._max_memory, self._open_sizes)
                self._decided[key] = found
                while len(self._decided) > DECIDED:
                    self._decided.popitem(last=False)
            self._decided.move_to_end(key)
            return found

    def _run_as_written(self, inputs: Sequence[Any]) -> list[Any]:
        results = self.function(*inputs)
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
        """Return what runs on GPUs for shapes and dtypes, made now if it is not kept."""
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

        program, _ = run_passes(traced, self._rewrites, None)
        return DeviceExecutor(plan_program(program))

    def compiled(self, specs: Sequence[tuple[Shape, Any]]) -> Compiled | None:
        """Return the program for shapes and dtypes, made now if it is not kept."""
        if not specs:
            # A function without inputs may be random: do not compile it.
            return None
        key = tuple(part for shape, dtype in specs for part in (tuple(shape), np.dtype(dtype)))
        with self._lock:
            if self._generation != tuning.generation():
                self._kept.clear()
                self._generation = tuning.generation()
            if key not in self._kept:
                self._kept.put(key, self._compile(specs))
            return self._kept.latest(key)

    @property
    def kept(self) -> KeptPrograms:
        """The programs that are kept, and what memory they take."""
        return self._kept

    def _compile(self, specs: Sequence[tuple[Shape, Any]]) -> Compiled | None:
        lowered = self._lowered(specs)
        if lowered is None:
            return None
        with memory_limit(self._max_memory):
            # Of those that are too large, if any is, this one is.
            largest = max(lowered.values, key=lowered.nbytes)
            allow(*lowered.values[largest])
        program, reports = self._passed(lowered, specs)
        executor = self._planned(program)
        return Compiled(executor.planned.program, reports, executor, lambda: self._again(specs))

    def _again(self, specs: Sequence[tuple[Shape, Any]]) -> Program:
        lowered = self._lowered(specs)
        assert lowered is not None
        return self._passed(lowered, specs)[0]

    def _lower(self, specs: Sequence[tuple[Shape, Any]]) -> Program | None:
        traced = trace(self.function, specs)
        known = all(hasattr(value, "shape") for value in traced.outputs)
        return lower(traced) if known else None

    def _lowered(self, specs: Sequence[tuple[Shape, Any]]) -> Program | None:
        """Trace and lower; None: it cannot be, or has nothing to do."""
        try:
            lowered = self._lower(specs)
        except MemoryError:
            # That says nothing of the function; without its program it would compute other bits.
            raise
        except Exception:
            # It looks at data, or the input is not right: running it will tell.
            return None
        if lowered is None:
            return None
        if any(0 in spec.shape or spec.dtype.hasobject for spec in lowered.values.values()):
            return None
        return lowered

    def _passed(
        self, lowered: Program, specs: Sequence[tuple[Shape, Any]]
    ) -> tuple[Program, tuple[PassReport, ...]]:
        return run_passes(lowered, self._rewrites, self._turns.of(specs), bool(self._open_sizes))

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
        return Shapes, (self.function, self._max_memory, self._open_sizes)


# Values of inputs by name.
Values = Mapping[str, Any] | None


def with_values(shapes: Shapes, ports: Sequence[Port], values: Values) -> Shapes:
    """Return the programs for the values of those inputs that decide branches.

    Raises
    ------
    ValueError
        Where one is missing, is not of the input's dtype and shape, or decides nothing.
    TypeError
        For ``values`` that are not a mapping.
    """
    if values is not None and not isinstance(values, Mapping):
        raise TypeError(f"values must be a mapping of input names to arrays, not {shown(values)}")
    given = dict(values or {})
    inputs: list[Any] = [None] * len(ports)
    for place in shapes.places:
        port = ports[place]
        if port.name not in given:
            raise ValueError(
                f"the value of input {port.name!r} decides which branch of the network runs: add "
                f"values={{{port.name!r}: ...}}"
            )
        value, single = np.asarray(given.pop(port.name)), (1,) * len(port.shape)
        try:
            inputs[place] = value.astype(port.dtype, casting="same_kind").reshape(single)
        except (TypeError, ValueError):
            raise ValueError(
                f"values: input {port.name!r} takes {port.dtype} of shape {list(port.shape)}, but "
                f"got {value.dtype} of shape {list(value.shape)}"
            ) from None
    if given:
        known = ", ".join(ports[place].name for place in shapes.places) or "none of its inputs"
        raise ValueError(
            f"values: {', '.join(map(shown, given))} decides no branch of the network; {known} does"
        )
    return shapes.deciding(inputs)
