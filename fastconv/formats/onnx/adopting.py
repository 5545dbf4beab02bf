"""Operators that onnxruntime keeps among ONNX's own, put where onnx's checker lets them be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastconv.formats.onnx.call import FOREIGN

_DOMAIN = "com.microsoft"
_STANDARD = ("", "ai.onnx")
# ONNX has had it since this opset.
_LAYER_NORM_SINCE = 17


def adopted(onnx: Any, model: Any, opsets: Mapping[str, int]) -> Any:
    """Return a model whose nodes of ONNX's domain are ONNX's; a changed one is a copy.

    onnxruntime's optimiser writes `SimplifiedLayerNormalization`, and `LayerNormalization` into
    models from before ONNX had it, without a domain of their own; and it still runs some operators
    that ONNX has given up.
    """
    version = opsets.get("", onnx.defs.onnx_opset_version())
    if not any(True for _ in _foreign(onnx, model.graph, version)):
        return model
    copy = type(model)()
    copy.CopyFrom(model)
    for node in _foreign(onnx, copy.graph, version):
        node.domain = _DOMAIN
    if _DOMAIN not in opsets:
        copy.opset_import.append(onnx.helper.make_opsetid(_DOMAIN, 1))
    return copy


def _foreign(onnx: Any, graph: Any, version: int) -> Iterator[Any]:
    for node in graph.node:
        if (
            node.domain in _STANDARD
            and f"{_DOMAIN}:{node.op_type}" in FOREIGN
            and not _is_known(onnx, node.op_type, version)
        ):
            yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _foreign(onnx, inner, version)


def _is_known(onnx: Any, op: str, version: int) -> bool:
    if op == "LayerNormalization":
        return version >= _LAYER_NORM_SINCE
    return bool(onnx.defs.has(op))
