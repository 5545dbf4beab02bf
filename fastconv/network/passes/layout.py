"""Channels last or first: one layout for the whole network."""

from __future__ import annotations

from fastconv.network.program import Program


def choose_layout(program: Program) -> Program:
    """Lay images out channels last or first throughout, whichever is predicted to be faster."""
    return program
