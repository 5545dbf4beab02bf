"""Long programs in parts, each a program of its own: some of the stages, or of a stage's items.

A kernel takes any range of items, and an item's result does not depend on the range that it is in:
the bits are those of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastconv.backends.manifest.running import Ranged
from fastconv.backends.native.driver import Program


def cuts(program: Program, threads: int, seconds: float, ranged: int) -> Iterator[Program]:
    """Yield the parts of a program that each take about so many seconds, as predicted."""
    most = seconds * threads
    first, held = 0, 0.0
    for stage, time in enumerate(program.times):
        if time >= 2 * most and int(program.stages[stage, 2]) > threads:
            if first < stage:
                yield _stages(program, first, stage)
            yield from _items(program, stage, threads, int(time / most), ranged)
            first, held = stage + 1, 0.0
            continue
        held += time
        if held >= most:
            yield _stages(program, first, stage + 1)
            first, held = stage + 1, 0.0
    if first < len(program.stages):
        yield _stages(program, first, len(program.stages))


def _stages(program: Program, first: int, last: int) -> Program:
    return Program(program.stages[first:last], program.block, program.places)


def _items(
    program: Program, stage: int, threads: int, count: int, ranged: int
) -> Iterator[Program]:
    """Yield a stage's items in about ``count`` parts, in which every thread has as many."""
    kernel, arguments, items = program.stages[stage].tolist()
    each = max(1, round(items / count / threads)) * threads
    start = 8 * len(program.block)
    for first in range(0, items, each):
        own = Ranged(kernel=kernel, bytes_to_arguments=arguments - start, first_item=first)
        block = np.append(program.block, [*own])
        stages = np.array([(ranged, start, min(each, items - first))], np.int64)
        yield Program(stages, block, program.places)
