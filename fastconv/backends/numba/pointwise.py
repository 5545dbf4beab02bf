"""Functions of one number over blocks of elements."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.elements import Elementwise
from fastconv.backends.numba.elementary import make_function
from fastconv.backends.numba.engine import array, kernel


@kernel(Elementwise)
def elementwise(function: str, name: str, in_place: bool):  # type: ignore[no-untyped-def]
    """Apply a function: a work item is a block of elements.

    In place, reads and writes go through one array, or else no compiler could tell that they
    never cross, and none would make vectors of them.
    """
    apply, real = make_function(function, name), np.dtype(name).type
    size, block = np.dtype(name).itemsize, Elementwise.BLOCK

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        start = first * block
        count = min(last * block, args.count) - start
        a, b = real(args.first), real(args.second)
        target = array(args.target + start * size, (count,), real)
        if in_place:
            for i in range(count):
                target[i] = apply(target[i], a, b)
        else:
            source = array(args.source + start * size, (count,), real)
            for i in range(count):
                target[i] = apply(source[i], a, b)

    return body
