"""The matrix product, in float64, int64 or complex128."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.reference.activation import activate
from fastconv.backends.reference.common import Reference, narrow, wide
from fastconv.problem import LinearProblem


class Linear(Reference):
    """Rows times the transposed weight, plus bias, activated."""

    def compute(self, problem: LinearProblem, parameters: Any, *inputs: Any) -> Array:
        weight, bias = parameters
        w = wide(weight)
        total = np.stack([np.matmul(w, row) for row in wide(inputs[0])])
        if bias is not None:
            total = total + wide(bias)
        return narrow(activate(total, problem.activation), problem.output_dtype)
