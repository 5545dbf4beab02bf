"""Products of matrices: attention that is written out, operands and results in place."""

from __future__ import annotations

import dataclasses
from math import prod
from typing import Any

import numpy as np

from fastconv.network.passes.patterns import arithmetic, only_reader, with_constant
from fastconv.network.program import Op, Program, Solve, View
from fastconv.problem import (
    AttentionProblem,
    MatmulProblem,
    Shape,
    SoftmaxProblem,
    StridedProblem,
)
from fastconv.problem.matmul import Matrices
from fastconv.problem.moves import strides_of
from fastconv.problem.record import replaced

# The operands of each kind of product, in the order of its inputs.
_OPERANDS = {
    MatmulProblem: ("left", "right"),
    AttentionProblem: ("query", "key", "value", "mask"),
}


def recognise_attention(program: Program) -> Program:
    """Take scaled scores, a mask, softmax and a product for attention."""
    producers, readers, kept = program.producers(), program.readers(), program.kept()
    changes: dict[Op, list[Op]] = {}
    for op in program.ops:
        found = _Written(program, producers, readers, kept).attention(op)
        if found is not None:
            attention, replaced = found
            changes.update({each: [] for each in replaced})
            changes[op] = [attention]
    return program.replaced(changes)


@dataclasses.dataclass
class _Written:
    """Attention as it is written out, from its end on."""

    program: Program
    producers: dict[int, Op]
    readers: dict[int, list[Op]]
    kept: set[int]

    def attention(self, op: Op) -> tuple[Solve, list[Op]] | None:
        """Return the operation, and what it replaces besides its last product."""
        if not isinstance(op, Solve) or not _is_product(op) or not isinstance(op.inputs[0], int):
            return None
        last: Any = op.problem
        weights, chain = self._before(op.inputs[0], op)
        if not isinstance(weights, Solve) or not isinstance(weights.problem, SoftmaxProblem):
            return None
        softmax = weights.problem
        shape = (*last.lengths, last.rows, last.depth)
        if softmax.log or softmax.axis % len(softmax.shape) != len(softmax.shape) - 1:
            return None
        if last.scale != 1 or last.left != Matrices.of(shape, last.lengths):
            return None
        if last.left.shape != shape or softmax.dtype != last.dtype:
            return None
        chain.append(weights)
        scale, mask = 1.0, None
        scores, more = self._before(weights.inputs[0], weights)
        while isinstance(scores, Solve) and not _is_product(scores):
            step = self._scaled(scores)
            if step is not None:
                number, value = step
                scale *= number
            # What is scaled after its mask has a scaled mask: that is not attention's.
            elif mask is None and scale == 1 and arithmetic(scores, "add") is not None:
                found = self._masked(scores, shape)
                if found is None:
                    return None
                value, mask = found
            else:
                return None
            if getattr(scores.problem, "activation", None) is not None:
                return None
            chain += [*more, scores]
            scores, more = self._before(value, scores)
        if not isinstance(scores, Solve) or not _is_product(scores):
            return None
        first: Any = scores.problem
        if first.output != shape or first.lengths != last.lengths or first.dtype != last.dtype:
            return None
        if first.columns != last.depth or first.target != strides_of(shape)[:-1]:
            return None
        chain += [*more, scores]
        masked = None
        if mask is not None:
            given = tuple(mask.shape if isinstance(mask, np.ndarray) else
                          self.program.values[mask].shape)  # fmt: skip
            masked = _mask(given, last.lengths)
        problem = AttentionProblem(
            last.dtype, last.lengths, last.rows, last.depth, first.depth, last.columns, first.left,
            first.right.transposed(), last.right, masked, last.output, last.target,
            first.scale * scale, None, False,
        )  # fmt: skip
        inputs = (*scores.inputs, op.inputs[1], *([] if mask is None else [mask]))
        fused = tuple(each.label for each in chain if isinstance(each, Solve))
        return Solve(inputs, op.outputs, op.layer, op.kind, problem, fused=(*op.fused, *fused)), [
            *chain
        ]

    def _before(self, value: Any, reader: Op) -> tuple[Op | None, list[Op]]:
        """Return what only this reader's value comes from, and the views between."""
        views: list[Op] = []
        op = self.producers.get(value) if isinstance(value, int) else None
        if op is None or only_reader(op, self.readers, self.kept) is not reader:
            return None, views
        return op, views

    def _scaled(self, op: Solve) -> tuple[float, int] | None:
        """Return the number that an operation multiplies by, and of which value."""
        found = arithmetic(op, "multiply", "divide")
        pair = None if found is None else with_constant(found)
        if found is None or pair is None or np.size(pair[1]) != 1:
            return None
        problem: Any = found.problem
        value, number = pair[0], float(np.asarray(pair[1]).reshape(-1)[0])
        if problem.output_shape != tuple(self.program.values[value].shape):
            return None
        if problem.function == "divide":
            if found.inputs[0] != value or number == 0:
                return None
            return 1 / number, value
        return number, value

    def _masked(self, op: Solve, shape: Shape) -> tuple[int, Any] | None:
        """Return the scores and what is added to them."""
        problem: Any = op.problem
        sides = list(zip(op.inputs, (problem.left, problem.right), strict=True))
        for (scores, own), (mask, other) in (sides, sides[::-1]):
            if not isinstance(scores, int) or own != shape or problem.output_shape != shape:
                continue
            product = self.producers.get(scores)
            if product is None or only_reader(product, self.readers, self.kept) is not op:
                continue
            if len(other) <= len(shape) and (other or np.size(mask) == 1):
                return scores, mask
        return None


