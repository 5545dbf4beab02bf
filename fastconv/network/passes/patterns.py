"""What passes look for: an operation and the one behind it, constants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastconv.network.program import Op, Program, Solve
from fastconv.problem import ArithmeticProblem


def pairs(program: Program) -> Iterator[tuple[Solve, Solve]]:
    """Yield each problem whose result is read by one other problem alone, and that one.

    The result is the reader's first value, and no output.
    """
    producers, readers, kept = program.producers(), program.readers(), program.kept()
    for op in program.ops:
        if not isinstance(op, Solve) or not op.reads:
            continue
        first = producers.get(op.reads[0])
        if isinstance(first, Solve) and only_reader(first, readers, kept) is op:
            yield first, op


def join_pairs(program: Program, joined: Callable[[Solve, Solve], Solve | None]) -> Program:
    """Replace each of the `pairs` that can be by the one operation ``joined`` gives, until none is.

    All pairs that share no operation are replaced at once: going through a program takes longer
    than a change.
    """
    while True:
        changes: dict[Op, list[Op]] = {}
        for first, second in pairs(program):
            if first not in changes and second not in changes:
                made = joined(first, second)
                if made is not None:
                    changes[first], changes[second] = [], [made]
        if not changes:
            return program
        program = program.replaced(changes)


def only_reader(op: Op, readers: dict[int, list[Op]], kept: set[int]) -> Op | None:
    """Return the one operation that reads the one result of another, once; else None."""
    if len(op.outputs) != 1 or op.outputs[0] in kept:
        return None
    found = readers[op.outputs[0]]
    return found[0] if len(found) == 1 else None


def arithmetic(op: Op | None, *functions: str) -> Solve | None:
    """Return the operation where it is one of these functions of two arrays."""
    if isinstance(op, Solve) and isinstance(op.problem, ArithmeticProblem):
        return op if op.problem.function in functions else None
    return None


def with_constant(op: Solve) -> tuple[int, Any] | None:
    """Return the value and the constant that arithmetic is of, in this order; None: two values."""
    left, right = op.inputs
    if isinstance(left, int) and isinstance(right, np.ndarray):
        return left, right
    if isinstance(right, int) and isinstance(left, np.ndarray):
        return right, left
    return None
