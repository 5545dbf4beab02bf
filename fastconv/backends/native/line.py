"""Long lines resized: places follow from an output's number, so that no table is as long."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.backends.manifest.moves import LineLinear, LineNearest
from fastconv.backends.native.plan import INPUT, OUTPUT, Stage
from fastconv.problem import InterpolateProblem

# Outputs of a line from which on there are no tables.
LONG = 1 << 14
# Outputs of an item.
_CHUNK = 4096


def is_long(problem: InterpolateProblem) -> bool:
    """Return whether a problem is one of lines that kernels of this module resize."""
    known = problem.mode in ("nearest", "nearest-exact", "linear")
    return known and problem.n == 1 and problem.output_size[0] >= LONG


def line_stage(problem: InterpolateProblem, kernel: int) -> Stage:
    """Return the stage that resizes lines."""
    last = problem.channels_last
    lines = problem.batch if last else problem.batch * problem.channels
    length, chunks = problem.output_size[0], -(-problem.output_size[0] // _CHUNK)
    scale, shift = problem.spacing(0)
    fields: dict[str, Any] = {
        "source": INPUT(0), "target": OUTPUT, "in_cells": problem.input_size[0],
        "out_cells": length, "inner": problem.channels if last else 1, "chunk": _CHUNK,
        "chunks": chunks, "scale": float(scale), "shift": shift,
    }  # fmt: skip
    arguments: LineNearest
    if problem.mode == "linear":
        narrow = np.dtype(scale.dtype) == np.float32
        same = problem.input_size == problem.output_size
        arguments = LineLinear(**fields, narrow=int(narrow), same=int(same))
    else:
        arguments = LineNearest(**fields)
    return Stage(kernel, prod((lines, chunks)), arguments)
