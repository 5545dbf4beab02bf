"""Arguments of a call with places for what is known only when it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any


class Place(int):
    """Where in a call's inputs an argument is."""


@dataclasses.dataclass(frozen=True)
class OfBatch:
    """A whole number that depends on the batch: ``factor`` times it, and ``offset``."""

    factor: int
    offset: int


def split(value: Any, is_input: Callable[[Any], bool], inputs: list[Any]) -> Any:
    """Take inputs out of arguments, and leave their places; ``inputs`` grows by them."""
    if is_input(value):
        inputs.append(value)
        return Place(len(inputs) - 1)
    if isinstance(value, (tuple, list)):
        return type(value)(split(item, is_input, inputs) for item in value)
    if isinstance(value, dict):
        return {key: split(item, is_input, inputs) for key, item in value.items()}
    return value


def filled(value: Any, arrays: Sequence[Any], batch: int = 0) -> Any:
    """Put inputs back at their places, and a batch where numbers depend on it."""
    if isinstance(value, Place):
        return arrays[value]
    if isinstance(value, OfBatch):
        return value.factor * batch + value.offset
    if isinstance(value, (tuple, list)):
        return type(value)(filled(item, arrays, batch) for item in value)
    if isinstance(value, dict):
        return {key: filled(item, arrays, batch) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(*(filled(n, arrays, batch) for n in (value.start, value.stop, value.step)))
    return value
