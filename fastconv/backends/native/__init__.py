"""What plans of compiled kernels have in common, by whichever compiler: nothing here is compiled.

A kernel is a native function ``(args, first, last, worker)``: a block of int64 arguments, the
range of work items to do, and the number of the worker that does them (for scratch memory of its
own). `plan` strings kernels together, `driver` runs them, `arena` and `outputs` give memory.
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

__all__ = [
    "INPUT",
    "OUTPUT",
    "SCRATCH",
    "WORKSPACE",
    "NativePlan",
    "Slot",
    "Stage",
    "constant",
]
