"""Long lines resized: places follow from an output's number, so that no table is as long."""

from __future__ import annotations

from math import prod

import numpy as np

from fastconv.backends.native.plan import INPUT, OUTPUT, Argument, Stage, float_bits
from fastconv.problem import InterpolateProblem

# Both kernels': input, output; cells of a line before and after, elements of a cell; outputs of an
# item, and items of a line; input cells that an output spans, and what is added to its number
# first. `line.linear` has two more: whether places are rounded to float32, and whether all cells
# stay.
(SOURCE, TARGET, IN, OUT, INNER, CHUNK, CHUNKS, SCALE, SHIFT, NARROW, SAME) = range(11)

# Outputs of a line from which on there are no tables.
LONG = 1 << 14
# Outputs of an item.
_CHUNK = 4096


def is_long(problem: InterpolateProblem) -> bool:
    """Tell whether a problem is one of lines that kernels of this module resize."""
    known = problem.mode in ("nearest", "nearest-exact", "linear")
    return known and problem.n == 1 and problem.output_size[0] >= LONG


def line_stage(problem: InterpolateProblem, kernel: int) -> Stage:
    """Return the stage that resizes lines."""
    last = problem.channels_last
    lines = problem.batch if last else problem.batch * problem.channels
    length, chunks = problem.output_size[0], -(-problem.output_size[0] // _CHUNK)
    scale, shift = problem.spacing(0)
    words: list[Argument] = [
        INPUT(0), OUTPUT, *problem.input_size, length, problem.channels if last else 1, _CHUNK,
        chunks, float_bits(float(scale)), float_bits(shift),
    ]  # fmt: skip
    if problem.mode == "linear":
        narrow = np.dtype(scale.dtype) == np.float32
        words += [int(narrow), int(problem.input_size == problem.output_size)]
    return Stage(kernel, prod((lines, chunks)), words)
