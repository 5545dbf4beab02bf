"""The kernel of programs within a program; see fastconv/backends/native/nested.py."""

from __future__ import annotations

import numpy as np

from fastconv.backends.native.nested import (
    BLOCK_AT,
    BLOCKS,
    BUFFERS,
    FIRST,
    FIRST_BUFFER,
    OFFSETS,
    PLACE_AT,
    PLACE_COUNT,
    PLACES,
    RUN_COUNT,
    RUNS,
    SCRATCH_AT,
    SCRATCH_BASE,
    SCRATCH_STRIDE,
    STAGE_AT,
    STAGE_COUNT,
    STAGES,
    WORD_AT,
    WORD_COUNT,
    WORKSPACE_AT,
)
from fastconv.backends.numba.engine.kernel import kernel
from fastconv.backends.numba.engine.memory import array, call_kernel


@kernel
def nested():  # type: ignore[no-untyped-def]
    """Run programs: a work item is one piece of one run."""

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        own = args[SCRATCH_BASE] + worker * args[SCRATCH_STRIDE]
        count, runs = args[BUFFERS], args[RUN_COUNT]
        width = OFFSETS + 2 * (count - 2)
        table = array(args[RUNS], (runs, width), np.int64)
        addresses = array(own, (count,), np.int64)
        start = own + args[BLOCK_AT]
        r = 0
        for item in range(first, last):
            while r + 1 < runs and table[r + 1, FIRST] <= item:
                r += 1
            run = table[r]
            stages = array(args[STAGES] + 24 * run[STAGE_AT], (run[STAGE_COUNT], 3), np.int64)
            given = array(args[BLOCKS] + 8 * run[WORD_AT], (run[WORD_COUNT],), np.int64)
            places = array(args[PLACES] + 24 * run[PLACE_AT], (run[PLACE_COUNT], 3), np.int64)
            words = array(start, (run[WORD_COUNT],), np.int64)
            piece = item - run[FIRST]
            for b in range(count - 2):
                base = args[FIRST_BUFFER + b]
                shift = run[OFFSETS + 2 * b] + piece * run[OFFSETS + 2 * b + 1]
                addresses[b] = base + shift if base != 0 else 0
            addresses[count - 2] = own + run[WORKSPACE_AT]
            addresses[count - 1] = own + run[SCRATCH_AT]
            for i in range(run[WORD_COUNT]):
                words[i] = given[i]
            for i in range(run[PLACE_COUNT]):
                base = addresses[places[i, 1]]
                words[places[i, 0]] = base + places[i, 2] if base != 0 else 0
            for s in range(run[STAGE_COUNT]):
                call_kernel(stages[s, 0], start + stages[s, 1], 0, stages[s, 2], 0)

    return body
