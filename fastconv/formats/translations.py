"""Tables of translations: a function an operator, put in by a decorator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F")


def into(table: dict[str, F]) -> Callable[..., Callable[[F], F]]:
    """Return the decorator that puts a function into a table under the names that it is given."""

    def names_of(*names: str) -> Callable[[F], F]:
        def register(function: F) -> F:
            table.update(dict.fromkeys(names, function))
            return function

        return register

    return names_of
