"""What every Numba algorithm is built on: compiled kernels, arrays from addresses, native plans.

A kernel is a native function ``(args, first, last, worker)``: a block of int64 arguments, the
range of work items to do, and the number of the worker that does them (for scratch memory of its
own). `kernel` declares a family of them, `memory` reads arguments, `plan` strings kernels together.
"""

from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    WORKSPACE,
    NativePlan,
    Slot,
    Stage,
    constant,
)
from fastconv.backends.numba.engine import driver
from fastconv.backends.numba.engine.kernel import inlined, kernel, part
from fastconv.backends.numba.engine.memory import array, as_float

__all__ = [
    "INPUT",
    "OUTPUT",
    "SCRATCH",
    "WORKSPACE",
    "NativePlan",
    "Slot",
    "Stage",
    "array",
    "as_float",
    "constant",
    "driver",
    "inlined",
    "kernel",
    "part",
]
