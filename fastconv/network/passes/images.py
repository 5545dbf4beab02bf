"""Batches image by image: what an image's first layers leave between them stays in the caches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np

from fastconv.machine import get_machine
from fastconv.network.program import Images, Op, Operand, Portion, Program, Solve, View
from fastconv.problem import (
    ArithmeticProblem,
    AttentionProblem,
    ConcatenateProblem,
    ElementwiseProblem,
    FunctionProblem,
    LayerNormProblem,
    MatmulProblem,
    PadProblem,
    PixelShuffleProblem,
    PreluProblem,
    Problem,
    Shape,
    SoftmaxProblem,
    StridedProblem,
)
from fastconv.problem.record import replaced
from fastconv.problem.remember import Spec

# What is done at a time may take this part of a core's second cache.
ROOM = 2


def by_images(program: Program) -> Program:
    """Do the first operations for some images at a time, where a batch does not fit the caches.

    Each operation reads and writes its images' cells and all of its weights. For the whole batch
    cells come from far and weights count once; for some images at a time weights come from far.
    The first operations have many cells, the last many weights: there is one place at most where
    the program goes over to the whole batch.
    """
    batch = _batch(program)
    if batch < 2:
        return program
    ops = _independent(program, batch)
    each = _at_a_time(program, ops, batch)
    if each >= batch:
        return program
    ops = ops[: _place(program, ops, batch, each)]
    return program if len(ops) < 2 else _Split(program, ops, batch, each).program()


def _batch(program: Program) -> int:
    """Return how many images the inputs have, all alike; 0: they do not agree."""
    lengths = {_length(program.values[number].shape) for number in program.inputs}
    return lengths.pop() if len(lengths) == 1 else 0


def _length(shape: Shape) -> int:
    return shape[0] if shape else 0


def _at_a_time(program: Program, ops: list[Op], batch: int) -> int:
    """Return how many images' cells fit, of the operation that has the most."""
    most = max((_cells(program, op) // batch for op in ops), default=0)
    return max(1, get_machine().l2_bytes // (ROOM * max(1, most)))


def _place(program: Program, ops: list[Op], batch: int, each: int) -> int:
    """Return how many of the operations are done for ``each`` images at a time."""
    gains = [0, *accumulate(_cells(program, op) // batch - _weights(op) // each for op in ops)]
    place = gains.index(max(gains))
    # Nothing is read from between views.
    while place and isinstance(ops[place - 1], View):
        place -= 1
    return place


def _cells(program: Program, op: Op) -> int:
    """Return the bytes of the batch's cells that an operation reads and writes."""
    if isinstance(op, View):
        return 0
    return sum(program.nbytes(number) for number in (*op.reads, *op.outputs))


def _weights(op: Op) -> int:
    return op.problem.parameter_bytes if isinstance(op, Solve) else 0


def _independent(program: Program, batch: int) -> list[Op]:
    """Return the operations up to the first that is not each image's own."""
    found: list[Op] = []
    for op in program.ops:
        shapes = [program.values[number].shape for number in (*op.reads, *op.outputs)]
        if any(_length(shape) != batch for shape in shapes) or not _is_aligned(op, shapes):
            break
        if _some(op, 1, batch) is None:
            break
        found.append(op)
    return found


def _is_aligned(op: Op, shapes: list[Shape]) -> bool:
    """Return whether arrays that are broadcast have their batch in one dimension."""
    if not isinstance(op, Solve) or not isinstance(op.problem, ArithmeticProblem):
        return True
    return len({len(shape) for shape in shapes}) == 1


def _some(op: Op, count: int, batch: int) -> Op | None:
    """Return an operation for ``count`` images of a batch; None: its images are not apart."""
    if isinstance(op, View):
        return op if op.start == 0 else None
    if not isinstance(op, Solve) or not all(map(_fits, op.inputs, [op.problem] * len(op.inputs))):
        return None
    posed = _OF_IMAGES.get(type(op.problem), _of_batch)(op.problem, count, batch)
    return None if posed is None else op.having(problem=posed)


def _fits(operand: Operand, problem: Problem) -> bool:
    """Return whether an operand that never changes is the same for every image."""
    if not isinstance(operand, np.ndarray):
        return True
    rank = len(problem.output_shape)
    return operand.ndim < rank or (operand.ndim == rank and operand.shape[0] == 1)


# Problems of some images


def _of_batch(problem: Any, count: int, batch: int) -> Problem | None:
    """Rows of a batch, some to an image."""
    rows = getattr(problem, "batch", 0)
    if rows == 0 or rows % batch:
        return None
    return replaced(problem, batch=rows // batch * count)  # type: ignore[no-any-return]


def _of_shape(problem: Any, count: int, batch: int) -> Problem | None:
    if _length(problem.shape) != batch:
        return None
    return replaced(problem, shape=(count, *problem.shape[1:]))  # type: ignore[no-any-return]


def _of_softmax(problem: SoftmaxProblem, count: int, batch: int) -> Problem | None:
    return None if problem.axis == 0 else _of_shape(problem, count, batch)


def _of_pad(problem: PadProblem, count: int, batch: int) -> Problem | None:
    return None if any(problem.pads[0]) else _of_shape(problem, count, batch)


def _of_layer_norm(problem: LayerNormProblem, count: int, batch: int) -> Problem | None:
    whole = len(problem.normalized_shape) == len(problem.shape)
    return None if whole else _of_shape(problem, count, batch)


def _of_shuffle(problem: PixelShuffleProblem, count: int, batch: int) -> Problem | None:
    if _length(problem.lead) != batch:
        return None
    return replaced(problem, lead=(count, *problem.lead[1:]))


def _of_arithmetic(problem: ArithmeticProblem, count: int, batch: int) -> Problem | None:
    rank = len(problem.output_shape)
    sides = []
    for shape in (problem.left, problem.right):
        if len(shape) == rank and shape[0] not in (1, batch):
            return None
        own = len(shape) == rank and shape[0] == batch
        sides.append((count, *shape[1:]) if own else shape)
    return replaced(problem, left=sides[0], right=sides[1])


def _of_concatenation(problem: ConcatenateProblem, count: int, batch: int) -> Problem | None:
    if problem.axis == 0 or any(_length(shape) != batch for shape in problem.shapes):
        return None
    shapes = tuple((count, *shape[1:]) for shape in problem.shapes)
    return replaced(problem, shapes=shapes)


def _of_view(problem: StridedProblem, count: int, batch: int) -> Problem | None:
    """Take a view where each image of the result shows cells of the same image alone."""
    cells = prod(problem.shape[1:])
    if _length(problem.shape) != batch or problem.view[0] != batch or problem.steps[0] != cells:
        return None
    pairs = zip(problem.view[1:], problem.steps[1:], strict=True)
    reach = [(length - 1) * step for length, step in pairs]
    lowest = problem.start + sum(min(0, each) for each in reach)
    highest = problem.start + sum(max(0, each) for each in reach)
    if lowest < 0 or highest >= cells:
        return None
    shape, view = (count, *problem.shape[1:]), (count, *problem.view[1:])
    return replaced(problem, shape=shape, view=view)


def _of_products(problem: Any, count: int, batch: int) -> Problem | None:
    """Take products whose first batch axis is the images of all of their inputs."""
    names = (
        ("left", "right")
        if isinstance(problem, MatmulProblem)
        else ("query", "key", "value", "mask")
    )
    changed: dict[str, Any] = {}
    for name in names:
        matrices = getattr(problem, name)
        if matrices is None:
            continue
        cells = prod(matrices.shape[1:])
        if _length(matrices.shape) != batch or matrices.start >= cells:
            return None
        if not problem.lengths or matrices.steps[0] != cells:
            return None
        changed[name] = replaced(matrices, shape=(count, *matrices.shape[1:]))
    whole = prod(problem.output[1:])
    if _length(problem.output) != batch or _length(problem.lengths) != batch:
        return None
    if problem.target[0] != whole:
        return None
    changed["lengths"] = (count, *problem.lengths[1:])
    changed["output"] = (count, *problem.output[1:])
    return replaced(problem, **changed)  # type: ignore[no-any-return]


_OF_IMAGES: dict[type, Callable[[Any, int, int], Problem | None]] = {
    ElementwiseProblem: _of_shape,
    FunctionProblem: _of_shape,
    PreluProblem: _of_shape,
    SoftmaxProblem: _of_softmax,
    PadProblem: _of_pad,
    LayerNormProblem: _of_layer_norm,
    PixelShuffleProblem: _of_shuffle,
    ArithmeticProblem: _of_arithmetic,
    AttentionProblem: _of_products,
    MatmulProblem: _of_products,
    ConcatenateProblem: _of_concatenation,
    StridedProblem: _of_view,
}


class _Split:
    """Makes one operation of the first ones; what is read of it later is its result."""

    def __init__(self, program: Program, ops: list[Op], batch: int, each: int) -> None:
        self._program, self._ops = program, ops
        self._batch, self._each = batch, each
        self._views = {op.outputs[0]: op for op in ops if isinstance(op, View)}
        self._again: list[Op] = []

    def program(self) -> Program:
        rest = self._program.ops[len(self._ops) :]
        made = {number for op in self._ops for number in op.outputs}
        wanted = self._program.kept().union(*(op.reads for op in rest))
        results = sorted({self._source(number) for number in sorted(wanted & made)} & made)
        first = Images(
            self._program.inputs, tuple(results), "", "images",
            portions=self._portions(tuple(results)), replaced=tuple(self._ops),
        )  # fmt: skip
        return dataclasses.replace(self._program, ops=(first, *self._again, *rest))

    def _source(self, number: int) -> int:
        """Return the value that a view is of; the view is done later, of the whole batch."""
        view = self._views.get(number)
        if view is None:
            return number
        source = self._source(view.reads[0])
        if view not in self._again:
            self._again.append(view)
        return source

    def _portions(self, results: tuple[int, ...]) -> tuple[Portion, ...]:
        count, rest = divmod(self._batch, self._each)
        portions = [Portion(self._of(self._each, results), 0, count)]
        if rest:
            portions.append(Portion(self._of(rest, results), count * self._each, 1))
        return tuple(portions)

    def _of(self, count: int, results: tuple[int, ...]) -> Program:
        """Return the program of some images."""
        ops = tuple(_some(op, count, self._batch) for op in self._ops)
        used = {number for op in self._ops for number in (*op.reads, *op.outputs)}
        values = {
            number: Spec((count, *spec.shape[1:]), spec.dtype)
            for number, spec in self._program.values.items()
            if number in used or number in self._program.inputs
        }
        return Program(
            values, tuple(op for op in ops if op is not None), self._program.inputs, results
        )
