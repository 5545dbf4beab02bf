"""Native plans: stages whose argument blocks are filled with addresses at each run."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from fastconv import settings
from fastconv.backends.base import Array, Arrays, Frozen, PackingPlan
from fastconv.backends.native.addresses import address_of
from fastconv.backends.native.arena import aligned, aligned_zeros, rounded, take_address
from fastconv.backends.native.driver import LONG_SECONDS, Program, drive, drive_arrays
from fastconv.backends.native.outputs import empty, is_large
from fastconv.backends.native.shared import shared
from fastconv.forks import cached_property
from fastconv.problem.record import record

# Below this many seconds of predicted work, sharing it out costs more than it saves.
SERIAL_SECONDS = 30e-6


@record(frozen=True)
class Slot:
    """An address that is known only when the plan runs: a buffer's, and bytes from its start."""

    buffer: int
    offset: int = 0

    def __add__(self, offset: int) -> Slot:
        # Written out: a network's code is thousands of these.
        made = object.__new__(Slot)
        held = made.__dict__
        held["buffer"], held["offset"] = self.buffer, self.offset + offset
        return made


# Buffers: the inputs come first (a missing one's address is 0), then these, counted from the end.
OUTPUT = Slot(-3)
WORKSPACE = Slot(-2)
SCRATCH = Slot(-1)
# Before these come weights that Python packs at a run, then parameters, the first one last.
_BEFORE_OUTPUT = OUTPUT.buffer - 1


def INPUT(number: int) -> Slot:
    """Return the slot of the plan's input ``number``."""
    return Slot(number)


@record(frozen=True)
class Constant:
    """An array that belongs to the plan; the argument block holds its address."""

    array: Array


def constant(array: Any, dtype: Any = None) -> Constant:
    """Return an array to a plan: weights packed, tables of offsets. 64-byte aligned."""
    given = np.asarray(array, dtype=dtype)
    kept = aligned(given.nbytes).view(given.dtype).reshape(given.shape)
    kept[...] = given
    return Constant(shared(kept))


@record(frozen=True)
class Stage:
    """One kernel over its work items.

    Arguments are those that the kernel is declared with: ints, Slots, Constants, Packed weights.
    """

    kernel: int
    items: int
    arguments: Iterable[Argument]


@record(frozen=True, eq=False)
class Weights:
    """Memory for packed parameters, and the stages that fill it.

    In ``stages`` parameter i is INPUT(i), a missing one's address 0, and OUTPUT is this memory;
    there is no workspace. They run once for frozen parameters, and otherwise at each run, before
    the plan's own stages. ``placed`` returns what packs a parameter that is stored otherwise than
    these stages read it (`fastconv.backends.native.sources`), or None.
    """

    nbytes: int
    stages: tuple[Stage, ...]
    scratch_bytes: int = 0
    placed: Callable[[Any], Weights | None] | None = None

    @property
    def reads(self) -> set[int]:
        """The numbers of the parameters that the stages read."""
        every = (a for stage in self.stages for a in stage.arguments if isinstance(a, Slot))
        return {a.buffer for a in every if a.buffer >= 0}

    @cached_property
    def key(self) -> Any:
        """All that packing depends on besides the parameters."""
        return self.nbytes, *((s.kernel, s.items, *map(_said, s.arguments)) for s in self.stages)

    def packed(self, parameters: Sequence[Array | None]) -> Constant:
        """Return these parameters packed, for a plan to keep."""
        # Zeros where nothing is written, behind a narrow last panel: what is equal is held once.
        memory = aligned_zeros((self.nbytes,), np.uint8)
        self._run(parameters, memory)
        return Constant(shared(memory.view(np.float32 if self.nbytes % 4 == 0 else np.uint8)))

    def _run(self, parameters: Sequence[Array | None], memory: Array) -> None:
        program, _kept = pack_program(self.stages)
        threads = settings.get_num_threads() if self.nbytes >= THREADED_BYTES else 1
        stride = scratch_stride(self.scratch_bytes)
        threads = _threads_within(threads, 0, stride)
        _memory, start = take_address(stride * threads)
        addresses = [*map(address_of, (*parameters, memory)), start, start]
        drive(program, addresses, threads, whole=True)


# Packed weights of fewer bytes are packed by one thread.
THREADED_BYTES = 1 << 18


