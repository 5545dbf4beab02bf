"""Reading an ONNX file: checked, every node translated, whatever is not supported named at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fastconv.dispatch import Parameter
from fastconv.formats.onnx import arithmetic, layers, shaping, windows
from fastconv.formats.onnx.call import TRANSLATIONS, Call, Unsupported
from fastconv.network import Graph, Network, Node, Port

OLDEST_OPSET = 7
DOMAINS = ("", "ai.onnx")
FAMILIES = (arithmetic, layers, shaping, windows)  # their import fills the table


def read_onnx(path: Path) -> Network:
    """Give the network in an ONNX file.

    Raises
    ------
    ValueError
        For a file that onnx cannot read or does not accept, and for unsupported operators.
    """
    onnx = _import_onnx()
    try:
        model = onnx.load(str(path), load_external_data=False)
        _load_external(onnx, model, path)
        return Network.from_graph(graph_of(model))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    except Exception as error:  # protobuf and onnx raise classes of their own
        first = str(error).strip().splitlines()
        reason = first[0] if first else type(error).__name__
        raise ValueError(f"{path} is no ONNX model that onnx can read: {reason}") from None


def graph_of(model: Any) -> Graph:
    """Give an ``onnx.ModelProto`` as a graph.

    Raises
    ------
    ValueError
        For a model that onnx's checker refuses, and for unsupported operators.
    """
    onnx = _import_onnx()
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ValueError(f"not a valid ONNX model: {str(error).strip().splitlines()[0]}") from None
    opset = _opset(model)
    proto = model.graph
    if proto.sparse_initializer:
        raise ValueError("sparse initialisers are not supported; store them dense")
    constants = {t.name: _parameter(onnx, t) for t in proto.initializer}
    nodes: list[Node] = []
    refused: list[str] = []
    for place, node in enumerate(proto.node):
        try:
            nodes.extend(_translate(onnx, node, opset, constants))
        except Unsupported as reason:
            domain = node.domain or "ai.onnx"
            label = node.name or f"#{place}"
            refused.append(
                f"{node.op_type} (domain {domain}, opset {opset}, node {label}): {reason}"
            )
    if refused:
        raise ValueError(f"unsupported operators: {'; '.join(refused)}")
    return Graph(
        inputs=tuple(_port(onnx, i) for i in proto.input if i.name not in constants),
        outputs=tuple(_port(onnx, o) for o in proto.output),
        nodes=tuple(nodes),
        constants=constants,
        name=proto.name,
    )


def _translate(onnx: Any, node: Any, opset: int, constants: dict[str, Parameter]) -> list[Node]:
    if node.domain not in DOMAINS or node.op_type not in TRANSLATIONS:
        if node.op_type == "Constant" and node.domain in DOMAINS:
            constants[node.output[0]] = Parameter(_constant_value(onnx, node))
            return []
        raise Unsupported("no translation")
    call = Call(
        op=node.op_type,
        name=node.name,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes={a.name: _attribute(onnx, a) for a in node.attribute},
        opset=opset,
        constants=constants,
    )
    return TRANSLATIONS[node.op_type](call)


def _constant_value(onnx: Any, node: Any) -> Any:
    attribute = node.attribute[0]
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return onnx.numpy_helper.to_array(value)
    if attribute.name in ("value_float", "value_floats"):
        return np.array(value, np.float32)
    if attribute.name in ("value_int", "value_ints"):
        return np.array(value, np.int64)
    raise Unsupported(f"constants by {attribute.name}")


def _attribute(onnx: Any, attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if attribute.type == onnx.AttributeProto.TENSOR:
        return onnx.numpy_helper.to_array(value)
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return list(value)
    return value


def _parameter(onnx: Any, tensor: Any) -> Parameter:
    try:
        return Parameter(onnx.numpy_helper.to_array(tensor))
    except Exception as error:
        raise ValueError(f"initialiser {tensor.name!r} cannot be read: {error}") from None


def _port(onnx: Any, value: Any) -> Port:
    if not value.type.HasField("tensor_type"):
        raise ValueError(f"input or output {value.name!r} is no tensor")
    kind = value.type.tensor_type
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    except KeyError:
        raise ValueError(f"input or output {value.name!r} has no known element type") from None
    if not kind.HasField("shape"):
        return Port(value.name, (), dtype, any_rank=True)
    sizes = tuple(
        d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in kind.shape.dim
    )
    return Port(value.name, sizes, dtype)


def _opset(model: Any) -> int:
    versions = [int(o.version) for o in model.opset_import if o.domain in DOMAINS]
    if not versions:
        raise ValueError("the model imports no version of the standard operators")
    if versions[0] < OLDEST_OPSET:
        raise ValueError(
            f"opset {versions[0]} is older than {OLDEST_OPSET}; convert the model with "
            f"onnx.version_converter"
        )
    return versions[0]


def _load_external(onnx: Any, model: Any, path: Path) -> None:
    """Read tensors kept in files beside the model, and in its own folder alone."""
    folder = path.resolve().parent
    for tensor in model.graph.initializer:
        if not onnx.external_data_helper.uses_external_data(tensor):
            continue
        location = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        target = (folder / location).resolve()
        if folder not in target.parents or not target.is_file():
            raise ValueError(
                f"initialiser {tensor.name!r} lies in {location!r}, which is not a file in the "
                f"model's folder"
            )
        onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _import_onnx() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.external_data_helper
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise ValueError(
            "reading ONNX needs the onnx package: pip install 'fastconv[onnx]'"
        ) from None
    return onnx
