"""What was made of weights, for as long as they stay what they were."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# How many values are kept for one set of weights, the latest ones.
KEPT = 16
# Making something of weights takes as long as many runs do. Where they have changed HASTY times
# in a row before SETTLED uses, nothing is made of them until they have stayed the same for so many.
HASTY = 3
SETTLED = 8


class Held(Generic[T]):
    """What was made of sets of weights, by a key; forgotten once they change or are gone.

    One part of a graph may meet several sets: torch compiles layers of the same code once. Sets
    are known by identity, and changes by torch's versions and the addresses. Nothing here keeps
    weights alive.
    """

    def __init__(self) -> None:
        self._sets: dict[tuple[int, ...], _Set[T]] = {}

    def get(self, weights: Sequence[Any], key: Any, make: Callable[[], T]) -> T | None:
        """Return what was made, or make it; None where the weights keep changing.

        Raises
        ------
        TypeError
            For tensors that were made in inference mode.
        """
        name = tuple(map(id, weights))
        found = self._sets.get(name)
        if found is None:
            if any(weight.is_inference() for weight in weights):
                raise TypeError("weights made in inference mode have no versions to go by")
            forget = functools.partial(_forget, self._sets, name)
            found = _Set([weakref.ref(weight, forget) for weight in weights])
        versions = [(weight._version, weight.data_ptr()) for weight in weights]
        self._sets[name] = found
        return found.get(versions, key, make)


def _forget(sets: dict[tuple[int, ...], Any], name: tuple[int, ...], _: Any) -> None:
    sets.pop(name, None)


class _Set(Generic[T]):
    """What was made of one set of weights. A change of it is one step, for forks and threads."""

    def __init__(self, references: list[Any]) -> None:
        self._references = references
        self._versions: tuple[Any, dict[Any, T]] = (None, {})
        self._uses = SETTLED
        self._hasty = 0

    def get(self, versions: Any, key: Any, make: Callable[[], T]) -> T | None:
        known, made = self._versions
        if known == versions:
            self._uses += 1
        else:
            made = {}
            self._versions = versions, made
            self._hasty = self._hasty + 1 if self._uses < SETTLED else 0
            self._uses = 1
        if key in made:
            return made[key]
        if self._hasty >= HASTY and self._uses < SETTLED:
            return None
        value = make()
        put(made, key, value)
        return value


def put(kept: dict[Any, T], key: Any, value: T) -> None:
    """Keep a value, and the latest ones alone."""
    kept[key] = value
    while len(kept) > KEPT:
        del kept[next(iter(kept))]
