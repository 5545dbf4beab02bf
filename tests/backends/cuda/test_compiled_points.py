"""What the compiler makes of the kernels other than convolutions: one of each family."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.backends.cuda import linear
from fastconv.backends.cuda.broadcast import folding
from fastconv.backends.cuda.conv.depthwise_transposed import depthwise_transposed
from fastconv.backends.cuda.engine.blocks import lanes_for
from fastconv.backends.cuda.engine.compiler import compile_kernel
from fastconv.backends.cuda.moments import Parts, chunk_moments, combine
from fastconv.backends.cuda.moves import Axis, moving
from fastconv.backends.cuda.norm import scales, standardise
from fastconv.backends.cuda.pointwise import elementwise
from fastconv.backends.cuda.pool import FOLDS
from fastconv.backends.cuda.pool_indices import pool_indices
from fastconv.backends.cuda.pool_weighted import pool_weighted
from fastconv.backends.cuda.pool_whole import Planes, whole
from fastconv.backends.cuda.resample import plan_weighted
from fastconv.backends.cuda.response import response
from fastconv.backends.cuda.softmax import softmax
from fastconv.backends.cuda.unfold import gather, sum_windows
from fastconv.backends.cuda.unpool import claim, settle
from fastconv.problem import (
    ConvTransposeProblem,
    FoldProblem,
    InterpolateProblem,
    LocalResponseNormProblem,
    PoolProblem,
    UnfoldProblem,
)
from fastconv.problem.activation import Activation

AFFINE, CHANNEL, FOUR = ("subtract", "multiply", "add"), [(0, 1, 0)] * 3, [None] * 4
IMAGES = np.dtype("f4"), 8, 64, (56, 56), False
PLANES = np.broadcast_to(np.float32(0), (2, 64, 56, 56))
PIXELS = np.broadcast_to(np.float32(0), (2, 56, 56, 64))
COLUMNS = np.broadcast_to(np.float32(0), (2, 576, 3136))
WINDOWS = PoolProblem.of("weighted", 2, PLANES, 3, stride=2, weights="gaussian")
FILTERS = np.broadcast_to(np.float32(0), (64, 1, 4, 4))
DOUBLED = ConvTransposeProblem.of(2, PIXELS, FILTERS, stride=2, padding=1, groups=64, layout="NHWC")
FLOATS = ("float32", "float32")
SIZES = (1, 56, 56), (1, 28, 28)


def weighing(layout: str, dtype: Any = np.float32) -> Any:
    problem = InterpolateProblem.of(
        PLANES.astype(dtype), (112, 112), mode="bilinear", layout=layout
    )
    return plan_weighted(problem).launches[0].kernel


RELU = Activation("relu")
# Name: the kernel, and the most registers of a thread.
TABLE: dict[str, tuple[Any, int]] = {
    "a row's slices": (linear.slices(1, 2048, 1000, 256), 96),
    "rows' slices": (linear.slices(8, 2048, 1000, 256), 96),
    "words of a view": (moving(2, [Axis(100, 1, 50), Axis(50, 100, 1)], None, None).kernel, 32),
    "an affine step": (
        folding(AFFINE, (8, 64, 56), [(3584, 56, 1), *CHANNEL], FOUR, None).kernel,
        32,
    ),
    "softmax": (softmax(8, 1000, 1, lanes_for(1000, 1), True), 64),
    "rows standardised": (
        standardise(8, 768, lanes_for(768, 1), (1, 768, 1), (True, True), 1e-5, None),
        48,
    ),
    "moments of pixels": (chunk_moments(8, 3136, 64, 128, lanes_for(128, 64)), 48),
    "moments put together": (combine(Parts.of_pixels(8, 8, 8, 3136), True, True, 1e-5), 64),
    "neighbours": (response(LocalResponseNormProblem(*IMAGES, 5, 1e-4, 0.75, 1.0)), 40),
    "two by two cells": (weighing("NCHW"), 40),
    "two by two cells, quads": (weighing("NHWC"), 48),
    "columns": (gather(UnfoldProblem.of(PLANES, 3, padding=1)), 56),
    "columns summed": (sum_windows(FoldProblem.of(COLUMNS, (56, 56), 3, padding=1)), 32),
    "places claimed": (claim(128, 784, 3136, 64), 24),
    "places settled": (settle(2, 128, 784, 3136, 64), 24),
    "places of the largest": (pool_indices(2, 64, *SIZES, (1, 1, 1)), 96),
    "halves resized": (weighing("NHWC", np.float16), 48),
    "bfloat16 activated": (elementwise(1001, RELU, "bfloat16", "bfloat16"), 32),
    "scales of channels": (scales(64, True, True, 1e-5), 32),
    "weighted windows": (pool_weighted(WINDOWS, (1, 1, 1), (1, 1, 1)), 96),
    "depthwise doubled": (depthwise_transposed(DOUBLED), 64),
    "whole planes": (whole(Planes(8, 49, 2048, 256), FOLDS["avg"], 49, FLOATS), 40),
    "slices added": (linear.added(8, 1001, 1004, 8, (8032, 1004), True, RELU), 48),
}


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("name", TABLE)
def test_registers_and_spills(name: str, arch: str) -> None:
    kernel, registers = TABLE[name]
    cubin = compile_kernel(kernel, arch)
    assert (cubin.spilled_bytes, cubin.stack_bytes) == (0, 0)
    assert cubin.registers <= registers
