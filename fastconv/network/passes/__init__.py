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
from fastconv.network.passes.forms import one_form
from fastconv.network.passes.fuse import (
    fuse_activation,
    fuse_light_activation,
    fuse_residual,
    fuse_scale,
)
from fastconv.network.passes.images import by_images
from fastconv.network.passes.layout import channels_last
from fastconv.network.passes.products import (
    read_in_place,
    recognise_attention,
    write_in_place,
)
from fastconv.network.passes.recognise import recognise_activations
from fastconv.network.passes.rewrites import Rewrites
from fastconv.network.program import Program

Pass = Callable[[Program], Program]
# From which operation on a program lays images out channels last.
Turning = Callable[[Program], int]

# In order. Names are what `Network.explain(passes=True)` shows. These look at no size: see
# `rewrites`. What follows them does.
ONCE: tuple[tuple[str, Pass], ...] = (
    ("remove_dead", remove_dead),
    ("recognise_activations", recognise_activations),
    ("remove_dead", remove_dead),
    ("lift_over_views", lift_over_views),
    ("fold_padding", fold_padding),
    ("fold_affine", fold_affine),
    ("fuse_activation", fuse_activation),
    ("fuse_residual", fuse_residual),
    ("fuse_activation", fuse_activation),
    ("fuse_scale", fuse_scale),
    ("fuse_light_activation", fuse_light_activation),
    ("join_concatenations", join_concatenations),
)
# These look at sizes: where matrices are, and how views follow one another.
VIEWS: tuple[tuple[str, Pass], ...] = (("merge_views", merge_views), ("remove_dead", remove_dead))
SIZED: tuple[tuple[str, Pass], ...] = (
    ("recognise_attention", recognise_attention),
    ("read_in_place", read_in_place),
    ("write_in_place", write_in_place),
    *VIEWS,
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


def rewrites() -> Rewrites:
    """Return what keeps the results of the passes that look at no size, for one network."""
    return Rewrites(functools.partial(_run, ONCE))


def run_passes(
    program: Program, known: Rewrites, turning: Turning | None, open_sizes: bool = False
) -> tuple[Program, tuple[PassReport, ...]]:
    """Run all passes, and tell what each did.

    ``known`` has what those that look at no size made of other programs of the network.
    ``turning`` tells from which operation on images are stored channels last. Without it, on a GPU,
    they do throughout, and a batch is done as a whole. ``open_sizes``: other sizes will follow.
    """
    result, rewritten = known.of(program)
    reports = list(rewritten.reports)
    result, more = _run(SIZED, result)
    reports += more
    begin = 0 if turning is None else turning(result)
    if begin < len(result.ops):
        result, more = _run(_layout(begin), result)
        reports += more
    if turning is not None:
        # Pieces of a batch are of the problems that there are by then.
        last: tuple[tuple[str, Pass], ...] = (("by_images", by_images),)
        result, more = _run((("one_form", one_form), *last) if open_sizes else last, result)
        reports += more
    return result, tuple(reports)


def before_turning(program: Program, known: Rewrites) -> Program:
    """Return what the passes make of a program before images are laid out channels last."""
    return _run(SIZED, known.of(program)[0])[0]


def run_either_way(program: Program) -> tuple[Program, Program]:
    """Return what the passes make of a program that stays channels first, and of one that turns."""
    first, _ = _run((*ONCE, *SIZED), program)
    return first, _run(_layout(0), first)[0]


def _layout(begin: int) -> tuple[tuple[str, Pass], ...]:
    return (
        ("channels_last", functools.partial(channels_last, begin=begin)),
        *VIEWS,
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
