"""Inputs that decide which branch of a graph runs, such as a sample rate: taken by their value.

A trace has no data, so a branch on an input could not be traced. For each value of such inputs the
graph is traced as a network of its own, in which they are constants.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastconv.network.graph import Graph, Node, Port


def deciding_inputs(function: Callable[..., Any]) -> tuple[int, ...]:
    """Return the places of the inputs that decide branches: single integers or truth values.

    None where a branch depends on other data too, and where nothing else is given: what depends on
    no input may depend on chance.
    """
    graph = getattr(function, "graph", None)
    if not isinstance(graph, Graph):
        return ()
    places = {port.name: place for place, port in enumerate(graph.inputs)}
    names = _deciding(graph)
    ports = [graph.inputs[places[name]] for name in names]
    if not all(map(_is_single, ports)) or len(ports) == len(graph.inputs):
        return ()
    return tuple(sorted(places[port.name] for port in ports))


def _is_single(port: Port) -> bool:
    single = not (port.any_rank or port.kind) and all(size == 1 for size in port.shape)
    return single and np.dtype(port.dtype).kind in "iub"


def _deciding(graph: Graph) -> set[str]:
    """Return the inputs of a graph that the conditions in it depend on by their values.

    A graph inside reads values of this one under their names.
    """
    makers = {name: node for node in graph.nodes for name in node.outputs}
    inputs = {port.name for port in graph.inputs}
    found: set[str] = set()
    seen: set[str] = set()
    wanted = [name for node in graph.nodes for name in _conditions(node)]
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in inputs:
            found.add(name)
        elif name in makers and makers[name].op not in _OF_SHAPES:
            wanted += [each for each in makers[name].inputs if each]
    return found


# Operations that read the shape of a value alone.
_OF_SHAPES = frozenset(("shape", "size", "size_of"))


def _conditions(node: Node) -> set[str]:
    """Return the values that a node's branch depends on, and the branches inside it."""
    if node.op != "branch":
        return set()
    graphs = [node.attributes["then"], node.attributes["otherwise"]]
    return {node.inputs[0]}.union(*map(_deciding, graphs))


@dataclasses.dataclass(frozen=True)
class Decided:
    """A function some of whose inputs are constants, whatever is given for them."""

    function: Callable[..., Any]
    values: Mapping[int, np.ndarray[Any, Any]]

    def __call__(self, *inputs: Any) -> Any:
        """Call the function."""
        return self.function(*(self.values.get(i, value) for i, value in enumerate(inputs)))


def decided(
    function: Callable[..., Any], places: Sequence[int], inputs: Sequence[Any]
) -> Decided | None:
    """Return the function for these values of its deciding inputs; None: they are not arrays."""
    values = {place: inputs[place] for place in places}
    if not all(isinstance(value, np.ndarray) for value in values.values()):
        return None
    return Decided(function, {place: np.array(value) for place, value in values.items()})
