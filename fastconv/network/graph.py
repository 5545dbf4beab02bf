"""A network as a graph: nodes in order, constants, and the values between them, by name.

A node names an operation of `operations`; shapes stand nowhere, so that one graph serves any
batch and any image size. Constants are `Parameter`s: what is packed from them is kept a shape.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastconv.dispatch import Parameter
from fastconv.network.operations import operation
from fastconv.network.trace import scope


@dataclasses.dataclass(frozen=True)
class Port:
    """A network's input or output: its name, its dtype, its shape with names for open sizes.

    ``any_rank``: the shape is not known at all.
    """

    name: str
    shape: tuple[int | str | None, ...]
    dtype: str
    any_rank: bool = False


@dataclasses.dataclass(frozen=True)
class Node:
    """One operation: inputs by position ("" is an absent one), then keyword attributes."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Graph:
    """Nodes in an order in which each comes after those that it reads from."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Parameter]
    name: str = ""

    def __post_init__(self) -> None:
        known = {port.name for port in self.inputs} | set(self.constants)
        for node in self.nodes:
            missing = [name for name in node.inputs if name and name not in known]
            if missing:
                raise ValueError(
                    f"node {node.name!r} ({node.op}) reads {', '.join(map(repr, missing))}, which "
                    f"no input, constant or earlier node gives"
                )
            known.update(node.outputs)
        absent = [port.name for port in self.outputs if port.name not in known]
        if absent:
            raise ValueError(f"outputs {', '.join(map(repr, absent))} are given by no node")

    def run(self, values: Mapping[str, Any], wanted: Sequence[str] | None = None) -> list[Any]:
        """Run the nodes on arrays (or traced values) by input name; give the ``wanted`` values.

        A value is let go after its last reader.
        """
        names = [port.name for port in self.outputs] if wanted is None else list(wanted)
        last = self._last_readers(names)
        held: dict[str, Any] = {**self.constants, **values}
        for place, node in enumerate(self.nodes):
            arguments = [held[name] if name else None for name in node.inputs]
            with scope(node.name, node.op), np.errstate(all="ignore"):
                try:
                    results = operation(node.op)(*arguments, **node.attributes)
                except (TypeError, ValueError) as error:
                    if len(error.args) == 1 and isinstance(error.args[0], str):
                        error.args = (f"{error.args[0]} (in node {node.name!r}: {node.op})",)
                    raise
            if len(node.outputs) == 1:
                results = (results[0] if isinstance(results, tuple) else results,)
            for name, result in zip(node.outputs, results, strict=False):
                if name:
                    held[name] = result
            for name in last.get(place, ()):
                held.pop(name, None)
        return [held[name] for name in names]

    def _last_readers(self, kept: Sequence[str]) -> dict[int, list[str]]:
        """Give for each node the values that no later node reads."""
        readers: dict[str, int] = {}
        for place, node in enumerate(self.nodes):
            for name in (*node.inputs, *node.outputs):
                readers[name] = place
        last: dict[int, list[str]] = {}
        for name, place in readers.items():
            if name not in kept and name not in self.constants:
                last.setdefault(place, []).append(name)
        return last
