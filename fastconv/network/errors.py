"""Errors of nodes, in the kinds that callers expect, with the node's name."""

from __future__ import annotations

from typing import NoReturn


def raise_of_node(error: Exception, name: str, kind: str) -> NoReturn:
    """Raise a ValueError or TypeError for whatever went wrong in a node, with its name.

    An error of those kinds that has one message stays the same object.
    """
    label = f"(in node {name!r}: {kind})"
    if isinstance(error, (TypeError, ValueError)):
        if len(error.args) == 1 and isinstance(error.args[0], str):
            error.args = (f"{error.args[0]} {label}",)
            raise error
        kept = TypeError if isinstance(error, TypeError) else ValueError
        raise kept(f"{error} {label}") from error
    raise ValueError(f"{type(error).__name__}: {error} {label}") from error
