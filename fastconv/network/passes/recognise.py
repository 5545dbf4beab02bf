"""Activations that are written out in arithmetic, recognised by the numbers that they give."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastconv.backends.reference.activation import activate
from fastconv.network.program import Call, Derived, Op, Program, Solve
from fastconv.problem import Activation, ArithmeticProblem, ElementwiseProblem, Shape
from fastconv.problem.remember import Spec

_Vector = np.ndarray[Any, np.dtype[np.float64]]

# An activation is written in some five operations; the error function is some twenty of its own.
_MOST = 48
_LARGE = 1e36
# Where functions are compared: close together where activations bend, and far out on either side.
_POINTS: _Vector = np.concatenate(
    [np.arange(-600, 601) / 50, *(s * np.geomspace(1e-7, _LARGE, 87) for s in (-1, 1)), [np.nan]]
)
_FIXED = tuple(
    Activation.of(given)
    for given in (
        "relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu", "gelu", ("gelu", "tanh"),
        "mish", "tanh", "softplus", "softsign", "selu",
    )
)  # fmt: skip


def recognise_activations(program: Program) -> Program:
    """Turn arithmetic on one value and numbers that gives what an activation gives into that.

    However it is written: both are computed in float64 at points between which arithmetic of few
    operations does not bend, and must agree as far as the dtype tells numbers apart.
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
    """Give the value, the activation and the operations of the most that is an activation."""
    best = None
    spec = program.values[root.outputs[0]]
    for source, ops in _spans(root, program, producers, places):
        own = program.values[source]
        alone = len(ops) == 1 and isinstance(root, Solve)
        if (own.shape, own.dtype) != (spec.shape, spec.dtype):
            continue
        if alone and isinstance(root.problem, ElementwiseProblem):  # type: ignore[attr-defined]
            continue
        activation = _named(_computed(source, ops), float(np.finfo(spec.dtype).eps))
        if activation is not None:
            best = source, activation, ops
    return best


def _spans(
    root: Op, program: Program, producers: Mapping[int, Op], places: Mapping[Op, int]
) -> Iterator[tuple[int, list[Op]]]:
    """Give each value that an operation hangs on alone, and the operations between, in order."""
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
    """Tell whether each cell that an operation gives hangs on one cell of each value it reads."""
    spec = program.values[op.outputs[0]]
    if shape is None:
        if spec.dtype.name not in ("float32", "float64"):
            return False
    elif tuple(spec.shape) != shape:
        return False
    if isinstance(op, Solve) and isinstance(op.problem, (ArithmeticProblem, ElementwiseProblem)):
        return all(isinstance(v, int) or v.size == 1 for v in op.inputs)
    return isinstance(op, Call) and op.pointwise


def _computed(source: int, ops: Sequence[Op]) -> _Vector:
    """Give what operations make of the points."""
    held: dict[int, Any] = {source: _POINTS}
    with np.errstate(all="ignore"):
        for op in ops:
            given = [held[v] if isinstance(v, int) else float(v.reshape(-1)[0]) for v in op.inputs]
            # A number may come with dimensions of its own.
            held[op.outputs[0]] = np.reshape(_value(op, given), -1)
    return np.asarray(held[ops[-1].outputs[0]], np.float64)


def _value(op: Op, given: list[Any]) -> Any:
    if isinstance(op, Call):
        return op.function(*given)
    problem: Any = op.problem  # type: ignore[attr-defined]
    if isinstance(problem, ElementwiseProblem):
        return activate(np.asarray(given[0], np.float64), problem.activation)
    return getattr(np, problem.function)(*given)


def _named(values: _Vector, eps: float) -> Activation | None:
    """Give the activation that has these values, up to some roundings of constants."""
    if _agree(values, _POINTS, eps):
        return None
    for known in (*_FIXED, *_fitted(values)):
        if known is not None and _agree(values, _given_by(known), eps):
            return known
    return None


def _fitted(values: _Vector) -> Iterator[Activation | None]:
    """Give activations with parameters: limits and slopes are those of the values."""
    lowest, one_below, highest = (float(values[p == _POINTS][0]) for p in (-_LARGE, -1, _LARGE))
    if math.isnan(lowest + one_below + highest):
        return
    low = -math.inf if lowest == -_LARGE else lowest
    high = math.inf if highest == _LARGE else highest
    if low <= high:
        yield Activation.of(("hardtanh", low, high))
    yield Activation.of(("leaky_relu", -one_below))
    yield Activation.of(("elu", -lowest))


@functools.cache
def _given_by(activation: Activation) -> _Vector:
    with np.errstate(all="ignore"):
        return np.asarray(activate(_POINTS, activation), np.float64)


def _agree(values: _Vector, wanted: _Vector, eps: float) -> bool:
    with np.errstate(all="ignore"):
        close = np.abs(values - wanted) <= 16 * eps * np.maximum(1, np.abs(wanted))
    return bool(np.all(close | (np.isnan(values) & np.isnan(wanted))))
