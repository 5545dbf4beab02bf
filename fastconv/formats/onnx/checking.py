"""What onnx's checker and its rules of types are shown of a model: all but the large weights.

They write a model out as bytes, which ends at 2 GB, and refuse external data that are links.
Neither needs the weights: the name, type and shape of each are enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from fastconv.dispatch.stored import Span

# Elements from which on a weight is left out.
_LARGE = 1 << 14


def check(onnx: Any, model: Any) -> None:
    """Ask onnx's checker about a model.

    Raises
    ------
    ValueError
        With its first line, where it refuses the model.
    """
    try:
        onnx.checker.check_model(_shown(onnx, model))
    except Exception as error:  # the checker, or what it stumbles over
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"not a valid ONNX model: {first[0]}") from None


def output_types(onnx: Any, model: Any, spans: Mapping[str, Span]) -> dict[str, Any]:
    """Return the types of outputs that declare none, or no shape, by onnx's rules; by name.

    Those that the rules do not tell are left out. ``spans`` has the shapes of weights that are not
    in the model.
    """
    untyped = {o.name for o in model.graph.output if not _is_typed(o)}
    if not untyped:
        return {}
    bare = _shown(onnx, model, complete=False)
    declared = {i.name for i in bare.graph.input}
    known = {o.name: o for o in bare.graph.output}
    for name in untyped:
        # What is declared halfway would be taken for all that there is.
        known[name].ClearField("type")
    tensors = {t.name: t for t in model.graph.initializer}
    for tensor in [t for t in bare.graph.initializer if list(t.dims) == [0]]:
        source = tensors[tensor.name]
        shape = spans[tensor.name].shape if tensor.name in spans else tuple(source.dims)
        bare.graph.initializer.remove(tensor)
        if tensor.name not in declared:
            port = onnx.helper.make_tensor_value_info(tensor.name, source.data_type, shape)
            bare.graph.input.append(port)
    try:
        inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True)
    except Exception:  # a node that is wrong says so better when it runs
        return {}
    found = (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input)
    return {v.name: v.type for v in found if v.name in untyped and v.type.WhichOneof("value")}


def _is_typed(value: Any) -> bool:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return kind is not None
    return bool(value.type.tensor_type.elem_type) and value.type.tensor_type.HasField("shape")


def _shown(onnx: Any, model: Any, *, complete: bool = True) -> Any:
    """Return a copy of a model without its large weights and without external data.

    ``complete``: types that inputs and outputs leave open are filled in, since the checker asks for
    them.
    """
    bare = onnx.ModelProto()
    _copy_fields(model, bare, ("graph",))
    _copy_fields(model.graph, bare.graph, ("initializer",))
    for tensor in model.graph.initializer:
        external = tensor.data_location == onnx.TensorProto.EXTERNAL
        if external or prod(tensor.dims) >= _LARGE:
            bare.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=[0])
        else:
            bare.graph.initializer.add().CopyFrom(tensor)
    _within(onnx, bare.graph)
    if complete:
        for value in (*bare.graph.input, *bare.graph.output):
            if value.type.WhichOneof("value") in (None, "tensor_type"):
                kind = value.type.tensor_type
                if not kind.elem_type and value.name in {o.name for o in bare.graph.output}:
                    kind.elem_type = onnx.TensorProto.FLOAT
                kind.shape.SetInParent()
    return bare


def _copy_fields(source: Any, target: Any, but: tuple[str, ...]) -> None:
    """Copy the fields of a message, except some: these are not even read."""
    for field, value in source.ListFields():
        if field.name in but:
            continue
        own = getattr(target, field.name)
        if hasattr(own, "extend"):
            own.extend(value)
        elif hasattr(own, "CopyFrom"):
            own.CopyFrom(value)
        else:
            setattr(target, field.name, value)


def _within(onnx: Any, graph: Any) -> None:
    """Take external data out of what nodes hold; a graph's own initializers are left alone."""
    for node in graph.node:
        for attribute in node.attribute:
            for tensor in (attribute.t, *attribute.tensors):
                _empty(onnx, tensor)
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    for tensor in inner.initializer:
                        _empty(onnx, tensor)
                    _within(onnx, inner)


def _empty(onnx: Any, tensor: Any) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.DEFAULT
        tensor.dims[:] = [0]
