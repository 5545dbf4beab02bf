"""Frozen dataclasses that are made without compiling code.

`dataclasses` writes the methods of each class as text and compiles it, 0.4 ms a class, and a
process that runs one network makes thirty classes. Here the methods are written once, for all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, TypeVar

__all__ = ["record", "replaced"]

R = TypeVar("R")

if TYPE_CHECKING:
    # To a type checker a record is a dataclass.
    from dataclasses import dataclass as record
else:

    def record(
        *, frozen: Literal[True], eq: bool = True, kw_only: bool = False
    ) -> Callable[[type], type]:
        """Make a frozen dataclass of a class whose fields are plain: a type, perhaps a default.

        `dataclasses.fields`, `replace` and `asdict` take it as they take others. What is derived
        from it and adds fields is a record as well.
        """

        def make(cls: type) -> type:
            cls = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)
            fields = dataclasses.fields(cls)
            cls._names = tuple(f.name for f in fields)
            cls._places = tuple(f.name for f in fields if not f.kw_only)
            cls._defaults = {
                f.name: f.default for f in fields if f.default is not dataclasses.MISSING
            }
            cls._values = attrgetter(*cls._names)
            cls._known = frozenset(cls._names)
            for name, method in (_METHODS | _BY_VALUE if eq else _METHODS).items():
                if name not in vars(cls):
                    setattr(cls, name, method)
            return cls

        return make


def replaced(value: R, /, **changes: Any) -> R:
    """Return a record with other fields: `dataclasses.replace`, without looking at their names."""
    made = object.__new__(type(value))
    held = value.__dict__
    names: tuple[str, ...] = value._names  # type: ignore[attr-defined]
    made.__dict__.update({name: held[name] for name in names}, **changes)
    return made


def _init(self: Any, *values: Any, **named: Any) -> None:
    held = self.__dict__
    if not named and len(values) <= len(self._places):
        held.update(self._defaults)
        held.update(zip(self._places, values, strict=False))
        if len(held) == len(self._names):
            return
    elif not values and named.keys() == self._known:
        held.update(named)
        return
    given = dict(zip(self._places, values, strict=False))
    known = {**self._defaults, **given, **named}
    once = len(given) == len(values) and (not named or given.keys().isdisjoint(named))
    if not once or known.keys() != self._known:
        raise TypeError(
            f"{type(self).__qualname__} takes {', '.join(self._names)}, each once, but got "
            f"{len(values)} by place and {', '.join(named) or 'none'} by name"
        )
    self.__dict__.update(known)


def _repr(self: Any) -> str:
    values = (f"{name}={getattr(self, name)!r}" for name in self._names)
    return f"{type(self).__qualname__}({', '.join(values)})"


def _set(self: Any, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _equal(self: Any, other: Any) -> Any:
    return (
        self._values(self) == self._values(other) if type(self) is type(other) else NotImplemented
    )


def _hash(self: Any) -> int:
    # A problem is a key many times over.
    found: int | None = self.__dict__.get("_hashed")
    if found is None:
        found = self.__dict__["_hashed"] = hash((type(self), self._values(self)))
    return found


def _state(self: Any) -> dict[str, Any]:
    """Return the fields alone: another process hashes strings in another way."""
    return {name: self.__dict__[name] for name in self._names}


_METHODS: dict[str, Callable[..., Any]] = {
    "__init__": _init,
    "__repr__": _repr,
    "__setattr__": _set,
    "__delattr__": _delete,
    "__getstate__": _state,
}
_BY_VALUE: dict[str, Callable[..., Any]] = {"__eq__": _equal, "__hash__": _hash}
