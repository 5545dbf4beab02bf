"""Nodes that no operation of this package runs: by onnx's own reference implementation."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastconv.formats.onnx.call import Unsupported
from fastconv.network import Node

_RANDOM = frozenset((
    "Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
))  # fmt: skip


class ReferenceCall:
    """A node run by ``onnx.reference``: slow, and right. It is set up when first needed.

    Parameters
    ----------
    onnx : module
    node : onnx.NodeProto
        Whose graphs may capture values from outside: these are its last inputs.
    domain : str
        Its domain, "" for the standard one.
    opsets : mapping
        Versions by domain.
    """

    def __init__(self, onnx: Any, node: Any, domain: str, opsets: Mapping[str, int]) -> None:
        from fastconv.formats.onnx.translate import free_names

        self._onnx = onnx
        self._node = onnx.NodeProto()
        self._node.CopyFrom(node)
        self._node.domain = domain
        self._opsets = dict(opsets)
        graphs = [g for a in node.attribute for g in (a.g, *a.graphs) if g.node or g.output]
        captured = [n for g in graphs for n in free_names(g)]
        self.inputs = tuple(dict.fromkeys((*(n for n in node.input if n), *captured)))
        self.outputs = tuple(name for name in node.output if name)

    @property
    def is_random(self) -> bool:
        """Whether each call gives other numbers."""
        return self._node.op_type in _RANDOM or any(
            node.op_type in _RANDOM for a in self._node.attribute for node in a.g.node
        )

    @functools.cached_property
    def evaluator(self) -> Any:
        """What runs a graph of that one node."""
        from onnx.reference import ReferenceEvaluator

        nameless = self._onnx.helper.make_empty_tensor_value_info
        graph = self._onnx.helper.make_graph(
            [self._node], "node", [*map(nameless, self.inputs)], [*map(nameless, self.outputs)]
        )
        return ReferenceEvaluator(graph, opsets=self._opsets)

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        """Run the node on arrays, sequences (lists) or None; None stands for what is left out."""
        given = [v for v in values if v is not None] if len(values) > len(self.inputs) else values
        feeds = dict(zip(self.inputs, map(_plain, given), strict=True))
        with np.errstate(all="ignore"):
            return tuple(self.evaluator.run(None, feeds))

    def __repr__(self) -> str:
        return str(self._node.op_type)


def reference_node(
    onnx: Any, node: Any, domain: str, opsets: Mapping[str, int], reason: Unsupported
) -> Node:
    """Give a node that calls onnx's reference for an ONNX node.

    Raises
    ------
    Unsupported
        Where the reference has no implementation either.
    """
    function = ReferenceCall(onnx, node, domain, opsets)
    try:
        _ = function.evaluator
    except Exception as error:
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise Unsupported(f"{reason}, and onnx's reference has none: {first[0][:200]}") from None
    name = node.name or function.outputs[0]
    return Node("call", function.inputs, function.outputs, {"function": function}, name)


def _plain(value: Any) -> Any:
    """Give a parameter as the plain array that it is."""
    return np.asarray(value) if isinstance(value, np.ndarray) else value
