"""From a program to native code: a plan an operation, buffers in one arena, joined programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastconv.backends.base import Plan
from fastconv.backends.native.driver import Program as NativeProgram
from fastconv.backends.native.plan import (
    OUTPUT,
    SCRATCH,
    WORKSPACE,
    Constant,
    NativePlan,
    Slot,
    Stage,
    constant,
    pack_program,
)
from fastconv.dispatch import find_plan
from fastconv.network.memory import Buffer, Layout, arrange
from fastconv.network.program import Call, Op, Operand, Program, Solve, View
from fastconv.problem import ConcatenateProblem

# The arena and the workers' scratch memory, among a joined program's buffers.
ARENA = WORKSPACE


@dataclasses.dataclass(frozen=True)
class NativePart:
    """Operations that run by one native call, and the arrays whose addresses stand in it.

    ``spans`` has each operation's stages: from which one on, up to which.
    """

    program: NativeProgram
    constants: tuple[Any, ...]
    spans: tuple[tuple[Op, int, int], ...]


@dataclasses.dataclass(frozen=True)
class PythonPart:
    """One operation that runs in Python: where its arrays lie, and what makes the results."""

    op: Op
    run: Callable[..., Any]
    inputs: tuple[Place | np.ndarray[Any, Any] | None, ...]
    outputs: tuple[Place, ...]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a value lies: a slot, and its shape and dtype."""

    slot: Slot
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclasses.dataclass(frozen=True)
class Code:
    """A program ready to run.

    ``copies`` are outputs that no operation writes where the caller wants them: their place, or
    the array that they always are. ``seconds`` is the predicted time on one thread.
    """

    program: Program
    parts: tuple[NativePart | PythonPart, ...]
    outputs: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]
    copies: Mapping[int, Any]
    memory: Layout
    scratch_bytes: int
    seconds: float
    plans: tuple[Plan, ...]


def plan_program(program: Program) -> Code:
    """Plan every operation, and lay out memory."""
    return _Planner(program).code()


