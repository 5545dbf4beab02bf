"""Reading ONNX models: parsed, checked, translated; whatever cannot be run is named at once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from fastconv.formats.onnx.adopting import adopted
from fastconv.formats.onnx.checking import check, output_types
from fastconv.formats.onnx.errors import InvalidGraph, InvalidProtobuf, OperatorNotImplemented
from fastconv.formats.onnx.mistaken import is_path, mistaken
from fastconv.formats.onnx.translate import STANDARD, Translator
from fastconv.formats.onnx.values import Home, constant_of, external_file, reader_of
from fastconv.formats.onnx.weights import Weights, lean_bytes, lean_file
from fastconv.network import Graph, Network, Overridable
from fastconv.network.limits import memory_limit

# What protobuf reads at most, and the longest path.
_MOST_BYTES = 2**31 - 1
_LONGEST_PATH = 4096


@dataclasses.dataclass(frozen=True)
class Parsed:
    """A model that was read: its ``onnx.ModelProto``, its file if it has one, its name in errors.

    The large weights may be in ``weights`` instead of in it.
    """

    proto: Any
    path: Path | None
    label: str
    weights: Weights


def read_onnx(source: Any, *, max_memory: int | None = None, in_memory: bool = False) -> Network:
    """Return the network in an ONNX file, in a file's bytes, or in an ``onnx.ModelProto``.

    Raises
    ------
    ValueError
        For what onnx cannot read or does not accept, for operators that cannot be run, and for
        tensors larger than ``max_memory``.
    """
    return network_of(parse(source, in_memory=in_memory), max_memory=max_memory)


def network_of(model: Parsed, *, max_memory: int | None) -> Network:
    """Return a parsed model as a network; errors begin with the label."""
    given: dict[str, Any] = {
        "path": model.path, "max_memory": max_memory, "weights": model.weights,
    }  # fmt: skip
    try:
        graph = graph_of(model.proto, **given)
    except ValueError as error:
        raise _labelled(error, model.label) from None
    names = _overridable(model.proto)
    if not names:
        return Network.from_graph(graph, max_memory=max_memory)
    # Weights that a run may replace are constants all the same where none does.
    try:
        fed = Network.from_graph(
            graph_of(model.proto, **given, checked=False, fed=names), max_memory=max_memory
        )
        defaults = _initializers(model, names, max_memory)
    except ValueError as error:
        overridable = Overridable(names, refused=f"{model.label}: {error}")
    else:
        overridable = Overridable(names, fed, defaults)
    return Network.from_graph(graph, max_memory=max_memory, overridable=overridable)


def _initializers(model: Parsed, names: Collection[str], max_memory: int | None) -> dict[str, Any]:
    """Return initializers by name."""
    read = reader_of(_home(model.path))
    found = {}
    with memory_limit(max_memory):
        for tensor in model.proto.graph.initializer:
            if tensor.name in names:
                kept = model.weights.get(tensor, main=True)
                found[tensor.name] = constant_of(read(tensor)) if kept is None else kept
    return found


def _overridable(model: Any) -> frozenset[str]:
    """Return the initializers that are inputs too, which a run may replace from IR version 4 on."""
    if model.ir_version < 4:
        return frozenset()
    return frozenset(t.name for t in model.graph.initializer) & {i.name for i in model.graph.input}


def parse(source: Any, *, in_memory: bool = False) -> Parsed:
    """Read a source without its large weights, which stay where they are until they are needed.

    ``in_memory``: they are read as soon as the graph is made.

    Raises
    ------
    ValueError
        For what onnx cannot read.
    TypeError
        For a source that is not a path, bytes or model.
    """
    onnx = import_onnx()
    if isinstance(source, onnx.ModelProto):
        return Parsed(source, None, "the model given", Weights())
    path: Path | None = None
    if isinstance(source, (bytes, bytearray, memoryview)):
        label = "the bytes given"
        named = is_path(bytes(source)) if len(source) < _LONGEST_PATH else None
        if named is not None:
            raise ValueError(f"{label} are a path: give it as a str, {named!r}")
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        label = str(path)
    else:
        raise TypeError(
            f"a model is a path, bytes or an onnx.ModelProto, not {type(source).__name__}"
        )
    try:
        found = lean_bytes(memoryview(source)) if path is None else lean_file(path)
        if found is None:
            data = bytes(source) if path is None else path.read_bytes()
            weights = Weights(_home(path), in_memory=in_memory)
        else:
            lean, own = found
            data = lean.data
            weights = Weights(_home(path), own, lean.weights, in_memory)
    except Exception as error:
        raise InvalidProtobuf(f"{label}: it cannot be read: {error}") from None
    try:
        proto = onnx.load_model_from_string(data)
        if not proto.ir_version and not proto.HasField("graph"):
            raise ValueError("it has no graph")
    except Exception as error:  # protobuf and onnx raise classes of their own
        raise InvalidProtobuf(
            f"{label}: no ONNX model that onnx can read: {_reason(data, error)}"
        ) from None
    return Parsed(proto, path, label, weights)


def _reason(data: bytes, error: Exception) -> str:
    """Return why bytes are not a model: what they are, else what protobuf says."""
    if len(data) > _MOST_BYTES:
        return (
            "it has more than 2 GB, which is protobuf's limit: save the model with its weights as "
            "external data, onnx.save(model, path, save_as_external_data=True), and load that path"
        )
    told = mistaken(data)
    if told is not None:
        return told
    first = str(error).strip().splitlines() or [type(error).__name__]
    return f"{first[0]}; a model that is damaged or not wholly downloaded reads so"


def graph_of(
    model: Any,
    *,
    path: Path | None = None,
    max_memory: int | None = None,
    checked: bool = True,
    weights: Weights | None = None,
    fed: frozenset[str] = frozenset(),
) -> Graph:
    """Return an ``onnx.ModelProto`` as a graph; ``path`` is where it was read from.

    ``checked=False``: onnx's checker is not asked. ``weights`` holds what is not in the model. The
    initializers ``fed`` are inputs of the graph.

    Raises
    ------
    ValueError
        For a model that onnx's checker refuses, for operators that cannot be run, and for
        tensors larger than ``max_memory`` bytes (None: the memory that this process may use).
    """
    onnx = import_onnx()
    opsets = {("" if o.domain in STANDARD else o.domain): o.version for o in model.opset_import}
    model = adopted(onnx, model, opsets)
    if checked:
        _check(onnx, model, path)
    if model.functions:
        model = inlined(onnx, model)
    if "" not in opsets:
        opsets[""] = onnx.defs.onnx_opset_version()
    held = weights or Weights()
    types = output_types(onnx, model, held.spans)
    translator = Translator(onnx, opsets, reader_of(_home(path)), held, types=types, fed=fed)
    with memory_limit(max_memory):
        graph = translator.main(model.graph)
    if translator.refused:
        raise OperatorNotImplemented(f"unsupported operators: {'; '.join(translator.refused)}")
    return graph


def _labelled(error: ValueError, label: str) -> ValueError:
    """Return an error with the model's name before its words, of the same kind."""
    own = (InvalidGraph, OperatorNotImplemented)
    kind = type(error) if isinstance(error, own) else ValueError
    return kind(f"{label}: {error}")


def _home(path: Path | None) -> Home | None:
    return None if path is None else Home.of(path)


def _check(onnx: Any, model: Any, path: Path | None) -> None:
    for tensor in model.graph.initializer:
        if onnx.external_data_helper.uses_external_data(tensor):
            external_file(tensor, _home(path))
    try:
        check(onnx, model)
    except ValueError as error:
        raise InvalidGraph(str(error)) from None


def inlined(onnx: Any, model: Any) -> Any:
    """Put the bodies of a model's own functions where they are called."""
    from onnx.inliner import inline_local_functions

    try:
        return inline_local_functions(model)
    except Exception as error:
        raise InvalidGraph(f"its functions cannot be inlined: {error}") from None


def import_onnx() -> Any:
    """Return the onnx package, with the parts that are used here.

    Raises
    ------
    ValueError
        Where it is not installed.
    """
    try:
        import onnx
        import onnx.checker
        import onnx.defs
        import onnx.external_data_helper
        import onnx.helper
        import onnx.numpy_helper
        import onnx.shape_inference
    except ImportError:
        raise ValueError(
            "reading ONNX needs the onnx package: pip install 'fastconv[onnx]'"
        ) from None
    return onnx
