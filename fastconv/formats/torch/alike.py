"""Whether two traces of a module compute the same, the one with an open batch, the other with 1."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from fastconv.problem import Shape

# Operators whose result has another rank, or other values, where a length is 1.
_OF_ONE = ("aten::squeeze", "aten::squeeze_")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The shapes of a program's inputs: which lengths are open, and what they are in the example.

    ``batch`` has the places of the inputs whose first length is the batch.
    """

    shapes: tuple[tuple[Any, ...], ...]
    hints: tuple[Shape, ...]
    batch: tuple[int, ...]

    @classmethod
    def of(cls, program: Any) -> Sizes:
        """Read them; the batch is the first open length of the first axes, wherever it is."""
        shapes = _shapes_of_inputs(program)
        hints = tuple(tuple(map(_hint, shape)) for shape in shapes)
        open_ = [i for i, shape in enumerate(shapes) if shape and not isinstance(shape[0], int)]
        batch = (i for i in open_ if hints[i][0] == hints[open_[0]][0])
        return cls(shapes, hints, tuple(batch))

    def at_one(self) -> list[Shape]:
        """Return the example's shapes with a batch of 1."""
        rows = enumerate(self.hints)
        return [(1, *shape[1:]) if place in self.batch else shape for place, shape in rows]

    def open_lengths(self) -> dict[str, int]:
        """Return the open lengths but for the batch, by their symbols, as in the example."""
        found: dict[str, int] = {}
        for place, (shape, hints) in enumerate(zip(self.shapes, self.hints, strict=True)):
            for axis, (size, hint) in enumerate(zip(shape, hints, strict=True)):
                if not isinstance(size, int) and not (axis == 0 and place in self.batch):
                    found.setdefault(str(size), hint)
        return found

    def with_length(self, shapes: Sequence[Shape], symbol: str, length: int) -> list[Shape]:
        """Return shapes with another length for a symbol."""
        return [
            tuple(
                length if str(size) == symbol else given for size, given in zip(*row, strict=True)
            )
            for row in zip(self.shapes, shapes, strict=True)
        ]


def looks_at_sizes_of_one(program: Any) -> bool:
    """Return whether a call does something else with open lengths of 1, without a guard."""
    return any(not isinstance(size, int) for size in _squeezed(program))


def keeps_ones(program: Any, shapes: Sequence[Shape]) -> bool:
    """Return whether a call keeps an open length of 1 that it would take away, at these shapes."""
    point = _point(program, shapes)
    open_ = (size for size in _squeezed(program) if not isinstance(size, int))
    return any(int(size.node.expr.subs(point)) == 1 for size in open_)


def _squeezed(program: Any) -> list[Any]:
    """Return the lengths that calls take away where they are 1."""
    found: list[Any] = []
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is not None and schema.name in _OF_ONE:
            shape = _value(node.args[0]).shape
            dims = node.args[1] if len(node.args) > 1 else range(len(shape))
            places = dims if isinstance(dims, Sequence) else (dims,)
            found.extend(known_length(shape[place]) for place in places if shape)
    return found


def is_alike(program: Any, other: Any, shapes: Sequence[Shape]) -> bool:
    """Return whether both programs make the same calls on inputs of the given shapes."""
    try:
        one, two = (_Calls(each, _point(each, shapes)) for each in (program, other))
    except (TypeError, ValueError, ZeroDivisionError):
        return False
    return one.told == two.told and _same_tensors(program.constants, other.constants)


def _same_tensors(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if one.keys() != other.keys():
        return False
    pairs = [(one[name], other[name]) for name in one]
    return all(
        a is b or (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and _equal(a, b))
        for a, b in pairs
    )


def _equal(one: Any, other: Any) -> bool:
    return (one.dtype, one.shape) == (other.dtype, other.shape) and bool(torch.equal(one, other))


def _shapes_of_inputs(program: Any) -> tuple[tuple[Any, ...], ...]:
    wanted = set(program.graph_signature.user_inputs)
    nodes = [n for n in program.graph.find_nodes(op="placeholder") if n.name in wanted]
    return tuple(
        tuple(map(known_length, n.meta["val"].shape))
        for n in nodes
        if isinstance(n.meta.get("val"), torch.Tensor)
    )


def known_length(size: Any) -> Any:
    """Return a length as an integer where the trace took it for one, else as it is.

    Such a length may still be of torch's symbolic type.
    """
    known = size if isinstance(size, int) else size.node.maybe_as_int()
    return size if known is None else known


def _hint(size: Any) -> int:
    return size if isinstance(size, int) else int(size.node.hint)


def _point(program: Any, shapes: Sequence[Shape]) -> dict[Any, int]:
    """Return the value of each symbol in inputs of the given shapes."""
    found: dict[Any, int] = {}
    for own, given in zip(_shapes_of_inputs(program), shapes, strict=True):
        for size, value in zip(own, given, strict=True):
            if not isinstance(size, int):
                found.setdefault(size.node.expr, value)
    return found


class _Calls:
    """What a program calls, with each open size as a number and each value by its place."""

    def __init__(self, program: Any, point: Mapping[Any, int]) -> None:
        self._point = point
        self._places: dict[Any, Any] = {}
        self.told: list[Any] = []
        for node in program.graph.nodes:
            if node.op == "placeholder":
                self._places[node] = node.name
            elif node.op == "get_attr":
                self._places[node] = ("attribute", node.target)
            elif node.op == "output":
                self.told.append(self._shown(node.args))
            elif _is_of_tensors(node):
                self._places[node] = len(self.told)
                self.told.append(
                    (str(node.target), self._shown(node.args), self._shown(node.kwargs),
                     self._shown(_value(node)))
                )  # fmt: skip

    def _shown(self, given: Any) -> Any:
        return [self._leaf(leaf) for leaf in pytree.tree_leaves(given)]

    def _leaf(self, leaf: Any) -> Any:
        if isinstance(leaf, torch.fx.Node):
            return self._places[leaf] if leaf in self._places else self._leaf(_value(leaf))
        if isinstance(leaf, torch.Tensor):
            return ("tensor", str(leaf.dtype), *(self._leaf(size) for size in leaf.shape))
        if isinstance(leaf, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            value = leaf.node.expr.subs(self._point)
            return float(value) if isinstance(leaf, torch.SymFloat) else int(value)
        return leaf if isinstance(leaf, (int, float, str)) else str(leaf)


def _value(node: Any) -> Any:
    return node.meta.get("val")


def _is_of_tensors(node: Any) -> bool:
    return any(isinstance(leaf, torch.Tensor) for leaf in pytree.tree_leaves(_value(node)))
