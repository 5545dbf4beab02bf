"""From plans to native code: buffers in one arena, stages joined into programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastconv.backends.base import Plan
from fastconv.backends.native.driver import Program as NativeProgram
from fastconv.backends.native.nested import Run, nested_stage
from fastconv.backends.native.plan import (
    OUTPUT,
    SCRATCH,
    WORKSPACE,
    Argument,
    Constant,
    NativePlan,
    Slot,
    Stage,
    constant,
    inner,
    pack_program,
    with_other_arguments,
)
from fastconv.forks import cached_property
from fastconv.network.memory import Buffer, Layout, arrange
from fastconv.network.planner import Planned, is_staged
from fastconv.network.program import Call, Images, Op, Operand, Portion, Program, Solve, View
from fastconv.problem import ConcatenateProblem

# The arena and the workers' scratch memory, among a joined program's buffers.
ARENA = WORKSPACE


@dataclasses.dataclass(frozen=True)
class NativePart:
    """Operations that run by one native call, and the arrays whose addresses are in it.

    ``spans`` has each operation's stages: from which one on, up to which.
    """

    program: NativeProgram
    constants: tuple[Any, ...]
    spans: tuple[tuple[Op, int, int], ...]


@dataclasses.dataclass(frozen=True)
class LaunchPart:
    """Operations that are launches on a GPU; ``spans`` as above."""

    launches: tuple[Any, ...]
    spans: tuple[tuple[Op, int, int], ...]


@dataclasses.dataclass(frozen=True)
class PythonPart:
    """One operation that runs in Python: where its arrays are, and what makes the results.

    ``into`` writes results where they are stored, see `Call`.
    """

    op: Op
    run: Callable[..., Any]
    inputs: tuple[Place | np.ndarray[Any, Any] | None, ...]
    outputs: tuple[Place, ...]
    into: Callable[..., None] | None = None


Part = NativePart | LaunchPart | PythonPart


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a value is: a slot, and its shape and dtype."""

    slot: Slot
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclasses.dataclass(frozen=True)
class Code:
    """A program ready to run.

    ``copies`` are outputs that no operation writes where the caller wants them: their place, or
    the array that they always are. ``copied`` is the part of its cells that a concatenation
    copies, where not all of them: the others were computed in their place.
    """

    parts: tuple[Part, ...]
    outputs: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]
    copies: Mapping[int, Any]
    memory: Layout
    scratch_bytes: int
    copied: Mapping[Op, float] = dataclasses.field(default_factory=dict)


def piece_count(program: Program) -> int:
    """Return how many times the programs of some images are run."""
    images = (op for op in program.ops if isinstance(op, Images))
    return sum(portion.count for op in images for portion in op.portions)


def write_code(planned: Planned, together: int = 0) -> Code:
    """Lay out memory, and write native code.

    Of the pieces that a batch falls into the last ``together`` are done by all threads at once,
    each of the others by one.
    """
    return _Writer(planned, together).code()


