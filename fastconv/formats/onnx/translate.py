"""ONNX graphs as graphs: every node translated, or given to onnx's reference, or refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastconv.formats.onnx import (
    activations,
    arithmetic,
    blocked,
    contributed,
    control,
    indexing,
    layers,
    quantised,
    recurrent,
    reductions,
    resizing,
    sampling,
    sequences,
    shaping,
    signals,
    windows,
)
from fastconv.formats.onnx.call import FOREIGN, TRANSLATIONS, Call, Unsupported
from fastconv.formats.onnx.reference import ReferenceCall, reference_node
from fastconv.formats.onnx.values import (
    Reader,
    attribute_value,
    constant_of,
    constant_value,
    dense,
    dtype_of,
    port_of,
)
from fastconv.formats.onnx.weights import Weights
from fastconv.network import Graph, Node, Port

STANDARD = ("", "ai.onnx")
# Their import fills the table of translations.
FAMILIES = (
    activations, arithmetic, blocked, contributed, control, indexing, layers, quantised,
    recurrent, reductions, resizing, sampling, sequences, shaping, signals,
    windows,
)  # fmt: skip


@dataclasses.dataclass
class Translator:
    """What the graphs of one model have in common; ``refused`` gathers what cannot be run.

    ``types`` are those of outputs that declare none. The initializers ``fed`` are inputs.
    """

    onnx: Any
    opsets: Mapping[str, int]
    read: Reader
    weights: Weights = dataclasses.field(default_factory=Weights)
    refused: list[str] = dataclasses.field(default_factory=list)
    types: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fed: frozenset[str] = frozenset()
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def main(self, proto: Any) -> Graph:
        """Translate a model's graph."""
        graph, captured = self.graph(proto, {}, {}, typed=True)
        if captured:
            raise ValueError(f"nothing gives {', '.join(map(repr, captured))}")
        return graph

    def graph(
        self,
        proto: Any,
        outer: Mapping[str, Any],
        outer_dtypes: Mapping[str, np.dtype[Any]],
        *,
        typed: bool = False,
    ) -> tuple[Graph, tuple[str, ...]]:
        """Translate a graph; give it and the names of the values that it captures from outside.

        Those among ``outer`` constants become its own.
        """
        constants = {
            t.name: self._initializer(t, main=typed)
            for t in proto.initializer
            if not typed or t.name not in self.fed
        }
        for sparse in proto.sparse_initializer:
            constants[sparse.values.name] = constant_of(dense(self.onnx, sparse, self.read))
        captured = free_names(proto)
        constants.update({name: outer[name] for name in captured if name in outer})
        inputs = [
            port_of(self.onnx, i, typed=typed) for i in proto.input if i.name not in constants
        ]
        captured = tuple(name for name in captured if name not in outer)
        inputs += [Port(name, (), "", any_rank=True, kind="captured") for name in captured]
        declared = [self._typed(o) if typed else o for o in proto.output]
        outputs = [port_of(self.onnx, o, typed=False) for o in declared]
        values = (*proto.input, *proto.value_info, *declared)
        dtypes = {**outer_dtypes, **_dtypes_of(values)}
        nodes: list[Node] = []
        needed = _read(proto)
        for place, node in enumerate(proto.node):
            # A node without readers need not be known.
            if place in needed:
                nodes.extend(self._node(node, place, constants, dtypes, proto))
        if self.refused:
            return Graph((), (), (), {}), captured
        # What a node keeps in a form of its own, and what none reads, is not held besides.
        read = {name for node in nodes for name in node.inputs} | {o.name for o in outputs}
        held = {name: value for name, value in constants.items() if name in read}
        graph = Graph(tuple(inputs), tuple(outputs), tuple(nodes), held, proto.name)
        return graph, captured

    def _typed(self, value: Any) -> Any:
        """Return an output with its type, which is onnx's own inference where it declares none."""
        if value.name not in self.types:
            return value
        return self.onnx.ValueInfoProto(name=value.name, type=self.types[value.name])

    def _initializer(self, tensor: Any, *, main: bool) -> Any:
        kept = self.weights.get(tensor, main=main)
        return constant_of(self.read(tensor)) if kept is None else kept

    def _node(
        self,
        node: Any,
        place: int,
        constants: dict[str, Any],
        dtypes: Mapping[str, np.dtype[Any]],
        proto: Any,
    ) -> list[Node]:
        domain = "" if node.domain in STANDARD else node.domain
        label = node.name or f"#{place}"
        name = f"{node.op_type} (domain {domain or 'ai.onnx'}, opset {self.opsets.get(domain)}, "
        name += f"node {label})"
        before = len(self.refused)
        try:
            if domain == "" and node.op_type == "Constant":
                constants[node.output[0]] = constant_of(
                    np.asarray(constant_value(self.onnx, node, self.read))
                )
                return []
            try:
                return self._translated(node, domain, constants, dtypes, proto)
            except Unsupported as reason:
                del self.refused[before:]
                return [reference_node(self.onnx, node, domain, self.opsets, reason)]
        except Unsupported as reason:
            more = contributed.advice(domain, node.op_type) if domain else ""
            self.refused.append(f"{name}: {reason}{more}")
            return []
        except ValueError as error:
            raise ValueError(f"{error} (in {name})") from None
        except Exception as error:
            raise ValueError(f"{type(error).__name__}: {error} (in {name})") from error

    def _translated(
        self,
        node: Any,
        domain: str,
        constants: dict[str, Any],
        dtypes: Mapping[str, np.dtype[Any]],
        proto: Any,
    ) -> list[Node]:
        key = f"{domain}:{node.op_type}" if domain else node.op_type
        translation = (FOREIGN if domain else TRANSLATIONS).get(key)
        if translation is None:
            raise Unsupported("no translation")
        call = Call(
            op=node.op_type,
            name=node.name,
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            attributes={a.name: attribute_value(self.onnx, a, self.read) for a in node.attribute},
            opset=self.opsets[""],
            constants=constants,
            dtypes=dtypes,
            subgraph=lambda proto: self.graph(proto, constants, dtypes),
            reference=lambda: ReferenceCall(self.onnx, node, domain, self.opsets),
            graph=proto,
            notes=self.notes,
        )
        return translation(call)


def free_names(proto: Any) -> tuple[str, ...]:
    """Return the values that a graph, or one inside it, reads and that none of them produces."""
    given = {i.name for i in proto.input} | {t.name for t in proto.initializer}
    given |= {t.values.name for t in proto.sparse_initializer}
    read: dict[str, None] = {}
    for node in proto.node:
        read.update(dict.fromkeys(name for name in node.input if name))
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                if graph.node or graph.output:
                    read.update(dict.fromkeys(free_names(graph)))
        given.update(node.output)
    read.update(dict.fromkeys(o.name for o in proto.output))
    return tuple(name for name in read if name not in given)


def _dtypes_of(values: Iterable[Any]) -> dict[str, np.dtype[Any]]:
    """Return the dtypes of those values that declare one."""
    return {
        value.name: dtype_of(value.type.tensor_type.elem_type, value.name)
        for value in values
        if value.type.WhichOneof("value") == "tensor_type" and value.type.tensor_type.elem_type
    }


def _read(proto: Any) -> set[int]:
    """Return the places of the nodes that the graph's outputs depend on."""
    wanted = {output.name for output in proto.output}
    found = set()
    for place in range(len(proto.node) - 1, -1, -1):
        node = proto.node[place]
        if wanted.isdisjoint(node.output):
            continue
        found.add(place)
        wanted.update(name for name in node.input if name)
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                if graph.node or graph.output:
                    wanted.update(free_names(graph))
    return found
