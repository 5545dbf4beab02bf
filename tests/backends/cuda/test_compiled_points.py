"""What the compiler makes of the kernels beside convolutions: one of each family."""

from __future__ import annotations

from typing import Any

import pytest

from fastconv.backends.cuda import linear
from fastconv.backends.cuda.broadcast import folding
from fastconv.backends.cuda.engine.compiler import compile_kernel
from fastconv.backends.cuda.moves import Axis, moving
from fastconv.problem.activation import Activation

AFFINE, CHANNEL, FOUR = ("subtract", "multiply", "add"), [(0, 1, 0)] * 3, [None] * 4
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
    "slices added": (linear.added(8, 1001, 1004, 8, True, RELU), 48),
}


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("name", TABLE)
def test_registers_and_spills(name: str, arch: str) -> None:
    kernel, registers = TABLE[name]
    cubin = compile_kernel(kernel, arch)
    assert (cubin.spilled_bytes, cubin.stack_bytes) == (0, 0)
    assert cubin.registers <= registers
