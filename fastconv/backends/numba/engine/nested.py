"""The kernel of programs within a program; see fastconv/backends/native/nested.py."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.running import Nested, NestedRun
from fastconv.backends.manifest.schema import size_of
from fastconv.backends.numba.engine.arguments import record_at
from fastconv.backends.numba.engine.kernel import kernel
from fastconv.backends.numba.engine.memory import array, call_kernel

_run_at, _RUN_WORDS = record_at(NestedRun), size_of(NestedRun)


@kernel(Nested)
def nested():  # type: ignore[no-untyped-def]
    """Run programs: a work item is one piece of one run."""

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        own = args.scratch_base + worker * args.scratch_stride
        count, runs = args.buffers, args.run_count
        width = 8 * (_RUN_WORDS + 2 * (count - 2))
        addresses = array(own, (count,), np.int64)
        start = own + args.block_at
        r = 0
        for item in range(first, last):
            while r + 1 < runs and _run_at(args.runs + (r + 1) * width).first <= item:
                r += 1
            run = _run_at(args.runs + r * width)
            stages = array(args.stages + 24 * run.stage_at, (run.stage_count, 3), np.int64)
            given = array(args.blocks + 8 * run.word_at, (run.word_count,), np.int64)
            places = array(args.places + 24 * run.place_at, (run.place_count, 3), np.int64)
            words = array(start, (run.word_count,), np.int64)
            piece = item - run.first
            for b in range(count - 2):
                base = args.buffer_addresses[b]
                shift = run.offsets[2 * b] + piece * run.offsets[2 * b + 1]
                addresses[b] = base + shift if base != 0 else 0
            addresses[count - 2] = own + run.workspace_at
            addresses[count - 1] = own + run.scratch_at
            for i in range(run.word_count):
                words[i] = given[i]
            for i in range(run.place_count):
                base = addresses[places[i, 1]]
                words[places[i, 0]] = base + places[i, 2] if base != 0 else 0
            for s in range(run.stage_count):
                call_kernel(stages[s, 0], start + stages[s, 1], 0, stages[s, 2], 0)

    return body