def _is_product(op: Op | None) -> bool:
    return isinstance(op, Solve) and isinstance(op.problem, MatmulProblem)


def _mask(shape: Shape, lengths: Shape) -> Matrices:
    """Describe what is added to scores of these batch axes."""
    whole = (*(1,) * (2 - len(shape)), *shape)
    found = Matrices.of(whole, lengths)
    ends = zip(whole[-2:], found.steps[-2:], strict=True)
    return Matrices(whole, 0, (*found.steps[:-2], *(0 if n == 1 else s for n, s in ends)))


def read_in_place(program: Program) -> Program:
    """Let products read operands where they were before they were transposed."""
    producers = program.producers()
    changes: dict[Op, list[Op]] = {}
    for op in program.ops:
        names = _OPERANDS.get(type(op.problem)) if isinstance(op, Solve) else None
        if names is None or not isinstance(op, Solve):
            continue
        inputs, problem = list(op.inputs), op.problem
        for place, name in enumerate(names[: len(inputs)]):
            matrices, value = getattr(problem, name), inputs[place]
            lengths = (*problem.lengths, *_ends(problem, name))  # type: ignore[attr-defined]
            while isinstance(value, int):
                source = producers.get(value)
                moved = _moved(program, source, matrices, lengths)
                if source is None or moved is None or not isinstance(source.inputs[0], int):
                    break
                matrices, value = moved, source.inputs[0]
            if name == "mask" and matrices.steps[-1] not in (0, 1):
                continue
            inputs[place] = value
            problem = replaced(problem, **{name: matrices})
        if problem is not op.problem and tuple(inputs) != op.inputs:
            changes[op] = [op.having(inputs=tuple(inputs), problem=problem)]
    return program.replaced(changes)


def _ends(problem: Any, name: str) -> tuple[int, int]:
    """Return the rows and columns of an operand."""
    if isinstance(problem, MatmulProblem):
        left = (problem.rows, problem.depth)
        return left if name == "left" else (problem.depth, problem.columns)
    return {
        "query": (problem.queries, problem.width),
        "key": (problem.keys, problem.width),
        "value": (problem.keys, problem.value_width),
        "mask": (problem.queries, problem.keys),
    }[name]


def _moved(
    program: Program, source: Op | None, matrices: Matrices, lengths: Shape
) -> Matrices | None:
    """Return matrices of what a view, or a copy of one, is of."""
    if source is None or not source.reads or prod(lengths) == 0:
        return None
    shape = tuple(program.values[source.reads[0]].shape)
    if isinstance(source, View):
        return Matrices(shape, matrices.start + source.start, matrices.steps)
    if isinstance(source, Solve) and isinstance(source.problem, StridedProblem):
        return matrices.of_view(shape, source.problem, lengths)
    return None


def write_in_place(program: Program) -> Program:
    """Let products store their results where they are transposed to."""
    producers, readers, kept = program.producers(), program.readers(), program.kept()
    changes: dict[Op, list[Op]] = {}
    for op in program.ops:
        view = op.problem if isinstance(op, Solve) else None
        if not isinstance(view, StridedProblem) or not isinstance(op.inputs[0], int):
            continue
        source = producers.get(op.inputs[0])
        before: list[Op] = []
        reader: Op = op
        while isinstance(source, View) and source.start == 0 and source.reads:
            if only_reader(source, readers, kept) is not reader:
                break
            before.append(source)
            reader, source = source, producers.get(source.reads[0])
        if not isinstance(source, Solve) or type(source.problem) not in _OPERANDS:
            continue
        if source in changes or only_reader(source, readers, kept) is not reader:
            continue
        target = _target(source.problem, view)
        if target is None:
            continue
        changes |= {each: [] for each in before}
        problem: Any = replaced(source.problem, output=view.view, target=target)
        changes[source] = []
        changes[op] = [source.having(outputs=op.outputs, problem=problem, fused=source.taking(op))]
    return program.replaced(changes)


def _target(problem: Any, view: StridedProblem) -> tuple[int, ...] | None:
    """Return where results are stored so that a permuted copy of them need not be made."""
    if view.start or prod(view.view) != prod(problem.output) or 0 in view.view:
        return None
    lengths = (*problem.lengths, *_ends(problem, "query" if isinstance(problem, AttentionProblem)
               else "left")[:1])  # fmt: skip
    columns = problem.value_width if isinstance(problem, AttentionProblem) else problem.columns
    after = strides_of(view.view)
    axes = {step: i for i, step in enumerate(view.steps) if view.view[i] > 1}
    if len(axes) < sum(n > 1 for n in view.view):
        return None
    target = []
    for length, step in zip((*lengths, columns), (*problem.target, 1), strict=True):
        if length == 1:
            target.append(0)
            continue
        axis = axes.get(step)
        if axis is None or view.view[axis] != length:
            return None
        target.append(after[axis])
    if columns > 1 and target[-1] != 1:
        return None
    return tuple(target[:-1])
