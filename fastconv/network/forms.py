"""Heavy weights of networks whose sizes are open: one transformed form, whatever the size.

Each of Winograd's algorithms has a form of its own of the weights, several times as large as they
are, and images of other sizes are fastest with others of them. A network that meets many sizes
would pack one after the other, which takes as long as many runs, and hold them all.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from fastconv.dispatch import algorithms
from fastconv.dispatch.choose import Without
from fastconv.network.program import Images, Op, Program, Solve
from fastconv.problem import ConvProblem

# Weights of fewer bytes may have any form.
HEAVY_BYTES = 1 << 20
# The first of these whose error bound allows it; it is within a quarter of the fastest of them.
FORMS = ("winograd4", "winograd3", "winograd")
REASON = "weights of networks with open sizes are transformed for one tile alone"


def one_form(program: Program) -> Program:
    """Leave each heavy convolution one of the algorithms that transform weights."""
    changes: dict[Op, list[Op]] = {}
    for op in program.ops:
        changed = _limited(op)
        if changed is not op:
            changes[op] = [changed]
    return program.replaced(changes) if changes else program


def _limited(op: Op) -> Op:
    if isinstance(op, Images):
        return dataclasses.replace(
            op,
            replaced=tuple(map(_limited, op.replaced)),
            portions=tuple(
                dataclasses.replace(each, program=one_form(each.program)) for each in op.portions
            ),
        )
    problem: Any = op.problem if isinstance(op, Solve) else None
    if not isinstance(op, Solve) or not isinstance(problem, ConvProblem):
        return op
    if problem.parameter_bytes < HEAVY_BYTES or op.algorithm is not None:
        return op
    return dataclasses.replace(op, without=_others(problem.rtol, _weights(problem)))


def _weights(problem: ConvProblem) -> ConvProblem:
    """Return the problem of the same weights over an image of one size for all."""
    return dataclasses.replace(problem, batch=1, input_size=tuple(64 for _ in problem.input_size))


@functools.lru_cache(maxsize=1024)
def _others(rtol: float, problem: ConvProblem) -> Without:
    """Name the algorithms that transform weights, but for one."""
    every = [a for a in algorithms(ConvProblem) if a.name.startswith("winograd")]
    able = {a.name for a in every if a.why_not(problem) is None and a.error_bound(problem) <= rtol}
    kept = next((name for name in FORMS if name in able), None)
    return frozenset((str(a), REASON) for a in every if a.name != kept)
