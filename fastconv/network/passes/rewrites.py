"""Passes that look at no size: run once for a program, and done again for the same of other sizes.

They look at how operations are joined, at what is fixed in a problem, at constants of a number
or of one for each channel, and at which lengths are equal of what an operation reads and makes,
and of what those before it read. Where all of that is the same for a program of other sizes, they
would make the same of it: it is told from the two programs, and what they made is filled with the
other problems. (Equal lengths in other places say nothing: among a network's hundreds of lengths
some are equal by chance at every other size.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from math import prod
from operator import attrgetter
from typing import Any

import numpy as np

from fastconv import forks
from fastconv.network.program import Call, Op, Program, Solve, View
from fastconv.problem import (
    AttentionProblem,
    DeformProblem,
    GridSampleProblem,
    MatmulProblem,
    NonMaxSuppressionProblem,
    Problem,
    RoiAlignProblem,
)
from fastconv.problem.remember import Spec

# Fields of problems that are sizes, or follow from the shapes of values. No pass that runs once
# looks at them; shapes of values are compared by which of their lengths are equal.
SIZES = frozenset(
    ("batch", "channels", "input_size", "output_size", "image_size", "size", "shape", "shapes",
     "left", "right", "lead", "view", "start", "steps")
)  # fmt: skip
# Those of some problems, whose names are not sizes elsewhere.
OWN_SIZES: dict[type, frozenset[str]] = {
    MatmulProblem: frozenset(("lengths", "rows", "depth", "columns", "output", "target")),
    AttentionProblem: frozenset(
        ("lengths", "queries", "keys", "query", "key", "value", "mask", "output", "target")
    ),
    NonMaxSuppressionProblem: frozenset(("images", "classes", "boxes")),
    RoiAlignProblem: frozenset(("image", "regions")),
    GridSampleProblem: frozenset(("image", "out")),
    DeformProblem: frozenset(("image", "out")),
}
# How many structures are kept for a network: sizes that are equal by chance make others.
KEPT = 16
Run = Callable[[Program], tuple[Program, list[Any]]]


class Rewrites:
    """What passes made of the programs of a network, one for each structure."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = forks.lock()
        self._kept: list[Rewritten] = []

    def of(self, program: Program) -> tuple[Program, Rewritten]:
        """Return what the passes make of a program; they run where its structure is new."""
        structure = Structure(program)
        with self._lock:
            known = list(self._kept)
        for rewritten in known:
            if rewritten.structure.is_of(structure):
                return rewritten.again(program), rewritten
        made = Rewritten(structure, self._run)
        with self._lock:
            self._kept = [made, *self._kept[: KEPT - 1]]
        return made.result, made


class Structure:
    """All of a program that passes look at besides sizes, and the lengths that they compare."""

    def __init__(self, program: Program) -> None:
        self.program = program
        specs = program.values
        shapes = {number: tuple(spec[0]) for number, spec in specs.items()}
        # What the operation that gives a value reads.
        before: dict[int, tuple[int, ...]] = {}
        # For each operation, the lengths that passes may compare.
        lengths: list[tuple[int, ...]] = []
        fixed: list[Any] = [
            *specs, *[len(spec[0]) for spec in specs.values()],
            *[spec[1] for spec in specs.values()], program.inputs,
            *[v if isinstance(v, int) else None for v in program.outputs],
        ]  # fmt: skip
        for op in program.ops:
            near: list[int] = []
            fixed += (type(op), op.layer, op.kind, op.outputs, len(op.inputs))
            if isinstance(op, Solve):
                problem = op.problem
                fixed += (type(problem), _fixed(problem), op.algorithm, op.backend)
                held = op.parameters
                fixed.append(tuple(map(id, held)) if isinstance(held, tuple) else op)
            elif isinstance(op, View):
                (source,), (result,) = op.inputs, op.outputs
                whole = op.start == 0 and prod(specs[source][0]) == prod(specs[result][0])
                fixed += (op.start == 0, whole)
            else:
                fixed += (op.key,) if isinstance(op, Call) else (op,)
            for value in op.inputs:
                if isinstance(value, np.ndarray):
                    fixed.append((value.dtype, value.ndim, _content(value)))
                    near += value.shape
                else:
                    fixed.append(value)
                    if value is not None:
                        near += shapes[value]
            read = tuple(near)
            for value in op.reads:
                near += before.get(value, ())
            for value in op.outputs:
                near += shapes[value]
                before[value] = read
            lengths.append(tuple(near))
        self.fixed, self.lengths = fixed, lengths

    def is_of(self, other: Structure) -> bool:
        """Return whether another program differs in sizes alone, equal ones here equal there."""
        if self.fixed != other.fixed:
            return False
        near = set(zip(self.lengths, other.lengths, strict=True))
        return all(len(a) == len(b) and _are_equal_alike(a, b) for a, b in near)


