"""Graphs of 16-bit floats computed in float32 from end to end.

Each operation of 16-bit floats sums in float32 and rounds its result. A graph of them would cast
at both ends of each layer, and most of NumPy's functions on 16-bit floats are slow. Here values
stay in float32 between the inputs and the outputs: nothing overflows on the way, and results are
rounded once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastconv.dispatch import Parameter
from fastconv.network.graph import Graph, Node, Port
from fastconv.problem.values import SIXTEEN

_WIDE = np.dtype(np.float32)


def in_float32(graph: Graph) -> Graph:
    """Return a graph that takes and returns the same dtypes, and computes in float32.

    The graph itself where it has no inputs, outputs or weights of 16-bit floats: what only casts
    to them on the way wants the rounding.
    """
    ports = (*graph.inputs, *graph.outputs)
    weights = (v for v in graph.constants.values() if v.ndim > 1)
    if not any(map(_is_narrow, (*(port.dtype for port in ports), *(v.dtype for v in weights)))):
        return graph
    if graph.fallbacks:
        # What another package runs looks at dtypes itself.
        return graph
    return _with_casts(_Widening().graph(graph), graph)


def _is_narrow(dtype: Any) -> bool:
    return getattr(dtype, "name", dtype) in SIXTEEN


class _Widening:
    """Makes all of a graph float32; weights that several nodes or graphs share stay shared."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}

    def graph(self, graph: Graph) -> Graph:
        return dataclasses.replace(
            graph,
            inputs=tuple(map(_wide_port, graph.inputs)),
            outputs=tuple(map(_wide_port, graph.outputs)),
            nodes=tuple(map(self._node, graph.nodes)),
            constants={name: self._wide(value) for name, value in graph.constants.items()},
        )

    def _node(self, node: Node) -> Node:
        return dataclasses.replace(node, attributes=self._wide(dict(node.attributes)))

    def _wide(self, value: Any) -> Any:
        """Return an attribute or a constant with float32 for 16-bit floats in it."""
        if isinstance(value, Graph):
            return self.graph(value)
        if isinstance(value, Mapping):
            return {name: self._wide(item) for name, item in value.items()}
        if type(value) in (tuple, list):
            return type(value)(map(self._wide, value))
        if isinstance(value, np.dtype):
            return _WIDE if _is_narrow(value) else value
        if isinstance(value, np.ndarray) and _is_narrow(value.dtype):
            if id(value) not in self._made:
                wide = np.asarray(value).astype(_WIDE)
                self._made[id(value)] = Parameter(wide) if isinstance(value, Parameter) else wide
            return self._made[id(value)]
        return value


def _wide_port(port: Port) -> Port:
    return dataclasses.replace(port, dtype=_WIDE.name) if _is_narrow(port.dtype) else port


def _with_casts(wide: Graph, narrow: Graph) -> Graph:
    """Return the wide graph with the narrow one's inputs and outputs."""
    taken = {*wide.constants, *(port.name for port in narrow.inputs)}
    taken |= {name for node in wide.nodes for name in node.outputs}
    names: dict[str, str] = {}
    for port in (*narrow.inputs, *narrow.outputs):
        if _is_narrow(port.dtype) and port.name not in names:
            inner = f"{port.name}:float32"
            while inner in taken:
                inner += "_"
            names[port.name] = inner
    before, after = [], []
    for port in narrow.inputs:
        if port.name in names:
            cast = {"dtype": _WIDE}
            before.append(Node("cast", (port.name,), (names[port.name],), cast, port.name))
    made = {name for node in wide.nodes for name in node.outputs}
    for port in narrow.outputs:
        # An output that no node makes is an input or a constant as it is.
        if port.name in names and port.name in made:
            cast = {"dtype": _narrow_dtype(port.dtype)}
            after.append(Node("cast", (names[port.name],), (port.name,), cast, port.name))
    nodes = tuple(
        dataclasses.replace(
            node,
            inputs=tuple(names.get(name, name) for name in node.inputs),
            outputs=tuple(names.get(name, name) for name in node.outputs),
        )
        for node in wide.nodes
    )
    return dataclasses.replace(
        wide, inputs=narrow.inputs, outputs=narrow.outputs, nodes=(*before, *nodes, *after)
    )


def _narrow_dtype(name: str) -> np.dtype[Any]:
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes

    found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return found
