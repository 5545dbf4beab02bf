"""Frozen dataclasses that are made without compiling code.

`dataclasses` writes the methods of each class as text and compiles it, 0.4 ms a class, and a
process that runs one network makes thirty classes. Here the methods are written once, for all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

__all__ = ["record"]

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
            for name, method in (_METHODS | _BY_VALUE if eq else _METHODS).items():
                if name not in vars(cls):
                    setattr(cls, name, method)
            return cls

        return make


def _init(self: Any, *values: Any, **named: Any) -> None:
    given = dict(zip(self._places, values, strict=False))
    known = self._defaults | given | named
    once = len(given) == len(values) and given.keys().isdisjoint(named)
    if not once or len(known) > len(self._names) or any(n not in known for n in self._names):
        raise TypeError(
            f"{type(self).__qualname__} takes {', '.join(self._names)}, each once, but got "
            f"{len(values)} by place and {', '.join(named) or 'none'} by name"
        )
    self.__dict__.update((name, known[name]) for name in self._names)


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
    return hash(self._values(self))


_METHODS: dict[str, Callable[..., Any]] = {
    "__init__": _init,
    "__repr__": _repr,
    "__setattr__": _set,
    "__delattr__": _delete,
}
_BY_VALUE: dict[str, Callable[..., Any]] = {"__eq__": _equal, "__hash__": _hash}
