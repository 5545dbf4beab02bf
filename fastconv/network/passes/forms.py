"""Heavy weights of networks whose sizes are open: packed in one form, whatever the size.

Each of Winograd's algorithms has a form of its own of the weights, several times as large as they
are, and images of other sizes are fastest with others of them. A network that meets many sizes
would pack one after the other, which takes as long as many runs, and hold them all.
"""

from __future__ import annotations

from typing import Any

from fastconv.network.program import Op, Program, Solve
from fastconv.problem import ConvProblem
from fastconv.problem.record import replaced

# Weights of fewer bytes may have any form.
HEAVY_BYTES = 1 << 18


def one_form(program: Program) -> Program:
    """Pack heavy weights of convolutions for images of any size."""
    return program.replaced({op: [_for_any_size(op)] for op in program.ops if _is_heavy(op)})


def _is_heavy(op: Op) -> bool:
    problem: Any = op.problem if isinstance(op, Solve) else None
    return isinstance(problem, ConvProblem) and problem.parameter_bytes >= HEAVY_BYTES


def _for_any_size(op: Any) -> Op:
    changed: Op = op.having(problem=replaced(op.problem, any_size=True))
    return changed
