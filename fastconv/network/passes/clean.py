"""Unused operations, and concatenations of concatenations."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from fastconv.network.passes.patterns import only_reader
from fastconv.network.program import Op, Program, Solve, View
from fastconv.problem import (
    ArithmeticProblem,
    ConcatenateProblem,
    ElementwiseProblem,
    FunctionProblem,
    Problem,
    StridedProblem,
)
from fastconv.problem.record import replaced
from fastconv.problem.remember import Spec


def remove_dead(program: Program) -> Program:
    """Take out operations whose results no output depends on."""
    needed = program.kept()
    ops: list[Op] = []
    for op in reversed(program.ops):
        if needed.intersection(op.outputs):
            ops.append(op)
            needed.update(op.reads)
    values = {n: spec for n, spec in program.values.items() if n in needed | set(program.inputs)}
    for op in ops:
        values.update({n: program.values[n] for n in op.outputs})
    return dataclasses.replace(program, ops=tuple(reversed(ops)), values=values)


def lift_over_views(program: Program) -> Program:
    """Do what works element by element before a view, so that it may end what gave the elements."""
    values, like = dict(program.values), dict(program.like)
    producers, readers, kept = program.producers(), program.readers(), program.kept()
    changes: dict[Op, list[Op]] = {}
    for op in program.ops:
        view = producers.get(op.reads[0]) if len(op.reads) == 1 else None
        if not isinstance(op, Solve) or not isinstance(view, View) or view in changes:
            continue
        if only_reader(view, readers, kept) is not op or not isinstance(view.inputs[0], int):
            continue
        source = values[view.inputs[0]]
        whole = view.start == 0 and prod(source.shape) == prod(op.problem.input_shape)
        if not whole or not _fits(op, tuple(source.shape)):
            continue
        number = max(values) + 1
        values[number], like[number] = Spec(tuple(source.shape), source.dtype), view.inputs[0]
        inputs = tuple(view.inputs[0] if isinstance(v, int) else v for v in op.inputs)
        over = functools.partial(_over, source=view.inputs[0])
        lifted = op.changed(over, values, inputs=inputs, outputs=(number,))
        changes[view] = []
        changes[op] = [lifted, view.having(inputs=(number,), outputs=op.outputs)]
    return dataclasses.replace(program.replaced(changes), values=values, like=like)


def _fits(op: Solve, shape: tuple[int, ...]) -> bool:
    """Return whether an operation does the same to the same elements in another shape."""
    problem = op.problem
    if not isinstance(problem, ArithmeticProblem):
        return isinstance(problem, (ElementwiseProblem, FunctionProblem))
    # A number, or one for each of the last dimension's elements.
    same = problem.right in ((), (1,)) or problem.right == shape[-1:] == problem.left[-1:]
    constant = isinstance(op.inputs[1], np.ndarray)
    return same and constant and problem.output_shape == problem.left


def _over(values: Mapping[int, Spec], problem: Any, *, source: int) -> Problem:
    """Return an operation's problem over the same elements in the shape of a value."""
    shape = tuple(values[source].shape)
    if isinstance(problem, (ElementwiseProblem, FunctionProblem)):
        return replaced(problem, shape=shape)
    found: Problem = replaced(problem, left=shape)
    return found


def merge_views(program: Program) -> Program:
    """Let views and copies of a view start from what the view is of."""
    producers = program.producers()
    changes: dict[Op, list[Op]] = {}
    for op in program.ops:
        source = producers.get(op.reads[0]) if op.reads else None
        if source is not None and source in changes:
            (source,) = changes[source]
        if not isinstance(source, View) or not isinstance(source.inputs[0], int):
            continue
        inputs = source.inputs
        if isinstance(op, View):
            changes[op] = [op.having(inputs=inputs, start=op.start + source.start)]
        elif isinstance(op, Solve) and isinstance(op.problem, StridedProblem):
            shape = tuple(program.values[inputs[0]].shape)
            start = op.problem.start + source.start
            problem = replaced(op.problem, shape=shape, start=start)
            changes[op] = [op.having(inputs=inputs, problem=problem)]
    return program.replaced(changes)


def _after(values: Mapping[int, Spec], problem: Any, *, first: int, count: int) -> Problem:
    """Return a concatenation's problem with one value instead of the first ``count`` parts."""
    shapes = (tuple(values[first].shape), *problem.shapes[count:])
    found: Problem = replaced(problem, shapes=shapes)
    return found


def join_concatenations(program: Program) -> Program:
    """Let a concatenation that begins with the parts of an earlier one begin with its result.

    Dense blocks are written as concatenations of all that went before; so each needs to move but
    what is new, and with a batch of one not even that.
    """
    earlier: dict[tuple[int, tuple[object, ...]], int] = {}
    changes: dict[Op, list[Op]] = {}
    for op in program.ops:
        if not isinstance(op, Solve) or not isinstance(op.problem, ConcatenateProblem):
            continue
        axis, parts = op.problem.axis, op.inputs
        if not all(isinstance(part, int) for part in parts):
            continue
        new: Op = op
        for count in range(len(parts) - 1, 1, -1):
            found = earlier.get((axis, parts[:count]))
            if found is not None:
                after = functools.partial(_after, first=found, count=count)
                new = op.changed(after, program.values, inputs=(found, *parts[count:]))
                changes[op] = [new]
                break
        earlier[axis, parts] = new.outputs[0]
    return program.replaced(changes)