@record(frozen=True, eq=False)
class HostWeights:
    """Packed parameters that Python makes: for what few calls ask for.

    ``reads`` are the numbers of the parameters that it reads; None: of all.
    """

    pack: Callable[..., Array | None]
    reads: frozenset[int] | None = None
    # Python's functions say nothing of what they depend on.
    key = None

    def packed(self, parameters: Sequence[Array | None]) -> Constant | int:
        """Return these parameters packed, for a plan to keep; 0 for a missing one."""
        made = self.pack(*parameters)
        return 0 if made is None else constant(made)


@record(frozen=True)
class Given:
    """A parameter that is read as it is given."""

    number: int

    @property
    def reads(self) -> set[int]:
        """The number of the parameter."""
        return {self.number}

    @property
    def key(self) -> Any:
        """All that packing depends on besides the parameters."""
        return "given", self.number

    def packed(self, parameters: Sequence[Array | None]) -> Constant | int:
        """Return it for a plan to keep, copied where it may be written to; 0 for a missing one."""
        parameter = parameters[self.number]
        if parameter is None:
            return 0
        root = immutable_root(parameter)
        if root is None or not parameter.flags.c_contiguous:
            return constant(parameter)
        # Over the bytes alone: a view of a parameter that keeps this plan would keep both for ever.
        offset = address_of(parameter) - address_of(root)
        return Constant(shared(np.ndarray(parameter.shape, parameter.dtype, root.base, offset)))


def immutable_root(array: Array) -> Array | None:
    """Return the array over immutable bytes that another one views; None where it views others."""
    root: Any = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    return root if isinstance(root.base, bytes) else None


@record(frozen=True)
class Packed:
    """An argument: an address in packed weights, bytes from their start."""

    weights: AnyWeights
    offset: int = 0


AnyWeights = Weights | HostWeights | Given
Argument = int | Slot | Constant | Packed


def _said(argument: Argument) -> Any:
    """Return an argument as something to compare by: tables by what is in them."""
    if isinstance(argument, Constant):
        return argument.array.dtype, argument.array.tobytes()
    return argument


