"""Sums, smallest and largest elements, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.reference.common import Reference, narrow, wide
from fastconv.problem.reduce import ReduceProblem


class Reduce(Reference):
    """NumPy's function of the name."""

    def compute(self, problem: ReduceProblem, parameters: Any, *inputs: Any) -> Array:
        axes = tuple(range(problem.first, problem.last))
        found = getattr(np, problem.function)(wide(inputs[0]), axis=axes, keepdims=True)
        return narrow(np.asarray(found), problem.dtype)
