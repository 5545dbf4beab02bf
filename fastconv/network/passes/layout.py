"""Channels last or first: one layout for the whole network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.dispatch import tuning
from fastconv.dispatch.choose import choose
from fastconv.machine import get_machine
from fastconv.network.passes.movement import Movement, last_shape, movement_of, to_first, to_last
from fastconv.network.passes.patterns import only_reader
from fastconv.network.program import Op, Operand, Program, Solve, View
from fastconv.problem import (
    ArithmeticProblem,
    ConcatenateProblem,
    ConvProblem,
    ConvTransposeProblem,
    ElementwiseProblem,
    FunctionProblem,
    PixelShuffleProblem,
    PreluProblem,
    SoftmaxProblem,
)
from fastconv.problem.norm import ChannelsProblem
from fastconv.problem.record import replaced
from fastconv.problem.remember import Spec


def last_from(program: Program) -> int:
    """Choose from which operation the program of one image lays images out channels last.

    Images of many pixels and few channels are mostly faster channels first, those of few pixels
    and many channels last; so there is one place at most where a network turns. Predicted times
    choose it; measured ones where a tuning table has all convolutions in both layouts. One that
    has some alone was measured as they were posed, and nothing turns. Given is the operation's
    place; that behind the last one means nowhere.
    """
    turned = _ChannelsLast(program, 0)
    if turned.program() is program:
        return len(program.ops)
    either = [*program.ops, *(op for ops in turned.made.values() for op in ops)]
    tuned = [_is_tuned(op) for op in either if isinstance(op, Solve) and _is_measured(op)]
    if any(tuned) and not all(tuned):
        return len(program.ops)
    first = [_seconds(op) for op in program.ops]
    last = [sum(map(_seconds, turned.made[op])) for op in program.ops]
    turning = _turning_seconds(program)
    # Everything before a place is first, everything from there on last.
    totals = [
        sum(first[:place]) + sum(last[place:]) + (turning[place] if place else 0.0)
        for place in range(len(program.ops))
    ]
    totals.append(sum(first))
    return totals.index(min(totals))


def _is_measured(op: Solve) -> bool:
    return isinstance(op.problem, (ConvProblem, ConvTransposeProblem))


def _is_tuned(op: Solve) -> bool:
    return tuning.current().row(op.problem.for_one_image().without_idle()) is not None


def _turning_seconds(program: Program) -> list[float]:
    """Return what turning the images that live across each place takes."""
    rows = [0.0] * len(program.ops)
    made = {number: 0 for number in program.inputs}
    last_read: dict[int, int] = {}
    for place, op in enumerate(program.ops):
        made.update(dict.fromkeys(op.outputs, place + 1))
        last_read.update(dict.fromkeys(op.reads, place))
    bandwidth = get_machine().memory_bandwidth
    for number, begin in made.items():
        if len(program.values[number].shape) in (3, 4, 5):
            for place in range(begin, last_read.get(number, -1) + 1):
                rows[place] += 2 * program.nbytes(number) / bandwidth
    return rows


def _seconds(op: Op) -> float:
    if not isinstance(op, Solve):
        return 0.0
    if isinstance(op.problem, ConcatenateProblem) and op.problem.runs[0] == 1:
        return 0.0
    choice = choose(op.problem, algorithm=op.algorithm, backend=op.backend)
    # Of what was offered: error bounds of all others would take longer than their costs.
    taken = next(c for c in choice.offers if c.algorithm is choice.algorithm)
    if taken.measured_seconds is not None:
        return taken.measured_seconds
    return taken.cost.seconds if taken.cost is not None else 0.0


def channels_last(program: Program, begin: int = 0) -> Program:
    """Lay images out channels last from one operation on, and turn those that cross it."""
    return _ChannelsLast(program, begin).program()


class _ChannelsLast:
    """Goes through a program and keeps every value as it first came: last, or first, or both."""

    def __init__(self, program: Program, begin: int) -> None:
        self._old = program
        self._begin = begin
        # What each operation became.
        self.made: dict[Op, list[Op]] = {}
        self._values: dict[int, Spec] = dict(program.values)
        self._next = max(program.values, default=-1) + 1
        self._ops: list[Op] = []
        # The numbers under which a value of the old program is in either layout.
        self._first: dict[int, int] = {number: number for number in program.inputs}
        self._last: dict[int, int] = {}
        self._readers, self._kept = program.readers(), program.kept()
        self._done: set[Op] = set()
        self._images = 0

    def program(self) -> Program:
        """Return the program; the one that was given where it has no images."""
        for place, op in enumerate(self._old.ops):
            before = len(self._ops)
            if op not in self._done:
                self._op(op, place >= self._begin)
            self.made[op] = self._ops[before:]
        if self._images == 0:
            return self._old
        outputs = tuple(self._in_first(v) if isinstance(v, int) else v for v in self._old.outputs)
        return Program(self._values, tuple(self._ops), self._old.inputs, outputs)

    def _op(self, op: Op, may_turn: bool) -> None:
        if isinstance(op, Solve) and may_turn:
            turn = self._turn_of(op)
            problem = None if turn is None else turn(op.problem)
            if problem is not None and _serves(op, problem):
                self._images += _is_of_images(problem)
                self._turned(op, problem)
                return
        movement = movement_of(op, self._old)
        if movement is not None and op.reads[0] in self._last:
            self._moved(op, movement)
            return
        inputs = tuple([self._in_first(v) if isinstance(v, int) else v for v in op.inputs])
        same = all(a is b for a, b in zip(inputs, op.inputs, strict=True))
        self._ops.append(op if same else op.having(inputs=inputs))
        self._first.update({number: number for number in op.outputs})

    # Problems

    def _turn_of(self, op: Solve) -> Callable[[Any], Any] | None:
        """Return what turns an operation's problem channels last, if it is to be turned."""
        problem: Any = op.problem
        rank = len(problem.output_shape)
        already = any(v in self._last for v in op.reads)
        if rank not in (3, 4, 5):
            return None
        if isinstance(problem, (ElementwiseProblem, FunctionProblem, PreluProblem)):
            return _turn_shape if already else None
        if isinstance(problem, ArithmeticProblem):
            return _turn_arithmetic if already else None
        if isinstance(problem, ConcatenateProblem):
            return _turn_concatenation if already else None
        if isinstance(problem, SoftmaxProblem):
            return _turn_softmax if already else None
        if getattr(problem, "channels_last", True) or getattr(problem, "return_indices", False):
            return None
        if len(op.outputs) != 1 or len(problem.input_shape) != rank:
            return None
        if isinstance(problem, PixelShuffleProblem) and len(problem.lead) != 1:
            return None
        if isinstance(problem, ChannelsProblem):
            return _turn_flag if already else None
        if problem.name.startswith("global_"):
            # Reductions of any rows are posed as these: on their own they turn nothing.
            return _turn_flag if already else None
        return _turn_flag if _is_of_images(problem) else None

    def _turned(self, op: Solve, problem: Any) -> None:
        rank = len(op.problem.output_shape)
        inputs = tuple(self._operand_last(v, rank) for v in op.inputs)
        (old,) = op.outputs
        new = self._fresh(last_shape(self._old.values[old].shape), self._old.values[old].dtype)
        self._ops.append(op.having(inputs=inputs, outputs=(new,), problem=problem))
        self._last[old] = new

    def _operand_last(self, operand: Operand, rank: int) -> Operand:
        if isinstance(operand, np.ndarray):
            return np.ascontiguousarray(_raised(operand, rank).transpose(_order(rank)))
        if operand is None or len(self._old.values[operand].shape) == rank:
            return None if operand is None else self._in_last(operand)
        # Fewer dimensions broadcast against the last ones.
        spec = self._old.values[operand]
        raised = self._fresh((1,) * (rank - len(spec.shape)) + tuple(spec.shape), spec.dtype)
        self._ops.append(View((self._in_first(operand),), (raised,), "", "reshape"))
        return self._transposed(raised, to_last(self._values[raised].shape))

    # Values

    def _fresh(self, shape: tuple[int, ...], dtype: Any) -> int:
        number = self._next
        self._next += 1
        self._values[number] = Spec(tuple(shape), np.dtype(dtype))
        return number

    def _in_last(self, number: int) -> int:
        if number not in self._last:
            own = self._first[number]
            self._last[number] = self._transposed(own, to_last(self._values[own].shape))
        return self._last[number]

    def _in_first(self, number: int) -> int:
        if number not in self._first:
            shape = self._old.values[number].shape
            self._first[number] = self._transposed(self._last[number], to_first(shape))
        return self._first[number]

    def _transposed(self, number: int, movement: Movement) -> int:
        return self._emit(number, movement, "", "transpose")

    def _emit(self, number: int, movement: Movement, layer: str, kind: str) -> int:
        """Add the operations of a movement; give the number of its result."""
        spec = self._values[number]
        for op, out in movement.operations(spec, layer, kind):
            new = self._fresh(out, spec.dtype)
            self._ops.append(op.having(inputs=(number,), outputs=(new,)))
            number = new
        return number

    # Movements

    def _moved(self, op: Op, movement: Movement) -> None:
        """Do a view or copy of a value whose channels are last."""
        (source,), (result,) = op.reads, op.outputs
        follower = only_reader(op, self._readers, self._kept)
        if isinstance(op, Solve) and isinstance(follower, View) and follower.start == 0:
            shape = self._old.values[follower.outputs[0]].shape
            joined = movement.reshaped(shape)
            if joined is not None:
                self._done.add(follower)
                movement, (result,) = joined, follower.outputs
        placed = movement.placed()
        if placed is None:
            own = self._in_first(source)
            self._first[result] = self._emit(own, movement, op.layer, op.kind)
            return
        turned = placed.turned()
        free = placed.is_free
        if turned is not None and not free and (turned.is_free or self._wants_last(result)):
            self._last[result] = self._emit(self._last[source], turned, op.layer, op.kind)
            return
        self._first[result] = self._emit(self._last[source], placed, op.layer, op.kind)

    def _wants_last(self, number: int) -> bool:
        """Return whether what reads a value would have its channels last."""
        agnostic = (ElementwiseProblem, FunctionProblem, ArithmeticProblem, ConcatenateProblem)
        return any(
            isinstance(op, Solve)
            and (isinstance(op.problem, agnostic) or not getattr(op.problem, "channels_last", True))
            for op in self._readers[number]
        )