class _Writer:
    def __init__(self, planned: Planned, together: int = 0) -> None:
        self._planned, self._together = planned, together
        self._program, self._plans = planned.program, planned.plans
        self._portions = {
            op: tuple(_Writer(each) for each in several) for op, several in planned.portions.items()
        }
        # A value that is inside another one: which, and how many bytes from its start.
        self._inside: dict[int, tuple[int, int]] = {}
        self._alias()
        self._slots: dict[int, Slot] = {}
        self._copies: dict[int, Any] = {}
        self._workspaces: dict[Op, int] = {}
        self.memory = self._lay_out()
        self.scratch_bytes = 0
        self.copied: dict[Op, float] = {}

    def _alias(self) -> None:
        for op in self._program.ops:
            if isinstance(op, View):
                (source,), (result,) = op.inputs, op.outputs
                if isinstance(source, int):
                    shift = op.start * self._program.values[source].dtype.itemsize
                    self._inside[result] = (source, shift)
        self._alias_concatenations()

    def _alias_concatenations(self) -> None:
        """Let the parts of a concatenation of one row be computed where they belong."""
        fixed = set(self._program.inputs) | self._program.kept()
        owned = {number for op in self._program.ops for number in op.outputs}
        for op in self._program.ops:
            if not isinstance(op, Solve) or not isinstance(op.problem, ConcatenateProblem):
                continue
            rows, lengths = op.problem.runs
            size = op.problem.dtype.itemsize
            if rows != 1:
                continue
            done = 0
            for part, length in zip(op.inputs, lengths, strict=True):
                root = self._root(part) if isinstance(part, int) else None
                if (
                    root is not None
                    and root[1] == 0
                    and root[0] in owned - fixed
                    and self._program.nbytes(root[0]) == length * size
                    and self._root(op.outputs[0])[0] != root[0]
                ):
                    self._inside[root[0]] = (op.outputs[0], done)
                done += length * size

    def _root(self, number: int) -> tuple[int, int]:
        shift = 0
        while number in self._inside:
            number, more = self._inside[number]
            shift += more
        return number, shift

    def code(self) -> Code:
        parts: list[Part] = []
        stages: list[Stage] = []
        spans: list[tuple[Op, int, int]] = []
        times: list[float] = []
        for op in self._program.ops:
            if isinstance(op, View):
                continue
            plan = self._plans.get(op)
            if is_staged(plan) or isinstance(op, Images):
                for each, own in self._native(op):
                    spans.append((each, len(stages), len(stages) + len(own)))
                    stages += own
                    times += [self._planned.seconds_of(op)] * len(own)
                continue
            _close(stages, spans, times, parts)
            parts.append(self._python(op, plan))
        _close(stages, spans, times, parts)
        specs = tuple(self._spec(v) for v in self._program.outputs)
        return Code(tuple(parts), specs, self._copies, self.memory, self.scratch_bytes, self.copied)

    def _spec(self, operand: Operand) -> tuple[tuple[int, ...], np.dtype[Any]]:
        spec = self._program.values[operand] if isinstance(operand, int) else operand
        return tuple(spec.shape), spec.dtype

    # Memory

    def _lay_out(self) -> Layout:
        """Assign every value its slot: the caller's arrays, or a place in the arena."""
        program = self._program
        count = len(program.inputs)
        self._slots.update({number: Slot(i) for i, number in enumerate(program.inputs)})
        for i, operand in enumerate(program.outputs):
            root = self._root_of_output(operand)
            if root is None:
                self._copies[i] = operand
            else:
                self._slots[root] = Slot(count + i)
        spans: dict[Any, list[int]] = {}
        for place, op in enumerate(program.ops):
            for number in (*op.outputs, *op.reads):
                spans.setdefault(self._root(number)[0], []).append(place)
            if self._workspace_bytes(op):
                spans[op] = [place]
        for operand in self._copies.values():
            if isinstance(operand, int):
                spans.setdefault(self._root(operand)[0], []).append(len(program.ops))
        wanted = [key for key in spans if not isinstance(key, int) or key not in self._slots]
        buffers = [Buffer(self._size(k), min(spans[k]), max(spans[k])) for k in wanted]
        layout = arrange(buffers)
        for key, offset in zip(wanted, layout.offsets, strict=True):
            if isinstance(key, int):
                self._slots[key] = ARENA + offset
            else:
                self._workspaces[key] = offset
        for number in program.values:
            root, shift = self._root(number)
            if root in self._slots:
                self._slots[number] = self._slots[root] + shift
        self._copies = {
            i: self._place(v) if isinstance(v, int) else v for i, v in self._copies.items()
        }
        return layout

    def _root_of_output(self, operand: Operand) -> int | None:
        """Return the value that an operation can write straight into the caller's array."""
        if not isinstance(operand, int):
            return None
        root, shift = self._root(operand)
        whole = shift == 0 and self._program.nbytes(root) == self._program.nbytes(operand)
        return root if whole and root not in self._slots else None

    def _size(self, key: Any) -> int:
        return self._program.nbytes(key) if isinstance(key, int) else self._workspace_bytes(key)

    def _workspace_bytes(self, op: Op) -> int:
        if isinstance(op, Images):
            several = self._portions[op] if self._together else ()
            return max((portion.memory.size for portion in several), default=0)
        plan = self._plans.get(op)
        return plan.workspace_bytes if plan is not None and plan.is_staged else 0

    def _place(self, number: int) -> Place:
        spec = self._program.values[number]
        return Place(self._slots[number], tuple(spec.shape), spec.dtype)

    # Code

    def _native(self, op: Op) -> Iterator[tuple[Op, list[Stage]]]:
        """Yield an operation's stages, with the program's addresses in them.

        One that is done for some images at a time gives those of the operations that it replaces.
        """
        if isinstance(op, Images):
            yield from self._by_images(op)
            return
        plan: Any = self._plans[op]
        self.scratch_bytes = max(self.scratch_bytes, plan.scratch_bytes)
        if isinstance(op, Solve) and isinstance(op.problem, ConcatenateProblem):
            yield op, self._joining_stages(op, plan)
        else:
            yield op, _rebound(plan.stages, self._bindings(op))

    def _by_images(self, op: Images) -> Iterator[tuple[Op, list[Stage]]]:
        numbers = (*op.inputs, *op.outputs)
        slots = [self._slots[v] for v in numbers]
        sizes = [self._program.nbytes(v) // self._program.values[v].shape[0] for v in numbers]
        pairs = list(zip(op.portions, self._portions[op], strict=True))
        pieces = [(w, p.first + i * p.each) for p, w in pairs for i in range(p.count)]
        apart = len(pieces) - self._together
        runs = []
        for portion, writer in pairs:
            count = min(portion.count, apart)
            apart -= count
            if count:
                runs.append(writer.run(portion, count, sizes))
        if runs:
            stage, scratch = nested_stage(runs, slots)
            self.scratch_bytes = max(self.scratch_bytes, scratch)
            yield op, [stage]
        for writer, first in pieces[len(pieces) - self._together :]:
            moved = [slot + first * size for slot, size in zip(slots, sizes, strict=True)]
            yield from self._one_piece(op, writer, moved)

    def run(self, portion: Portion, count: int, sizes: Sequence[int]) -> Run:
        """Return ``count`` pieces as a program within another; ``sizes`` are those of an image."""
        stages = [stage for _, own in self._operations for stage in own]
        offsets = [(portion.first * size, portion.each * size) for size in sizes]
        return Run(stages, count, offsets, self.memory.size, self.scratch_bytes)

    def _one_piece(
        self, op: Images, writer: _Writer, slots: Sequence[Slot]
    ) -> Iterator[tuple[Op, list[Stage]]]:
        """Yield a piece's operations, for all threads at once."""
        bound: dict[int, Slot | Constant | None] = dict(enumerate(slots))
        bound[ARENA.buffer] = ARENA + self._workspaces.get(op, 0)
        bound[SCRATCH.buffer] = SCRATCH
        replaced = (each for each in op.replaced if not isinstance(each, View))
        for whole, (each, own) in zip(replaced, writer._operations, strict=True):
            if each in writer.copied:
                self.copied[whole] = writer.copied[each]
            yield whole, _rebound(own, bound)
        self.scratch_bytes = max(self.scratch_bytes, writer.scratch_bytes)

    @cached_property
    def _operations(self) -> list[tuple[Op, list[Stage]]]:
        """Each operation's stages; views have none. After it the scratch memory is known."""
        done = [op for op in self._program.ops if not isinstance(op, View)]
        return [pair for op in done for pair in self._native(op)]

    def _bindings(self, op: Op) -> dict[int, Slot | Constant | None]:
        first, *extra = op.outputs
        bound: dict[int, Slot | Constant | None] = {
            OUTPUT.buffer: self._slots[first],
            SCRATCH.buffer: SCRATCH,
        }
        for number, operand in enumerate(op.inputs):
            if isinstance(operand, int):
                bound[number] = self._slots[operand]
            else:
                bound[number] = None if operand is None else constant(operand)
        for number, value in enumerate(extra):
            bound[len(op.inputs) + number] = self._slots[value]
        if op in self._workspaces:
            bound[WORKSPACE.buffer] = ARENA + self._workspaces[op]
        return bound

    def _joining_stages(self, op: Op, plan: NativePlan) -> list[Stage]:
        """Return the stages of a concatenation for the parts that are not in place already."""
        problem: Any = op.problem  # type: ignore[attr-defined]
        _, lengths = problem.runs
        starts = [sum(lengths[:i]) * problem.dtype.itemsize for i in range(len(lengths))]
        target, bound = self._slots[op.outputs[0]], self._bindings(op)
        stages: list[Stage] = []
        copied = 0
        moved = [i for i, length in enumerate(lengths) if length]
        for stage, number in zip(plan.stages, moved, strict=True):
            operand = op.inputs[number]
            if not isinstance(operand, int) or self._slots[operand] != target + starts[number]:
                stages += _rebound([stage], bound)
                copied += lengths[number]
        if len(stages) < len(moved):
            self.copied[op] = copied / sum(lengths)
        return stages

    def _python(self, op: Op, plan: Plan | None) -> PythonPart:
        inputs = tuple(self._place(v) if isinstance(v, int) else v for v in op.inputs)
        run = plan.run if plan is not None else op.function  # type: ignore[attr-defined]
        assert plan is not None or isinstance(op, Call)
        into = op.into if plan is None and isinstance(op, Call) else None
        return PythonPart(op, run, inputs, tuple(self._place(v) for v in op.outputs), into)


def _close(
    stages: list[Any], spans: list[tuple[Op, int, int]], times: list[float], parts: list[Part]
) -> None:
    """Make one program of the stages gathered so far."""
    if stages:
        if isinstance(stages[0], Stage):
            program, kept = pack_program(stages, tuple(times))
            parts.append(NativePart(program, tuple(kept), tuple(spans)))
        else:
            parts.append(LaunchPart(tuple(stages), tuple(spans)))
        stages.clear()
        spans.clear()
        times.clear()


def _rebound(stages: Sequence[Stage], bound: Mapping[int, Slot | Constant | None]) -> list[Stage]:
    """Return stages whose slots are others, constants, or nothing."""
    made = []
    for stage in stages:
        arguments: list[Argument] = []
        for argument in stage.arguments:
            if type(argument) is Slot:
                target, offset = bound[argument.buffer], argument.offset
                if target is None:
                    arguments.append(0)
                elif type(target) is Slot:
                    arguments.append(target + offset if offset else target)
                else:
                    assert isinstance(target, Constant)
                    arguments.append(inner(target, offset))
            else:
                arguments.append(argument)
        made.append(with_other_arguments(stage, arguments))
    return made