class NativePlan(PackingPlan):
    """Stages run one after the other by one native call.

    A plan whose stages read `Packed` weights packs parameters at each run; `packed` makes one
    that holds them.

    Parameters
    ----------
    problem
        Its output's shape and dtype.
    stages
        In order; each sees all that those before it wrote.
    workspace_bytes
        Shared scratch memory, at the slot WORKSPACE.
    scratch_bytes
        Scratch memory per worker. Worker w's starts at SCRATCH + w * scratch_bytes (rounded up to
        64): a kernel that uses it takes both as arguments; see ``scratch_stride``.
    seconds, packing_seconds
        Predicted time on one thread, and that of packing parameters: small plans stay on one.
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
        packing_seconds: float = 0.0,
        extra_outputs: Sequence[tuple[tuple[int, ...], Any]] = (),
    ) -> None:
        self.stages = tuple(stages)
        self.workspace_bytes, self.scratch_bytes = workspace_bytes, scratch_bytes
        self._shape, self._dtype = problem.output_shape, problem.output_dtype
        self._extra = tuple(extra_outputs)
        self.seconds, self.packing_seconds = seconds, packing_seconds
        found = [a.weights for s in self.stages for a in s.arguments if type(a) is Packed]
        self.weights: tuple[AnyWeights, ...] = tuple(dict.fromkeys(found))
        self.packed_bytes = _packed_bytes(self.weights)

    @property
    def is_staged(self) -> bool:
        return type(self).run is NativePlan.run and not self.weights

    @property
    def nbytes(self) -> int:  # type: ignore[override]
        return sum(array.nbytes for array in self.arrays())

    def arrays(self) -> list[Array]:
        """Return the memory that it keeps, each piece once: tables, packed parameters."""
        packing = (w.stages for w in self.weights if isinstance(w, Weights))
        found: dict[int, Array] = {}
        for stage in itertools.chain(self.stages, *packing):
            for a in stage.arguments:
                if type(a) is Constant:
                    base = a.array.base
                    owner = base if isinstance(base, np.ndarray) else a.array
                    found[id(owner)] = owner
        return list(found.values())

    def packed(
        self,
        parameters: Sequence[Array | None] | Callable[[], Sequence[Array | None]],
        known: MutableMapping[Any, Array] | None = None,
        key: Any = None,
    ) -> NativePlan:
        """Return the plan with these parameters packed: it runs without them.

        ``known`` has what was packed of them before, by ``key`` and by how it was packed. Where
        all is present, ``parameters`` are not asked for, which may be a function that makes them.
        """
        return self._holding(self.weights, parameters, known, key) if self.weights else self

    def part(self, parameters: Sequence[Array | None], frozen: Frozen) -> NativePlan:
        """Return the plan with the parameters packed that are ``frozen``.

        What is made of others too is packed at each run.
        """
        whole = [w for w in self.weights if w.reads and all(frozen[i] for i in w.reads)]
        return self._holding(whole, parameters)

    def _holding(
        self,
        packed: Sequence[AnyWeights],
        parameters: Sequence[Array | None] | Callable[[], Sequence[Array | None]],
        known: MutableMapping[Any, Array] | None = None,
        key: Any = None,
    ) -> NativePlan:
        """Return the plan with some of its weights packed, for it to keep."""
        made: dict[AnyWeights, Constant | int] = {}
        for weights in packed:
            whole = None if known is None or weights.key is None else (key, weights.key)
            found = None if known is None or whole is None else known.get(whole)
            if found is not None:
                made[weights] = Constant(found)
                continue
            if callable(parameters):
                parameters = parameters()
            new = made[weights] = weights.packed(parameters)
            if known is not None and whole is not None and isinstance(new, Constant):
                # The first to arrive there is everyone's.
                made[weights] = Constant(known.setdefault(whole, new.array))

        def held(argument: Packed) -> Argument:
            whole = made.get(argument.weights)
            if whole is None:
                return argument
            return whole if isinstance(whole, int) else inner(whole, argument.offset)

        return self._with(held, tuple(w for w in self.weights if w not in made))

    def with_weights(self, made: Mapping[AnyWeights, Packed]) -> NativePlan:
        """Return the plan with some of its weights packed in other ways, to the same result."""

        def other(argument: Packed) -> Packed:
            found = made.get(argument.weights)
            if found is None:
                return argument
            return Packed(found.weights, found.offset + argument.offset)

        kept = (made[w].weights if w in made else w for w in self.weights)
        return self._with(other, tuple(dict.fromkeys(kept)))

    def _with(
        self, change: Callable[[Packed], Argument], weights: tuple[AnyWeights, ...]
    ) -> NativePlan:
        """Return the plan with packed arguments changed, which then read these weights."""
        plan = copy.copy(self)
        plan.__dict__.pop("_ready", None)
        plan.stages, plan.weights = tuple(_with_packed(self.stages, change)), weights
        plan.packed_bytes = _packed_bytes(weights)
        return plan

    @cached_property
    def _ready(self) -> _Ready:
        return _Ready.of(self)

    def run(self, *inputs: Array | None, out: Array | None = None, parameters: Arrays = ()) -> Any:
        hosts = [host.pack(*parameters) for host in self._ready.hosts]
        extra = [np.empty(shape, dtype) for shape, dtype in self._extra]
        first = self.run_on((*inputs, *extra), (*hosts, *parameters), out)
        return (first, *extra) if extra else first

    @property
    def takes_arrays_alone(self) -> bool:  # type: ignore[override]
        return type(self).run is NativePlan.run and not (self._extra or self._ready.hosts)

    def whole_program(self) -> tuple[int, int, int, bool] | None:
        """Return what `run_on` runs, for who does the same outside of Python.

        The address of the program's words, bytes of memory that workers share and that each has,
        and whether one thread runs it. None where a run needs more than that: signals looked at
        in between, memory of earlier outputs.
        """
        ready = self._ready
        if ready.large or ready.hosts or ready.program.seconds >= LONG_SECONDS:
            return None
        return ready.program.address, ready.shared, ready.scratch, ready.serial

    def run_on(self, inputs: Arrays, parameters: Arrays, out: Array | None) -> Array:
        """Run on all arrays but the first output: what Python packed comes before parameters."""
        ready = self._ready
        threads = 1 if ready.serial else settings.get_num_threads()
        threads = _threads_within(threads, ready.shared, ready.scratch)
        to = out
        if to is None:
            to = (empty if ready.large else np.empty)(self._shape, self._dtype)
        size, start = ready.shared + ready.scratch * threads, 0
        if size:
            # The memory is held by its name until the run is over.
            _memory, start = take_address(size)
        # What a caller gave is never left half-written.
        drive_arrays(
            ready.program, (*inputs, *parameters[::-1], to), start, start + ready.shared, threads,
            out is not None,
        )  # fmt: skip
        return to


@record(frozen=True, eq=False)
class _Ready:
    """What every run of a plan asks for."""

    program: Program
    kept: list[Array]
    hosts: tuple[HostWeights, ...]
    shared: int
    scratch: int
    serial: bool
    large: bool

    @classmethod
    def of(cls, plan: NativePlan) -> _Ready:
        own = [w for w in plan.weights if isinstance(w, Weights)]
        hosts = tuple(w for w in plan.weights if isinstance(w, HostWeights))
        shared = rounded(plan.workspace_bytes)
        slots: dict[Any, Slot] = {}
        for place, host in enumerate(hosts):
            slots[host] = Slot(_BEFORE_OUTPUT - place)
        first = _BEFORE_OUTPUT - len(hosts)
        slots |= {w: Slot(first - w.number) for w in plan.weights if isinstance(w, Given)}
        packing: list[Stage] = []
        scratch = plan.scratch_bytes
        for weights in own:
            slots[weights] = WORKSPACE + shared
            shared += rounded(weights.nbytes)
            at = {OUTPUT.buffer: slots[weights]} | {i: Slot(first - i) for i in weights.reads}
            packing += moved(weights.stages, at)
            scratch = max(scratch, weights.scratch_bytes)
        stages = [*packing, *_with_packed(plan.stages, lambda p: slots[p.weights] + p.offset)]
        seconds = plan.seconds + (plan.packing_seconds if plan.weights else 0.0)
        # No stage is known apart; each is cut as if it took all the time.
        program, kept = pack_program(stages, [seconds] * len(stages))
        serial = seconds < SERIAL_SECONDS
        large = is_large(plan._shape, plan._dtype)
        return cls(program, kept, hosts, shared, scratch_stride(scratch), serial, large)


def _packed_bytes(weights: Sequence[AnyWeights]) -> int:
    """Return the memory that a run takes to pack these."""
    return sum(w.nbytes + w.scratch_bytes for w in weights if isinstance(w, Weights))


def _threads_within(threads: int, shared: int, scratch: int) -> int:
    """Return how many of so many threads have scratch memory within FASTCONV_WORKSPACE_MB."""
    if threads == 1 or (limit := settings.workspace_limit()) is None:
        return threads
    return max(1, min(threads, (limit - shared) // max(1, scratch)))


def with_arguments(stages: Sequence[Stage], change: Callable[[Argument], Argument]) -> list[Stage]:
    """Return stages with each argument changed."""
    return [with_other_arguments(s, [change(a) for a in s.arguments]) for s in stages]


def with_other_arguments(stage: Stage, arguments: list[Argument]) -> Stage:
    """Return a stage with other arguments."""
    # `replace` takes several times as long; a GPU's launches are stages with more in them.
    if type(stage) is Stage:
        return Stage(stage.kernel, stage.items, arguments)
    return dataclasses.replace(stage, arguments=arguments)


def _with_packed(stages: Sequence[Stage], change: Callable[[Packed], Argument]) -> list[Stage]:
    """Return stages with each argument in packed weights changed."""
    return [
        with_other_arguments(s, [change(a) if type(a) is Packed else a for a in s.arguments])
        for s in stages
    ]


def inner(whole: Constant, offset: int) -> Constant:
    """Return the bytes of a constant from ``offset`` on: a view, so that the whole stays."""
    if offset == 0:
        return whole
    return Constant(whole.array.reshape(-1).view(np.uint8)[offset:])


def pack_program(
    stages: Sequence[Stage], times: Sequence[float] = ()
) -> tuple[Program, list[Array]]:
    """Return stages as the driver reads them, and the arrays whose addresses are in them."""
    block: list[int] = []
    places: list[tuple[int, int, int]] = []
    rows: list[tuple[int, int, int]] = []
    kept: list[Array] = []
    for stage in stages:
        rows.append((stage.kernel, 8 * len(block), stage.items))
        for argument in stage.arguments:
            if type(argument) is int:
                block.append(argument)
            elif type(argument) is Slot:
                places.append((len(block), argument.buffer, argument.offset))
                block.append(0)
            elif type(argument) is Constant:
                kept.append(argument.array)
                block.append(address_of(argument.array))
            else:
                assert not isinstance(argument, (Packed, Slot, Constant))
                block.append(int(argument))
    program = Program(
        np.array(rows, np.int64).reshape(-1, 3),
        np.array(block, np.int64),
        np.array(places, np.int64).reshape(-1, 3),
        times,
    )
    return program, kept


def moved(stages: Sequence[Stage], slots: Mapping[int, Slot]) -> list[Stage]:
    """Return stages whose buffers, where ``slots`` names them, are elsewhere."""

    def move(argument: Argument) -> Argument:
        if isinstance(argument, Slot) and argument.buffer in slots:
            return slots[argument.buffer] + argument.offset
        return argument

    return with_arguments(stages, move)


def scratch_stride(scratch_bytes: int) -> int:
    """Bytes from one worker's scratch memory to the next one's."""
    return rounded(scratch_bytes)
