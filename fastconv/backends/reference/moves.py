"""Views made whole, and arrays put side by side, by NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.reference.common import Reference


class Concatenate(Reference):
    """NumPy's."""

    def compute(self, problem: Any, parameters: Any, *inputs: Any) -> Any:
        return np.concatenate(inputs, axis=problem.axis)


class Strided(Reference):
    """The places of all cells, worked out a dimension."""

    def compute(self, problem: Any, parameters: Any, *inputs: Any) -> Any:
        places = np.array(problem.start)
        for length, step in zip(problem.view, problem.steps, strict=True):
            places = places[..., None] + np.arange(length) * step
        return inputs[0].reshape(-1)[places]
