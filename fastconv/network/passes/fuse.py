"""Operations that go into a problem's epilogue."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from fastconv.network.passes.patterns import (
    arithmetic,
    join_pairs,
    only_reader,
    with_constant,
)
from fastconv.network.program import Operand, Program, Solve
from fastconv.problem import (
    Activation,
    ArithmeticProblem,
    BatchNormProblem,
    ConvProblem,
    ConvTransposeProblem,
    ElementwiseProblem,
    GroupNormProblem,
    LinearProblem,
    Problem,
)
from fastconv.problem.record import replaced
from fastconv.problem.remember import Spec

_ENDING = (ConvProblem, ConvTransposeProblem, LinearProblem)
_LIGHT = (ArithmeticProblem, BatchNormProblem, GroupNormProblem)


def fuse_activation(program: Program) -> Program:
    """Do an activation in the epilogue of the convolution or linear layer before it."""
    return _ended(program, _ENDING)


def fuse_light_activation(program: Program) -> Program:
    """Do an activation where sums and normalisations that stayed are stored."""
    return _ended(program, _LIGHT)


def _ended(program: Program, kinds: Any) -> Program:

    def ended(first: Solve, second: Solve) -> Solve | None:
        if not isinstance(second.problem, ElementwiseProblem) or not _open(first.problem, kinds):
            return None
        change = functools.partial(_with, activation=second.problem.activation)
        taken = first.taking(second)
        return first.changed(change, program.values, outputs=second.outputs, fused=taken)

    return join_pairs(program, ended)


def fuse_scale(program: Program) -> Program:
    """Multiply hard swish's results by a number, and add one, where they are computed.

    Ma et al.: PP-LCNet (2021) and its successors do so after each activation.
    """

    def scaled(first: Solve, second: Solve) -> Solve | None:
        activation = _scaled(first, second)
        if activation is None:
            return None
        change = functools.partial(_with, activation=activation)
        taken = first.taking(second)
        return first.changed(change, program.values, outputs=second.outputs, fused=taken)

    return join_pairs(program, scaled)


def _scaled(first: Solve, second: Solve) -> Activation | None:
    """Return the first problem's hard swish with the second's number in it; None: it has no place.

    Each number is taken once, the factor first: of two that are added the first one's rounding may
    be meant.
    """
    problem: Any = first.problem
    activation = getattr(problem, "activation", None)
    total = arithmetic(second, "add", "multiply")
    if activation is None or activation.name != "hardswish" or total is None:
        return None
    known, number = with_constant(total), 0.0
    if known is not None and known[1].size == 1:
        number = float(known[1].reshape(-1)[0])
    own: Any = total.problem
    same = own.output_shape == problem.output_shape and own.dtype == problem.dtype
    if not same or own.activation is not None or getattr(problem, "rtol", None) == 0:
        return None
    scale, shift = activation.parameters
    # Powers of 2 that leave the range of float32 as it is, for the most part.
    if shift != 0 or not 2.0**-_POWERS < abs(number) < 2.0**_POWERS:
        return None
    if total.problem.function == "add":  # type: ignore[attr-defined]
        return Activation("hardswish", (scale, number))
    return Activation("hardswish", (number, 0.0)) if scale == 1 else None


_POWERS = 24


def fuse_residual(program: Program) -> Program:
    """Add the shortcut of a residual block in the epilogue of the convolution before the sum."""
    while True:
        change = next(_residuals(program), None)
        if change is None:
            return program
        program = program.replaced(change)


def _residuals(program: Program) -> Any:
    producers, readers, kept = program.producers(), program.readers(), program.kept()
    for op in program.ops:
        total = arithmetic(op, "add")
        if total is None or total.problem.left != total.problem.right:  # type: ignore[attr-defined]
            continue
        # Of two convolutions the later one adds: the other has been done by then.
        found: list[tuple[Solve, Operand]] = []
        for branch, other in (total.inputs, total.inputs[::-1]):
            first = producers.get(branch) if isinstance(branch, int) else None
            if not isinstance(other, int) or not isinstance(first, Solve):
                continue
            if _takes_residual(first) and only_reader(first, readers, kept) is op:
                found.append((first, other))
        if found:
            order = {each: place for place, each in enumerate(program.ops)}
            first, other = max(found, key=lambda pair: order[pair[0]])
            fused = first.changed(
                functools.partial(_with, residual=True), program.values,
                inputs=(first.inputs[0], other), outputs=op.outputs, fused=first.taking(op),
            )  # fmt: skip
            yield {first: [], op: [fused]}


def _with(values: Mapping[int, Spec], problem: Any, **fields: Any) -> Problem:
    """Return a problem with other fields, which no size is part of."""
    found: Problem = replaced(problem, **fields)
    return found


def _takes_residual(op: Solve) -> bool:
    problem = op.problem
    convolution = isinstance(problem, (ConvProblem, ConvTransposeProblem))
    return convolution and _open(problem) and not problem.residual  # type: ignore[attr-defined]


def _open(problem: Any, kinds: Any = _ENDING) -> bool:
    """Return whether a problem has an epilogue that ends in no activation yet."""
    own = isinstance(problem, kinds) and problem.dtype.name in ("float32", "float64")
    return own and problem.activation is None
