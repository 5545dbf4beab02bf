"""Activations that are written out in arithmetic, recognised by the numbers that they give."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

from fastconv.network.passes.agreement import Chain, named
from fastconv.network.program import Call, Derived, Op, Program, Solve
from fastconv.problem import (
    Activation,
    ArithmeticProblem,
    ElementwiseProblem,
    FunctionProblem,
    Shape,
)
from fastconv.problem.remember import Spec

_EACH = (ArithmeticProblem, ElementwiseProblem, FunctionProblem)
# Between the points these may be anything.
_STEPS = ("ceil", "floor", "rint")
# An activation is written in some five operations; the error function is some twenty of its own.
_MOST = 48


def recognise_activations(program: Program) -> Program:
    """Turn arithmetic on one value and numbers that gives what an activation gives into that.

    However it is written: `agreement` computes both at points between which arithmetic of few
    operations does not bend, and asks that they agree relative to the size of each result.
    """
    producers, readers, kept = program.producers(), program.readers(), program.kept()
    places = {op: place for place, op in enumerate(program.ops)}
    changes: dict[Op, list[Op]] = {}
    taken: set[Op] = set()
    for op in reversed(program.ops):
        if op in taken or not _is_pointwise(op, program, None):
            continue
        found = _recognised(op, program, producers, places)
        if found is None:
            continue
        source, activation, ops = found
        change = functools.partial(_activated, source=source, activation=activation)
        fused = dict.fromkeys(n for each in reversed(ops) for n in (each.label, *each.fused))
        fused.pop(op.label, None)
        changes[op] = [
            Solve(
                (source,),
                op.outputs,
                op.layer,
                op.kind,
                change(program.values),
                fused=tuple(fused),
                derived=Derived(change),
            )
        ]
        for each in reversed(ops):
            if all(reader in taken or reader is op for reader in readers[each.outputs[0]]):
                taken.update([each] if each is not op and each.outputs[0] not in kept else [])
    return program.replaced(changes)


def _activated(
    values: Mapping[int, Spec], *, source: int, activation: Activation
) -> ElementwiseProblem:
    spec = values[source]
    return ElementwiseProblem(spec.dtype, tuple(spec.shape), activation)


def _recognised(
    root: Op, program: Program, producers: Mapping[int, Op], places: Mapping[Op, int]
) -> tuple[int, Activation, list[Op]] | None:
    """Return the value, the activation and the operations of the most that is an activation."""
    best = None
    spec = program.values[root.outputs[0]]
    for source, ops in _spans(root, program, producers, places):
        own = program.values[source]
        alone = len(ops) == 1 and isinstance(root, Solve)
        if (own.shape, own.dtype) != (spec.shape, spec.dtype):
            continue
        if alone and isinstance(root.problem, ElementwiseProblem):  # type: ignore[attr-defined]
            continue
        activation = named(Chain(source, ops, spec.dtype))
        if activation is not None:
            best = source, activation, ops
    return best


def _spans(
    root: Op, program: Program, producers: Mapping[int, Op], places: Mapping[Op, int]
) -> Iterator[tuple[int, list[Op]]]:
    """Yield each value that an operation depends on alone, and the operations between, in order."""
    shape = tuple(program.values[root.outputs[0]].shape)
    ops, read = [root], set(root.reads)
    while len(ops) <= _MOST:
        if len(read) == 1:
            yield next(iter(read)), ops[::-1]
        made = [producers[value] for value in read if value in producers]
        latest = max(made, key=places.__getitem__, default=None)
        if latest is None or not _is_pointwise(latest, program, shape):
            return
        ops.append(latest)
        read = (read - set(latest.outputs)) | set(latest.reads)


def _is_pointwise(op: Op, program: Program, shape: Shape | None) -> bool:
    """Return whether each result cell of an operation depends on one cell of each value read."""
    spec = program.values[op.outputs[0]]
    if shape is None:
        if spec.dtype.name not in ("float32", "float64"):
            return False
    elif tuple(spec.shape) != shape:
        return False
    if isinstance(op, Solve) and isinstance(op.problem, _EACH):
        if isinstance(op.problem, FunctionProblem) and op.problem.function in _STEPS:
            return False
        return all(isinstance(v, int) or v.size == 1 for v in op.inputs)
    return isinstance(op, Call) and op.key is not None
