"""Programs within a program: stages that one work item runs whole, in its worker's own memory.

What a chain of stages leaves between them then stays in a core's cache, however large the arrays
at its ends are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from fastconv.backends.native.plan import (
    SCRATCH,
    Constant,
    Slot,
    Stage,
    constant,
    pack_program,
    scratch_stride,
)
from fastconv.backends.numba.engine.kernel import kernel
from fastconv.backends.numba.engine.memory import array, call_kernel

# Words of the argument block; the buffers' slots follow.
(RUNS, RUN_COUNT, STAGES, BLOCKS, PLACES, BUFFERS, BLOCK_AT, SCRATCH_BASE, SCRATCH_STRIDE,
 FIRST_BUFFER) = range(10)  # fmt: skip
# Words of a run; bytes to each buffer's first piece, and on to the next, follow.
(FIRST, STAGE_AT, STAGE_COUNT, WORD_AT, WORD_COUNT, PLACE_AT, PLACE_COUNT, WORKSPACE_AT,
 SCRATCH_AT, OFFSETS) = range(10)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Run:
    """A program that is run once for each of its pieces.

    ``offsets`` say how many bytes from each buffer's start its first piece lies, and how many
    further the next one. Buffers are a plan's: its inputs, its outputs but the first, the first.
    """

    stages: Sequence[Stage]
    pieces: int
    offsets: Sequence[tuple[int, int]]
    workspace_bytes: int
    scratch_bytes: int


def nested_stage(runs: Sequence[Run], buffers: Sequence[Slot]) -> tuple[Stage, int]:
    """Give the stage that does all runs, a piece a work item, and its scratch bytes."""
    count = len(buffers) + 2
    packed = [pack_program(run.stages) for run in runs]
    words = max(len(program.block) for program, _ in packed)
    workspace_at = scratch_stride(8 * count) + scratch_stride(8 * words)
    total, first = 0, 0
    table, stages, blocks, places = [], [], [], []
    at = [0, 0, 0]
    for run, (program, _) in zip(runs, packed, strict=True):
        scratch_at = workspace_at + scratch_stride(run.workspace_bytes)
        total = max(total, scratch_at + scratch_stride(run.scratch_bytes))
        parts = program.stages, program.block, program.places
        row = [
            first,
            *(n for start, part in zip(at, parts, strict=True) for n in (start, len(part))),
        ]
        offsets = (n for pair in run.offsets for n in pair)
        table.append([*row, workspace_at, scratch_at, *offsets])
        at = [start + len(part) for start, part in zip(at, parts, strict=True)]
        first += run.pieces
        stages.append(program.stages)
        blocks.append(program.block)
        counted = program.places.copy()
        counted[:, 1] += np.where(counted[:, 1] < 0, count, 0)
        places.append(counted)
    arguments: list[int | Slot | Constant] = [
        constant(table, np.int64), len(runs), constant(np.concatenate(stages)),
        constant(np.concatenate(blocks)), constant(np.concatenate(places)), count,
        scratch_stride(8 * count), SCRATCH, scratch_stride(total), *buffers,
    ]  # fmt: skip
    # No kernel reads the words after these: they keep alive what the runs' blocks point at.
    arguments += [Constant(kept) for _, constants in packed for kept in constants]
    return Stage(nested(), first, arguments), total


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
