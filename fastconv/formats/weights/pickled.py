"""A reader of pickles that runs nothing: tensors, dicts, lists, tuples, text and numbers alone.

Python's own unpickler calls what a pickle names. This one keeps names as names, and gives each
"call" to a table of the few that stand for tensors and dicts; the rest is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Global(NamedTuple):
    """The name of something in a module; nothing is imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


Makers = Mapping[Global, Callable[..., Any] | None]

_MARK = object()
_VALUES = frozenset(
    (
        "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
        "BINUNICODE8",
    )
)  # fmt: skip
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_EMPTY: dict[str, type] = {"EMPTY_DICT": dict, "EMPTY_LIST": list}


class Reader:
    """A pickle's stack machine.

    Parameters
    ----------
    makers : mapping
        What to make of a call of each name; None for names that are values only.
    persistent : callable
        Gives what a persistent id stands for.
    """

    def __init__(self, makers: Makers, persistent: Callable[[Any], Any]) -> None:
        self._makers = makers
        self._persistent = persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def read(self, data: bytes) -> Any:
        """Return what a pickle holds.

        Raises
        ------
        ValueError
            For a pickle that is damaged, or holds anything else than is read here.
        """
        try:
            for opcode, argument, _ in pickletools.genops(data):
                if opcode.name == "STOP":
                    (result,) = self._taken(1)
                    return result
                self._step(opcode.name, argument)
        except (IndexError, KeyError, TypeError, UnicodeError, OverflowError) as error:
            raise ValueError(f"its pickle is damaged: {error}") from None
        raise ValueError("its pickle is damaged: it has no end")

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            stack.append(self._taken(_TUPLES[name]))
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name not in ("PROTO", "FRAME"):
            self._build(name, argument)

    def _build(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name == "TUPLE":
            stack.append(self._marked())
        elif name == "APPEND":
            _list(stack[-2]).append(stack.pop())
        elif name == "APPENDS":
            items = self._marked()
            _list(stack[-1]).extend(items)
        elif name == "SETITEM":
            key, value = self._taken(2)
            _set(stack[-1], (key, value))
        elif name == "SETITEMS":
            items = self._marked()
            _set(stack[-1], items)
        elif name == "GLOBAL":
            stack.append(self._named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(self._named(*self._taken(2)))
        elif name == "REDUCE":
            function, arguments = self._taken(2)
            stack.append(self._made(function, arguments))
        elif name == "BINPERSID":
            stack.append(self._persistent(stack.pop()))
        elif name == "BUILD":
            # Attributes of an OrderedDict, such as torch's versions of layers: of no use here.
            stack.pop()
            if not isinstance(stack[-1], dict):
                raise ValueError(
                    "it holds an object with a state of its own; only tensors are read"
                )
        else:
            raise ValueError(f"its pickle has an instruction that is not read: {name}")

    def _taken(self, count: int) -> tuple[Any, ...]:
        if count == 0:
            return ()
        if len(self._stack) < count:
            raise IndexError("values are missing")
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        if any(item is _MARK for item in items):
            raise IndexError("a mark in the place of a value")
        return items

    def _marked(self) -> tuple[Any, ...]:
        place = len(self._stack) - 1
        while self._stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise IndexError("a mark is missing")
        items = tuple(self._stack[place + 1 :])
        del self._stack[place:]
        return items

    def _named(self, module: Any, name: Any) -> Global:
        found = Global(str(module), str(name))
        if found not in self._makers:
            raise ValueError(
                f"it holds {found}, which is neither a tensor nor a dict of tensors, and is not "
                f"read: it could run anything. Save the state dict alone, by "
                f"torch.save(module.state_dict(), path)"
            )
        return found

    def _made(self, function: Any, arguments: Any) -> Any:
        maker = self._makers.get(function) if isinstance(function, Global) else None
        if maker is None or not isinstance(arguments, tuple):
            raise ValueError(f"it calls {function}, which is not read")
        return maker(*arguments)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("items are added to what is not a list")
    return value


def _set(target: Any, items: tuple[Any, ...]) -> None:
    if not isinstance(target, dict):
        raise TypeError("items are set in what is not a dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, (str, int, float)):
            raise TypeError(f"a dict's key is a {type(key).__name__}")
        target[key] = value