class _Planner:
    def __init__(self, program: Program) -> None:
        # Packed weights are all that is kept of them.
        light = {op: _without_parameters(op) for op in program.ops}
        self._plans: dict[Op, Plan] = {
            light[op]: find_plan(
                op.problem, op.arrays(), algorithm=op.algorithm, backend=op.backend
            )
            for op in program.ops
            if isinstance(op, Solve)
        }  # fmt: skip
        self._program = program.replaced({op: [new] for op, new in light.items()})
        # A value that lies inside another one: which, and how many bytes from its start.
        self._inside: dict[int, tuple[int, int]] = {}
        self._alias()
        self._slots: dict[int, Slot] = {}
        self._copies: dict[int, Any] = {}
        self._workspaces: dict[Op, int] = {}

    def _alias(self) -> None:
        for op in self._program.ops:
            if isinstance(op, View):
                (source,), (result,) = op.inputs, op.outputs
                if isinstance(source, int):
                    shift = op.start * self._program.values[source].dtype.itemsize
                    self._inside[result] = (source, shift)
        self._alias_concatenations()

    def _alias_concatenations(self) -> None:
        """Let the parts of a concatenation of one row be computed where they shall lie."""
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
        layout = self._lay_out()
        parts: list[NativePart | PythonPart] = []
        stages: list[Stage] = []
        spans: list[tuple[Op, int, int]] = []
        scratch = 0
        for op in self._program.ops:
            if isinstance(op, View):
                continue
            plan = self._plans.get(op)
            if isinstance(plan, NativePlan) and type(plan).run is NativePlan.run:
                own = self._stages(op, plan)
                spans.append((op, len(stages), len(stages) + len(own)))
                stages += own
                scratch = max(scratch, plan.scratch_bytes)
                continue
            _close(stages, spans, parts)
            parts.append(self._python(op, plan))
        _close(stages, spans, parts)
        specs = tuple(self._spec(v) for v in self._program.outputs)
        plans = tuple(self._plans.values())
        return Code(
            self._program,
            tuple(parts),
            specs,
            self._copies,
            layout,
            scratch,
            self._seconds(),
            plans,
        )

    def _seconds(self) -> float:
        return sum(getattr(plan, "seconds", 1e-5) for plan in self._plans.values())

    def _spec(self, operand: Operand) -> tuple[tuple[int, ...], np.dtype[Any]]:
        spec = self._program.values[operand] if isinstance(operand, int) else operand
        return tuple(spec.shape), spec.dtype

    # Memory

    def _lay_out(self) -> Layout:
        """Give every value its slot: the caller's arrays, or a place in the arena."""
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
            plan = self._plans.get(op)
            if isinstance(plan, NativePlan) and plan.workspace_bytes:
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
        """Give the value that an operation can write straight into the caller's array."""
        if not isinstance(operand, int):
            return None
        root, shift = self._root(operand)
        whole = shift == 0 and self._program.nbytes(root) == self._program.nbytes(operand)
        return root if whole and root not in self._slots else None

    def _size(self, key: Any) -> int:
        if isinstance(key, int):
            return self._program.nbytes(key)
        return self._plans[key].workspace_bytes

    def _place(self, number: int) -> Place:
        spec = self._program.values[number]
        return Place(self._slots[number], tuple(spec.shape), spec.dtype)

    # Code

    def _stages(self, op: Op, plan: NativePlan) -> list[Stage]:
        """Give a plan's stages with the program's addresses in them."""
        if isinstance(op, Solve) and isinstance(op.problem, ConcatenateProblem):
            return self._joining_stages(op, plan)
        return _rebound(plan.stages, self._bindings(op))

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
        """Give the stages of a concatenation for the parts that do not lie there already."""
        problem: Any = op.problem  # type: ignore[attr-defined]
        _, lengths = problem.runs
        starts = [sum(lengths[:i]) * problem.dtype.itemsize for i in range(len(lengths))]
        target, bound = self._slots[op.outputs[0]], self._bindings(op)
        stages: list[Stage] = []
        moved = [i for i, length in enumerate(lengths) if length]
        for stage, number in zip(plan.stages, moved, strict=True):
            operand = op.inputs[number]
            if not isinstance(operand, int) or self._slots[operand] != target + starts[number]:
                stages += _rebound([stage], bound)
        return stages

    def _python(self, op: Op, plan: Plan | None) -> PythonPart:
        inputs = tuple(self._place(v) if isinstance(v, int) else v for v in op.inputs)
        run = plan.run if plan is not None else op.function  # type: ignore[attr-defined]
        assert plan is not None or isinstance(op, Call)
        return PythonPart(op, run, inputs, tuple(self._place(v) for v in op.outputs))


def _without_parameters(op: Op) -> Op:
    return dataclasses.replace(op, parameters=()) if isinstance(op, Solve) else op


def _close(
    stages: list[Stage], spans: list[tuple[Op, int, int]], parts: list[NativePart | PythonPart]
) -> None:
    """Make one native program of the stages gathered so far."""
    if stages:
        program, kept = pack_program(stages)
        parts.append(NativePart(program, tuple(kept), tuple(spans)))
        stages.clear()
        spans.clear()


def _rebound(stages: Sequence[Stage], bound: Mapping[int, Slot | Constant | None]) -> list[Stage]:
    """Give stages whose slots are others, constants, or nothing."""

    def new(argument: int | Slot | Constant) -> int | Slot | Constant:
        if not isinstance(argument, Slot):
            return argument
        target = bound[argument.buffer]
        if isinstance(target, Slot):
            return target + argument.offset
        if target is None:
            return 0
        return target if argument.offset == 0 else _inner(target, argument.offset)

    return [dataclasses.replace(s, arguments=[new(a) for a in s.arguments]) for s in stages]


def _inner(whole: Constant, offset: int) -> Constant:
    """Give the bytes of a constant from ``offset`` on: a view, so that the whole stays."""
    return Constant(whole.array.reshape(-1).view(np.uint8)[offset:])
