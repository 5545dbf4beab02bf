"""One ATen call on its way to graph nodes: what a translation reads, and how it answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.fx import Node as FxNode

from fastconv.formats.translations import into
from fastconv.problem.values import COMPLEX, FLOATS, INTEGERS

if TYPE_CHECKING:
    from fastconv.formats.torch.builder import Builder

DTYPES = (*FLOATS, *INTEGERS, *COMPLEX, "uint64", "bool")


class Unsupported(Exception):
    """Why a call cannot be translated."""


def dtype_name(dtype: Any) -> str:
    """Return a torch dtype's name as NumPy (or ml_dtypes) has it; Unsupported for others."""
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise Unsupported(f"dtype {name}")
    return name


def numpy_dtype(dtype: Any) -> np.dtype[Any]:
    """Return a torch dtype as a NumPy dtype."""
    name: Any = dtype_name(dtype)
    if name == "bfloat16":
        import ml_dtypes

        name = ml_dtypes.bfloat16
    found: np.dtype[Any] = np.dtype(name)
    return found


@dataclasses.dataclass
class Call:
    """An ATen call: its name without overload, its arguments by the schema's names."""

    op: str
    overload: str
    node: Any
    arguments: dict[str, Any]
    builder: Builder

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument that must be known beforehand, or the default where it is None."""
        value = self.arguments.get(name)
        if self.builder.is_open(value):
            raise Unsupported(f"{name} is computed at run time")
        return default if value is None else self.builder.settled(value)

    def given(self, *names: str) -> Any:
        """Return the first of these arguments that is present, as it is."""
        return next((v for n in names if (v := self.arguments.get(n)) is not None), None)

    def has(self, name: str) -> bool:
        """Return whether an argument is present and not None."""
        return self.arguments.get(name) is not None

    def value(self, name: str) -> str:
        """Return the graph's name of a tensor argument; "" where it is None."""
        found = self.arguments.get(name)
        return "" if found is None else self.builder.name_of(found)

    def fake(self, name: str = "self") -> Any:
        """Return what is known of a tensor argument: shape and dtype."""
        return self.builder.fake_of(self.arguments[name])

    @property
    def result(self) -> Any:
        """What is known of the result."""
        return self.node.meta["val"]

    def rank(self, name: str = "self") -> int:
        """Return the number of dimensions of a tensor argument."""
        return len(self.fake(name).shape)

    def axis(self, name: str = "dim", of: str = "self") -> int:
        """Return a dimension counted from the first."""
        return int(self.get(name)) % max(1, self.rank(of))

    def reads(self, place: int) -> bool:
        """Return whether anything reads one of the call's several values."""
        users = (user for user in self.node.users if user in self.builder.live)
        return any(user.args[1] == place for user in users)

    def size(self, axis: int, of: str = "self") -> int | str:
        """Return a length of a tensor argument: an int, or the name of a value worked out later."""
        known = length(self.fake(of).shape[axis])
        return self.step("size_of", (self.value(of),), axis=axis) if known is None else known

    def sizes(self, values: Sequence[Any]) -> str:
        """Return the name of an int64 array of numbers, some known only at run time."""
        return self.builder.sizes(self.node, values)

    def constant(self, value: Any) -> str:
        """Keep an array as a constant of this call's own, and give its name."""
        return self.builder.keep(self.node.name, np.asarray(value))

    def step(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node before the one that answers, and give its output's name."""
        return self.builder.step(self.node, op, inputs, attributes)

    def answer(self, op: str, inputs: Sequence[str] = (), **attributes: Any) -> None:
        """Answer with one node."""
        self.builder.answer(self.node, op, inputs or (self.value("self"),), attributes)

    def same(self, name: str) -> None:
        """Answer with an existing value."""
        self.builder.same(self.node, name)

    def several(self, op: str, inputs: Sequence[str], count: int, **attributes: Any) -> None:
        """Answer with a node of several outputs."""
        self.builder.several(self.node, op, inputs, count, attributes)


Translation = Callable[[Call], None]
TRANSLATIONS: dict[str, Translation] = {}

# Registers the translation of ATen operators, named without their overloads.
translates = into(TRANSLATIONS)


def length(size: Any) -> int | None:
    """Return a length as an int; None where it is known only at run time."""
    if isinstance(size, int):
        return size
    found = size.node.maybe_as_int()
    return None if found is None else int(found)


def lengths_or_none(sizes: Sequence[Any]) -> tuple[int, ...] | None:
    """Return lengths as ints; None where one is known only at run time."""
    found = [length(size) for size in sizes]
    return None if None in found else tuple(size for size in found if size is not None)


def lengths(sizes: Sequence[Any]) -> tuple[int, ...]:
    """Return lengths as ints; Unsupported where one is known only at run time."""
    found = lengths_or_none(sizes)
    if found is None:
        raise Unsupported("a length known only at run time")
    return found


def is_node(value: Any) -> bool:
    """Return whether an argument is a node's value."""
    return isinstance(value, FxNode)


def refuse_integers(call: Call) -> None:
    """Leave out sums of integers, which are wider here than torch's, which wrap around."""
    if not (call.result.dtype.is_floating_point or call.result.dtype.is_complex):
        raise Unsupported("of integers")
