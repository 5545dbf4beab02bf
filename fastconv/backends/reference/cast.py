"""Casts as NumPy has them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.reference.common import Reference
from fastconv.problem.cast import CastProblem


class Casts(Reference):
    """Rounded once, to the nearest, ties to even; what is too large is infinite."""

    def compute(self, problem: CastProblem, parameters: Any, *inputs: Any) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(inputs[0].astype(problem.result))
