"""How exact a model's values can be in any engine: as the coarsest that they stem from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastconv.cli.agreement import epsilon

_OF_QUANTISED = 2.0**-8
_QUANTISING = frozenset((
    "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "QuantizeLinear",
))  # fmt: skip


def is_quantising(operator: str) -> bool:
    """Return whether an operator rounds to integers, so that another sum may give the next one."""
    return operator in _QUANTISING


def epsilons(onnx: Any, graph: Any) -> dict[str, float]:
    """Return the coarsest epsilon that each node's outputs stem from, by name.

    That is of the float dtypes that values are computed in (inputs and weights are exact, whatever
    theirs), and 2^-8 where values were quantised.
    """
    kinds = {
        name: _epsilon(onnx, number)
        for name, number in (
            *((t.name, t.data_type) for t in graph.initializer),
            *((p.name, p.type.tensor_type.elem_type) for p in graph.input),
        )
    }
    found: dict[str, float] = {}
    for node in graph.node:
        names = list(_read(node))
        given = names[1:2] if node.op_type == "CastLike" else names
        kind = max((kinds.get(name, 0.0) for name in given), default=0.0)
        own = 0.0
        for each in _nodes(node):
            own = _OF_QUANTISED if is_quantising(each.op_type) else own
            for attribute in each.attribute:
                if each.op_type == "Constant" and attribute.name == "value":
                    kind = _epsilon(onnx, attribute.t.data_type)
                if attribute.name in ("to", "dtype", "output_dtype"):
                    kind = _epsilon(onnx, attribute.i)
        before = max((found.get(name, 0.0) for name in names), default=0.0)
        kinds.update(dict.fromkeys(node.output, kind))
        found.update(dict.fromkeys(node.output, max(own, kind, before)))
    return found


def _read(node: Any) -> Iterator[str]:
    """Yield the names that a node reads, those in its graphs too."""
    for each in _nodes(node):
        yield from each.input


def _nodes(node: Any) -> Iterator[Any]:
    """Yield a node and all those in its graphs."""
    yield node
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _nodes(inner)


def _epsilon(onnx: Any, number: int) -> float:
    """Return an element type's epsilon; 0 where it is not a float's."""
    try:
        return epsilon(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number))) or 0.0
    except (KeyError, TypeError, ValueError):
        return 0.0