def _are_equal_alike(some: tuple[int, ...], others: tuple[int, ...]) -> bool:
    """Return whether lengths are equal to one another, to 0 and to 1 where others are."""
    pairs = {(0, 0), (1, 1), *zip(some, others, strict=True)}
    return len({a for a, _ in pairs}) == len(pairs) == len({b for _, b in pairs})


def _content(value: Any) -> bytes | None:
    """Return the bytes of a constant that passes may look into: all but one length are 1."""
    return value.tobytes() if max(value.shape, default=1) == value.size else None


_getters: dict[type, Any] = {}


def _fixed(problem: Problem) -> Any:
    kind = type(problem)
    getter = _getters.get(kind)
    if getter is None:
        sizes = SIZES | OWN_SIZES.get(kind, frozenset())
        names = [f.name for f in dataclasses.fields(problem) if f.name not in sizes]
        getter = _getters[kind] = attrgetter(*names)
    return getter(problem)


class Rewritten:
    """What passes made of one program."""

    def __init__(self, structure: Structure, run: Run) -> None:
        self.structure = structure
        self.result, self.reports = run(structure.program)
        places = {op: place for place, op in enumerate(structure.program.ops)}
        self._places = places
        # For each operation of the result, its place before, where no pass changed it.
        self._same = [places.get(op) for op in self.result.ops]
        self._arrays = {
            id(value): (place, i)
            for op, place in places.items()
            for i, value in enumerate(op.inputs)
            if isinstance(value, np.ndarray)
        }

    def again(self, program: Program) -> Program:
        """Return what the passes make of another program of the same structure."""
        ops, result = program.ops, self.result
        values: dict[int, Spec] = dict(program.values)
        for number, source in result.like.items():
            values[number] = values[source]
        problems: dict[int, Problem] = {}

        def problem_of(op: Solve) -> Problem:
            found = problems.get(id(op))
            if found is None:
                if op.derived is None:
                    found = ops[self._places[op]].problem  # type: ignore[attr-defined]
                else:
                    found = op.derived.change(values, *map(problem_of, op.derived.ops))
                problems[id(op)] = found
            return found

        def operand(value: Any) -> Any:
            if not isinstance(value, np.ndarray):
                return value
            place, i = self._arrays[id(value)]
            return ops[place].inputs[i]

        made: list[Op] = []
        for op, place in zip(result.ops, self._same, strict=True):
            if place is not None:
                made.append(ops[place])
            elif isinstance(op, Solve):
                inputs = tuple(map(operand, op.inputs))
                made.append(op.posed_as(problem_of(op), inputs))
            else:
                made.append(op)
        outputs = _outputs(result.outputs, program.outputs)
        return Program(
            {number: values[number] for number in result.values}, tuple(made), program.inputs,
            outputs, result.like,
        )  # fmt: skip


def _outputs(old: Sequence[Any], new: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(a if isinstance(a, int) else b for a, b in zip(old, new, strict=True))
