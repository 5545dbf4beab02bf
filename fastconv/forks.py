"""Locks that a child process finds free: the thread that held one at the fork does not exist there.

What they guard is whole at any moment that Python can fork at: each change of it is one step.
Before CPython 3.12 the cached properties of `functools` have one that is not; `cached_property` has
none.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_locks: weakref.WeakSet[Any] = weakref.WeakSet()


def lock() -> threading.Lock:
    """Return a lock that is free in a child, whichever thread held it."""
    made = threading.Lock()
    _locks.add(made)
    return made


def reentrant_lock() -> Any:
    """Return a lock that its holder may take again."""
    made = threading.RLock()
    _locks.add(made)
    return made


def _free() -> None:
    for held in tuple(_locks):
        held._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free)


class cached_property(Generic[T]):
    """A property that is worked out once an object; by two threads at a time, twice."""

    def __init__(self, function: Callable[[Any], T]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: Any, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: Any = None) -> T:
        if instance is None:
            return self  # type: ignore[return-value]
        # Found there before this is asked again.
        value: T = self._function(instance)
        instance.__dict__[self._name] = value
        return value
