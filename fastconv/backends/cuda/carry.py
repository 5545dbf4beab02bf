"""Problems of halves as those of float32: images are widened first, results rounded at the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.cuda.engine.plan import OUTPUT, WORKSPACE, CudaPlan
from fastconv.backends.cuda.pointwise import activating
from fastconv.backends.cuda.transpose import aligned, moved
from fastconv.backends.native.plan import INPUT, Slot


def in_floats(problem: Any, plan: Callable[[Any], CudaPlan]) -> CudaPlan:
    """Plan a problem by a plan of its float32 equivalent; inputs: an image, perhaps a residual."""
    name = problem.dtype.name
    if name == "float32":
        return plan(problem)
    inner = plan(dataclasses.replace(problem, dtype=np.dtype(np.float32)))
    counts = [prod(problem.input_shape)]
    if getattr(problem, "residual", False):
        counts.append(prod(problem.output_shape))
    bound: dict[int, Slot] = {}
    before, at = [], aligned(inner.workspace_bytes)
    for number, count in enumerate(counts):
        bound[number] = WORKSPACE + at
        before.append(activating(count, None, INPUT(number), bound[number], name, "float32"))
        at += aligned(4 * count)
    bound[OUTPUT.buffer] = WORKSPACE + at
    count = prod(problem.output_shape)
    after = activating(count, None, WORKSPACE + at, OUTPUT, "float32", name)
    at += aligned(4 * count)
    return CudaPlan([*before, *moved(inner.launches, bound), after], workspace_bytes=at)
