"""Passes: each takes a program and gives one that computes the same with less."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from fastconv.network.passes.clean import (
    join_concatenations,
    lift_over_views,
    merge_views,
    remove_dead,
)
from fastconv.network.passes.fold import fold_affine, fold_padding
from fastconv.network.passes.fuse import fuse_activation, fuse_light_activation, fuse_residual
from fastconv.network.passes.images import by_images
from fastconv.network.passes.layout import channels_last, last_from
from fastconv.network.passes.products import (
    read_in_place,
    recognise_attention,
    write_in_place,
)
from fastconv.network.passes.recognise import recognise_activations
from fastconv.network.program import Program

Pass = Callable[[Program], Program]

# In order. Names are what `Network.explain(passes=True)` shows.
PASSES: tuple[tuple[str, Pass], ...] = (
    ("remove_dead", remove_dead),
    ("recognise_activations", recognise_activations),
    ("remove_dead", remove_dead),
    ("lift_over_views", lift_over_views),
    ("fold_padding", fold_padding),
    ("fold_affine", fold_affine),
    ("recognise_attention", recognise_attention),
    ("fuse_activation", fuse_activation),
    ("fuse_residual", fuse_residual),
    ("fuse_activation", fuse_activation),
    ("fuse_light_activation", fuse_light_activation),
    ("join_concatenations", join_concatenations),
    ("read_in_place", read_in_place),
    ("write_in_place", write_in_place),
    ("merge_views", merge_views),
    ("remove_dead", remove_dead),
)


@dataclasses.dataclass(frozen=True)
class PassReport:
    """What a pass left: how many operations there were before it and after it."""

    name: str
    meaning: str
    before: int
    after: int
    changed: int

    def __str__(self) -> str:
        return f"{self.name}: {self.changed} changed, {self.before} -> {self.after} operations"


def run_passes(
    program: Program, image: Program, *, on_device: bool = False
) -> tuple[Program, tuple[PassReport, ...]]:
    """Run all passes, and tell what each did.

    ``image`` is the program of a batch of one: what the layout is chosen by, so that a batch of
    any size is computed alike. On a GPU images lie channels last throughout, and a batch is done
    as a whole.
    """
    result, reports = _run(PASSES, program)
    if on_device:
        result, more = _run(_layout(0), result)
        return result, tuple(reports + more)
    of_one = result if image is program else _run(PASSES, image)[0]
    if len(of_one.ops) == len(result.ops):
        begin = last_from(of_one)
        if begin < len(result.ops):
            result, more = _run(_layout(begin), result)
            reports += more
    result, more = _run((("by_images", by_images),), result)
    return result, tuple(reports + more)


def run_either_way(program: Program) -> tuple[Program, Program]:
    """Give what the passes make of a program that stays channels first, and of one that turns."""
    first, _ = _run(PASSES, program)
    return first, _run(_layout(0), first)[0]


def _layout(begin: int) -> tuple[tuple[str, Pass], ...]:
    return (
        ("channels_last", functools.partial(channels_last, begin=begin)),
        ("merge_views", merge_views),
        ("remove_dead", remove_dead),
    )


def _run(
    passes: tuple[tuple[str, Pass], ...], program: Program
) -> tuple[Program, list[PassReport]]:
    reports = []
    for name, function in passes:
        result = function(program)
        kept = set(program.ops)
        meaning = (_plain(function).__doc__ or "").strip().splitlines()[0]
        changed = sum(op not in kept for op in result.ops)
        changed = max(changed, len(program.ops) - len(result.ops))
        reports.append(PassReport(name, meaning, len(program.ops), len(result.ops), changed))
        program = result
    return program, reports


def _plain(function: Pass) -> Callable[..., Program]:
    return function.func if isinstance(function, functools.partial) else function
