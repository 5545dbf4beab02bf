"""Programs within a program: stages that one work item runs whole, in its worker's own memory.

What a chain of stages leaves between them then stays in a core's cache, however large the arrays
at its ends are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from fastconv.backends.manifest.running import Nested, NestedRun
from fastconv.backends.native.driver import nested_kernel
from fastconv.backends.native.plan import (
    SCRATCH,
    Constant,
    Slot,
    Stage,
    constant,
    pack_program,
    scratch_stride,
)


@dataclasses.dataclass(frozen=True)
class Run:
    """A program that is run once for each of its pieces.

    ``offsets`` say how many bytes from each buffer's start its first piece is, and how many
    further the next one. Buffers are a plan's: its inputs, its outputs but the first, the first.
    """

    stages: Sequence[Stage]
    pieces: int
    offsets: Sequence[tuple[int, int]]
    workspace_bytes: int
    scratch_bytes: int


def nested_stage(runs: Sequence[Run], buffers: Sequence[Slot]) -> tuple[Stage, int]:
    """Return the stage that does all runs, a piece a work item, and its scratch bytes."""
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
        row = NestedRun(
            first=first, stage_at=at[0], stage_count=len(program.stages), word_at=at[1],
            word_count=len(program.block), place_at=at[2], place_count=len(program.places),
            workspace_at=workspace_at, scratch_at=scratch_at,
            offsets=[n for pair in run.offsets for n in pair],
        )  # fmt: skip
        table.append([*row])
        at = [start + len(part) for start, part in zip(at, parts, strict=True)]
        first += run.pieces
        stages.append(program.stages)
        blocks.append(program.block)
        counted = program.places.copy()
        counted[:, 1] += np.where(counted[:, 1] < 0, count, 0)
        places.append(counted)
    # No kernel reads those after the buffers: they keep alive what the runs' blocks point at.
    kept = [Constant(array) for _, constants in packed for array in constants]
    arguments = Nested(
        runs=constant(table, np.int64), run_count=len(runs),
        stages=constant(np.concatenate(stages)), blocks=constant(np.concatenate(blocks)),
        places=constant(np.concatenate(places)), buffers=count,
        block_at=scratch_stride(8 * count), scratch_base=SCRATCH,
        scratch_stride=scratch_stride(total), buffer_addresses=[*buffers, *kept],
    )  # fmt: skip
    return Stage(nested_kernel(), first, arguments), total
