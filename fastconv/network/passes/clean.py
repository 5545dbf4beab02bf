"""Operations that nobody needs, and concatenations of concatenations."""

from __future__ import annotations

import dataclasses

from fastconv.network.program import Op, Program, Solve, View
from fastconv.problem import ConcatenateProblem, StridedProblem


def remove_dead(program: Program) -> Program:
    """Take out operations whose results no output hangs on."""
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
            changes[op] = [dataclasses.replace(op, inputs=inputs, start=op.start + source.start)]
        elif isinstance(op, Solve) and isinstance(op.problem, StridedProblem):
            shape = tuple(program.values[inputs[0]].shape)
            start = op.problem.start + source.start
            problem = dataclasses.replace(op.problem, shape=shape, start=start)
            changes[op] = [dataclasses.replace(op, inputs=inputs, problem=problem)]
    return program.replaced(changes)


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
                shapes = (program.values[found].shape, *op.problem.shapes[count:])
                problem = dataclasses.replace(op.problem, shapes=shapes)
                new = dataclasses.replace(op, inputs=(found, *parts[count:]), problem=problem)
                changes[op] = [new]
                break
        earlier[axis, parts] = new.outputs[0]
    return program.replaced(changes)
