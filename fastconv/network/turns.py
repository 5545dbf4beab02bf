"""Where networks turn channels last, chosen for few sizes that stand for all of them.

The choice compares the times of all operations in both layouts, which takes longer than all else
that a new size asks for. For it one size stands for all those with the same first two binary
digits: so it follows from the sizes alone, whatever sizes came before, and is made twice an octave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastconv import settings
from fastconv.dispatch import tuning
from fastconv.machine import forced_isa
from fastconv.network.passes import Turning, before_turning
from fastconv.network.passes.layout import last_from
from fastconv.network.passes.rewrites import Rewrites
from fastconv.network.program import Program, Solve
from fastconv.problem import Shape

Specs = Sequence[tuple[Shape, Any]]
# For each input, which of its dimensions after the first are open.
OpenSizes = tuple[tuple[bool, ...], ...]
# How many choices are kept.
KEPT = 256
# Lengths from LARGE on are represented by one that is STEP above a round one: still a multiple of
# the strides of most networks.
LARGE, STEP = 256, 32


class Turn(NamedTuple):
    """Where a program turns, and of what kind its operations are in order."""

    kinds: tuple[type, ...]
    place: int


class Turns:
    """The places where the programs of one network turn, by the sizes of an image."""

    def __init__(
        self, rewrites: Rewrites, lower: Callable[[Specs], Program | None], open_sizes: OpenSizes
    ) -> None:
        self._rewrites, self._lower, self._open = rewrites, lower, open_sizes
        self._kept: dict[Any, Turn | None] = {}

    def of(self, specs: Specs) -> Turning:
        """Return what tells where the program for these sizes turns; the batch changes nothing."""
        image = _of_one_image(specs)
        of_one = None if image is None else self._lowered(image)

        def turning(passed: Program) -> int:
            if image is None or of_one is None:
                return self._place(specs, passed)
            own = before_turning(of_one, self._rewrites)
            # A batch whose program is not that of an image stays as it is.
            same = len(own.ops) == len(passed.ops)
            return self._place(image, own) if same else len(passed.ops)

        return turning

    def _place(self, specs: Specs, passed: Program) -> int:
        """Return where a program turns that is as it is before."""
        few = self._few(specs)
        turn = None if few == list(specs) else self._turn(few, None)
        if turn is None or turn.kinds != _kinds(passed):
            turn = self._turn(specs, passed)
        assert turn is not None
        return turn.place

    def _few(self, specs: Specs) -> list[tuple[Shape, Any]]:
        """Return the sizes that stand for these."""
        if len(self._open) != len(specs):
            return list(specs)
        return [
            (_rounded(shape, opened), dtype)
            for (shape, dtype), opened in zip(specs, self._open, strict=True)
        ]

    def _turn(self, specs: Specs, passed: Program | None) -> Turn | None:
        """Return the choice for sizes, made now if it is not kept; None: they have no program."""
        shapes = tuple((tuple(shape), np.dtype(dtype)) for shape, dtype in specs)
        isa, limit = forced_isa(), settings.workspace_limit()
        key = shapes, settings.backend(), isa, limit, tuning.current(isa)
        if key not in self._kept:
            if passed is None and (lowered := self._lowered(specs)) is not None:
                passed = before_turning(lowered, self._rewrites)
            turn = None if passed is None else Turn(_kinds(passed), last_from(passed))
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[key] = turn
            return turn
        return self._kept[key]

    def _lowered(self, specs: Specs) -> Program | None:
        try:
            program = self._lower(specs)
        except MemoryError:
            raise
        except Exception:
            return None
        # What leaves images out may leave none.
        if program is None or any(0 in spec.shape for spec in program.values.values()):
            return None
        return program


def _kinds(program: Program) -> tuple[type, ...]:
    return tuple(type(op.problem) if isinstance(op, Solve) else type(op) for op in program.ops)


def _of_one_image(specs: Specs) -> list[tuple[Shape, Any]] | None:
    """Return the sizes of a batch of one, where the inputs share a larger first dimension."""
    batches = {shape[0] if shape else 0 for shape, _ in specs}
    if len(batches) != 1 or batches <= {0, 1}:
        return None
    return [((1, *shape[1:]), dtype) for shape, dtype in specs]


def _rounded(shape: Shape, opened: tuple[bool, ...]) -> Shape:
    """Let a length stand for all open ones that have its first two binary digits."""
    if len(shape) != len(opened) + 1:
        return tuple(shape)
    pairs = zip(shape[1:], opened, strict=True)
    return (shape[0], *(_standing(n) if is_open else n for n, is_open in pairs))


def _standing(length: int) -> int:
    digits = max(0, length.bit_length() - 2)
    rounded = length >> digits << digits
    # Small multiples of powers of two are what networks have of channels, too. Lengths that are
    # equal by chance would make it another program than those of the sizes that it stands for.
    return rounded + STEP if length >= LARGE else rounded
