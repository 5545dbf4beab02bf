"""Activations that are written out in arithmetic, recognised."""

from __future__ import annotations

import dataclasses
import math

from fastconv.network.passes.patterns import arithmetic, only_reader, scalar, with_constant
from fastconv.network.program import Op, Program, Solve
from fastconv.problem import Activation, ElementwiseProblem

# What a gate computes of x, and the activation that x times it is.
_GATED = {"sigmoid": "silu", "hardsigmoid": "hardswish"}


def recognise_clamps(program: Program) -> Program:
    """Turn maxima and minima with a number, and both in turn, into one clamp."""
    limits: dict[int, tuple[int, float, float]] = {}
    changes: dict[Op, list[Op]] = {}
    readers, kept = program.readers(), program.kept()
    producers = program.producers()
    for op in program.ops:
        found = arithmetic(op, "maximum", "minimum")
        known = with_constant(found) if found is not None else None
        limit = scalar(known[1]) if known is not None else None
        if found is None or known is None or limit is None or math.isnan(limit):
            continue
        value, low, high = known[0], -math.inf, math.inf
        fused = found.fused
        if program.values[value].shape != program.values[op.outputs[0]].shape:
            continue
        before = producers.get(value)
        if value in limits and before is not None and only_reader(before, readers, kept) is op:
            value, low, high = limits[value]
            fused = found.taking(before)
        if found.problem.name == "maximum":
            low, high = max(low, limit), max(high, limit)
        else:
            low, high = min(low, limit), min(high, limit)
        limits[op.outputs[0]] = (value, low, high)
        changes[op] = [_elementwise(found, value, ("hardtanh", low, high), fused)]
    return program.replaced(changes)


def recognise_gates(program: Program) -> Program:
    """Turn x times its sigmoid into silu, x times its hard sigmoid into hardswish."""
    producers = program.producers()
    changes: dict[Op, list[Op]] = {}
    for op in program.ops:
        product = arithmetic(op, "multiply")
        if product is None:
            continue
        for value, gated in (product.inputs, product.inputs[::-1]):
            gate = producers.get(gated) if isinstance(gated, int) else None
            if not isinstance(gate, Solve) or not isinstance(value, int):
                continue
            if gate.reads != (value,):
                continue
            if isinstance(gate.problem, ElementwiseProblem) and gate.problem.name in _GATED:
                activation, fused = _GATED[gate.problem.name], product.taking(gate)
                changes[op] = [_elementwise(product, value, activation, fused)]
                break
    return program.replaced(changes)


def _elementwise(op: Solve, value: int, activation: object, fused: tuple[str, ...]) -> Solve:
    shape = op.problem.output_shape
    problem = ElementwiseProblem(op.problem.dtype, shape, _read(activation))
    return dataclasses.replace(op, inputs=(value,), fused=fused, problem=problem)


def _read(activation: object) -> Activation:
    read = Activation.of(activation)
    assert read is not None
    return read
