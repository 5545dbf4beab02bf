"""Problems that fall into pieces which know nothing of each other, one after the other in memory.

Work of little arithmetic is done piece by piece, so that what is cast stays in a core's cache.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from math import prod
from typing import Any

from fastconv.backends.native.nested import Run, nested_stage
from fastconv.backends.numba.carry.contract import Program, input_shapes
from fastconv.backends.numba.engine import INPUT, OUTPUT
from fastconv.machine import get_machine
from fastconv.problem import (
    AdaptivePoolProblem,
    BatchNormProblem,
    ElementwiseProblem,
    FoldProblem,
    GroupNormProblem,
    InterpolateProblem,
    LayerNormProblem,
    LocalResponseNormProblem,
    PoolProblem,
    PreluProblem,
    SoftmaxProblem,
)

Build = Callable[[Any], Program]

# Pieces that a problem is cut into at least, where its size allows: work for some threads.
LEAST_PIECES = 16
# A piece, at both of its ends and cast, takes this part of a core's second cache.
ROOM = 32


@dataclasses.dataclass(frozen=True)
class Pieces:
    """How many units a problem has, and the problem of any number of them."""

    units: int
    some: Callable[[int], Any]


def _images(problem: Any) -> Pieces:
    return Pieces(problem.batch, lambda n: dataclasses.replace(problem, batch=n))


def _planes(problem: Any) -> Pieces:
    if problem.channels_last:
        return _images(problem)
    return Pieces(
        problem.batch * problem.channels,
        lambda n: dataclasses.replace(problem, batch=1, channels=n),
    )


def _cells(problem: Any) -> Pieces:
    return Pieces(prod(problem.shape), lambda n: dataclasses.replace(problem, shape=(n,)))


def _prelu(problem: PreluProblem) -> Pieces:
    if problem.slopes == 1:
        return _cells(problem)
    first, *rest = problem.shape
    return Pieces(first, lambda n: dataclasses.replace(problem, shape=(n, *rest)))


def _softmax(problem: SoftmaxProblem) -> Pieces:
    outer, length, inner = problem.extents
    return Pieces(outer, lambda n: dataclasses.replace(problem, shape=(n, length, inner), axis=1))


def _rows(problem: LayerNormProblem) -> Pieces:
    return Pieces(
        problem.rows, lambda n: dataclasses.replace(problem, shape=(n, *problem.normalized_shape))
    )


# Convolutions are left whole: they do enough with what is cast for them.
_CUTS: dict[type, Callable[[Any], Pieces]] = {
    PoolProblem: _planes,
    AdaptivePoolProblem: _planes,
    InterpolateProblem: _planes,
    FoldProblem: _images,
    BatchNormProblem: _images,
    GroupNormProblem: _images,
    LocalResponseNormProblem: _images,
    ElementwiseProblem: _cells,
    PreluProblem: _prelu,
    SoftmaxProblem: _softmax,
    LayerNormProblem: _rows,
}


def in_pieces(problem: Any, build: Build) -> Program:
    """Build a problem's program: nested, one for each piece, or one for all where it has none."""
    cut = _CUTS.get(type(problem))
    pieces = None if cut is None else cut(problem)
    if pieces is None or pieces.units < 2:
        return build(problem)
    one = pieces.some(1)
    room = get_machine().l2_bytes // ROOM
    each = max(1, min(room // (2 * one.bytes), -(-pieces.units // LEAST_PIECES)))
    count, rest = divmod(pieces.units, each)
    if count < 2:
        return build(problem)
    runs = [_run(problem, one, build(pieces.some(each)), count, 0, each)]
    if rest:
        runs.append(_run(problem, one, build(pieces.some(rest)), 1, count * each, rest))
    slots = [*(INPUT(i) for i in range(len(runs[0].offsets) - 1)), OUTPUT]
    stage, scratch = nested_stage(runs, slots)
    return Program([stage], 0, scratch)


def _run(problem: Any, one: Any, program: Program, count: int, start: int, each: int) -> Run:
    """Return the run of ``count`` times ``each`` units from unit ``start`` on."""
    units = [prod(shape) * problem.dtype.itemsize for shape in input_shapes(one)]
    for shape, dtype in (getattr(one, "output_shapes", None) or [])[1:]:
        units.append(prod(shape) * dtype.itemsize)
    units.append(prod(one.output_shape) * problem.output_dtype.itemsize)
    return Run(
        program.stages,
        count,
        [(start * unit, each * unit) for unit in units],
        program.workspace_bytes,
        program.scratch_bytes,
    )