def _serves(op: Solve, problem: Any) -> bool:
    """Return whether what an operation names, if it does, can serve a problem."""
    if op.algorithm is None and op.backend is None:
        return True
    try:
        choose(problem, algorithm=op.algorithm, backend=op.backend)
    except ValueError:
        return False
    return True


_IMAGES = ("global_avg_pool", "global_max_pool", "global_lp_pool", "interpolate")
_IMAGE_KINDS = (
    "conv", "max_pool", "avg_pool", "lp_pool", "weighted_pool", "adaptive", "pixel_",
)  # fmt: skip


def _order(rank: int) -> tuple[int, ...]:
    return (0, *range(2, rank), 1)


def _raised(array: Any, rank: int) -> Any:
    return array.reshape((1,) * (rank - array.ndim) + array.shape)


def _axis(axis: int, rank: int) -> int:
    return _order(rank).index(axis)


def _turn_flag(problem: Any) -> Any:
    return replaced(problem, channels_last=True)


def _turn_shape(problem: Any) -> Any:
    shape = last_shape(problem.shape)
    if isinstance(problem, PreluProblem):
        return replaced(problem, shape=shape, channels_last=True)
    return replaced(problem, shape=shape)


def _turn_arithmetic(problem: ArithmeticProblem) -> Any:
    rank = len(problem.output_shape)
    left, right = (
        last_shape((1,) * (rank - len(shape)) + shape) for shape in (problem.left, problem.right)
    )
    return replaced(problem, left=left, right=right)


def _turn_concatenation(problem: ConcatenateProblem) -> Any:
    shapes = tuple(last_shape(shape) for shape in problem.shapes)
    return replaced(problem, shapes=shapes, axis=_axis(problem.axis, len(problem.shapes[0])))


def _turn_softmax(problem: SoftmaxProblem) -> Any:
    return replaced(
        problem, shape=last_shape(problem.shape), axis=_axis(problem.axis, len(problem.shape))
    )


def _is_of_images(problem: Any) -> bool:
    return problem.name in _IMAGES or problem.name.startswith(_IMAGE_KINDS)
