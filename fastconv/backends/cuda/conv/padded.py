"""Convolutions whose padding is not zeros: images are padded first, into the workspace."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from math import prod

from fastconv.backends.cuda.engine.plan import WORKSPACE, CudaPlan
from fastconv.backends.cuda.resample import padding
from fastconv.backends.cuda.transpose import aligned, moved
from fastconv.backends.native.conv.geometry import padded_size
from fastconv.backends.native.plan import INPUT
from fastconv.problem import ConvProblem, PadProblem


def padded_first(problem: ConvProblem, plan: Callable[[ConvProblem], CudaPlan]) -> CudaPlan:
    """Plan a convolution of channels-last images by a plan of one that pads with zeros alone."""
    if problem.padding_mode == "zeros":
        return plan(problem)
    nothing = ((0, 0),) * problem.n
    whole = dataclasses.replace(
        problem, input_size=padded_size(problem), padding=nothing, padding_mode="zeros"
    )
    inner = plan(whole)
    pads = ((0, 0), *problem.padding, (0, 0))
    cell = bytes(problem.dtype.itemsize)
    filled = PadProblem(problem.dtype, problem.input_shape, pads, problem.padding_mode, cell)
    at = aligned(inner.workspace_bytes)
    size = aligned(prod(whole.input_shape) * problem.dtype.itemsize)
    launches = moved(inner.launches, {0: WORKSPACE + at})
    return CudaPlan(
        [padding(filled, INPUT(0), WORKSPACE + at), *launches], workspace_bytes=at + size
    )
