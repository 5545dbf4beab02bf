"""Nodes that no operation of this package runs: by onnx's own reference implementation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastconv.dispatch.stored import is_array
from fastconv.forks import cached_property
from fastconv.formats.onnx.call import Unsupported
from fastconv.network import Node
from fastconv.network.limits import SMALL

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

    runner = "onnx.reference"

    def __init__(self, onnx: Any, node: Any, domain: str, opsets: Mapping[str, int]) -> None:
        from fastconv.formats.onnx.translate import free_names

        self._onnx = onnx
        self._node = onnx.NodeProto()
        self._node.CopyFrom(node)
        self._node.domain = domain
        self.__name__ = str(node.op_type)
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

    @cached_property
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

    def specs(self, values: Sequence[Any]) -> list[tuple[tuple[int | None, ...], Any]] | None:
        """Return the outputs' shapes (open lengths as None) and dtypes, by onnx's own rules.

        None: they do not follow from shapes, dtypes and small integers alone.
        """
        onnx = self._onnx
        types, data = {}, {}
        for name, value in zip(self.inputs, values, strict=True):
            if value is None or not hasattr(value, "dtype"):
                return None
            element = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
            types[name] = onnx.helper.make_tensor_type_proto(element, tuple(value.shape))
            if is_array(value) and value.dtype.kind in "iu" and value.size <= SMALL:
                data[name] = onnx.numpy_helper.from_array(np.asarray(value), name)
        try:
            version = self._opsets.get(self._node.domain, 1)
            schema = onnx.defs.get_schema(self._node.op_type, version, self._node.domain)
            opsets = [onnx.helper.make_opsetid(*pair) for pair in self._opsets.items()]
            node = onnx.NodeProto()
            node.CopyFrom(self._node)
            # Some rules know no default: STFT's takes onesided for 0 where it is left out.
            given = {attribute.name for attribute in node.attribute}
            for name, attribute in schema.attributes.items():
                if name not in given and attribute.default_value.type:
                    node.attribute.add().CopyFrom(attribute.default_value)
            found = onnx.shape_inference.infer_node_outputs(
                schema, node, types, data, opset_imports=opsets
            )
            return [_spec(onnx, found[name]) for name in self.outputs]
        except Exception:  # what does not fit, the node itself says better
            return None

    def __getstate__(self) -> dict[str, Any]:
        # Modules do not pickle, nor what was set up from them.
        return {k: v for k, v in self.__dict__.items() if k not in ("_onnx", "evaluator")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from fastconv.formats.onnx.reader import import_onnx

        self.__dict__.update(state, _onnx=import_onnx())

    def __repr__(self) -> str:
        return self.__name__


def reference_node(
    onnx: Any, node: Any, domain: str, opsets: Mapping[str, int], reason: Unsupported
) -> Node:
    """Return a node that calls onnx's reference for an ONNX node.

    Raises
    ------
    Unsupported
        Where the reference has no implementation either.
    """
    function = ReferenceCall(onnx, node, domain, opsets)
    try:
        _ = function.evaluator
    except Exception as error:
        if not onnx.defs.has(node.op_type, domain):
            raise Unsupported(
                f"{reason}, and onnx defines no such operator: export the model with standard "
                f"operators, or with this one as a function of the model"
            ) from None
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise Unsupported(f"{reason}, and onnx's reference has none: {first[0][:200]}") from None
    name = node.name or function.outputs[0]
    return Node("call", function.inputs, function.outputs, {"function": function}, name)


def _spec(onnx: Any, kind: Any) -> tuple[tuple[int | None, ...], Any]:
    tensor = kind.tensor_type
    if kind.WhichOneof("value") != "tensor_type" or not tensor.HasField("shape"):
        raise ValueError("no tensor of known rank")
    sizes = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    return sizes, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))


def _plain(value: Any) -> Any:
    """Return a parameter as the plain array that it is."""
    return np.asarray(value) if is_array(value) else value
