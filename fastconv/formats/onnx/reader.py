"""Reading ONNX models: parsed, checked, translated; whatever cannot be run is named at once."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from fastconv.formats.onnx.adopting import adopted
from fastconv.formats.onnx.errors import InvalidGraph, InvalidProtobuf, OperatorNotImplemented
from fastconv.formats.onnx.translate import STANDARD, Translator
from fastconv.formats.onnx.values import external_file, reader_of
from fastconv.formats.onnx.weights import Weights, lean_bytes, lean_file
from fastconv.network import Graph, Network
from fastconv.network.limits import memory_limit


@dataclasses.dataclass(frozen=True)
class Parsed:
    """A model that was read: its ``onnx.ModelProto``, its file if it has one, its name in errors.

    The large weights may stand in ``weights`` instead of in it.
    """

    proto: Any
    path: Path | None
    label: str
    weights: Weights


def read_onnx(source: Any, *, max_memory: int | None = None, in_memory: bool = False) -> Network:
    """Give the network in an ONNX file, in a file's bytes, or in an ``onnx.ModelProto``.

    Raises
    ------
    ValueError
        For what onnx cannot read or does not accept, for operators that cannot be run, and for
        tensors larger than ``max_memory``.
    """
    return network_of(parse(source, in_memory=in_memory), max_memory=max_memory)


def network_of(model: Parsed, *, max_memory: int | None) -> Network:
    """Give a parsed model as a network; errors begin with the label."""
    try:
        graph = graph_of(model.proto, path=model.path, max_memory=max_memory, weights=model.weights)
    except ValueError as error:
        raise _labelled(error, model.label) from None
    return Network.from_graph(graph, max_memory=max_memory)


def parse(source: Any, *, in_memory: bool = False) -> Parsed:
    """Read a source without its large weights, which stay where they are until they are needed.

    ``in_memory``: they are read as soon as the graph is made.

    Raises
    ------
    ValueError
        For what onnx cannot read.
    TypeError
        For a source that is no path, bytes or model.
    """
    onnx = import_onnx()
    if isinstance(source, onnx.ModelProto):
        return Parsed(source, None, "the model given", Weights())
    path: Path | None = None
    if isinstance(source, (bytes, bytearray, memoryview)):
        label = "the bytes given"
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
            weights = Weights(_folder(path), in_memory=in_memory)
        else:
            lean, own = found
            data = lean.data
            weights = Weights(_folder(path), own, lean.weights, in_memory)
        return Parsed(onnx.load_model_from_string(data), path, label, weights)
    except Exception as error:  # protobuf and onnx raise classes of their own
        first = str(error).strip().splitlines() or [type(error).__name__]
        kind = _kind_of(source if path is None else path)
        raise InvalidProtobuf(
            f"{label}: no ONNX model that onnx can read: {kind or first[0]}"
        ) from None


def _kind_of(source: Any) -> str | None:
    """Return what a file or bytes are instead of a model, and what to do; None: nobody knows."""
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                begin = file.read(64)
        else:
            begin = bytes(memoryview(source).cast("B")[:64])
    except (OSError, TypeError, ValueError):
        return None
    if begin.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS; fetch the file itself by `git lfs pull`"
    if begin.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page; download the file itself (a link to its raw content)"
    if begin[4:8] == b"ORTM":
        return "it is of onnxruntime's own format (.ort); take the .onnx file that it was made from"
    if begin.startswith(b"PK\x03\x04"):
        return "it is a zip archive, such as PyTorch's; export the model to ONNX"
    return None


def graph_of(
    model: Any,
    *,
    path: Path | None = None,
    max_memory: int | None = None,
    checked: bool = True,
    weights: Weights | None = None,
) -> Graph:
    """Give an ``onnx.ModelProto`` as a graph; ``path`` is where it was read from.

    ``checked=False``: onnx's checker is not asked. ``weights`` holds what is not in the model.

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
    translator = Translator(onnx, opsets, reader_of(_folder(path)), weights or Weights())
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


def _folder(path: Path | None) -> Path | None:
    return None if path is None else path.resolve().parent


def _check(onnx: Any, model: Any, path: Path | None) -> None:
    outside = [
        tensor
        for tensor in model.graph.initializer
        if onnx.external_data_helper.uses_external_data(tensor)
    ]
    for tensor in outside:
        external_file(tensor, _folder(path))
    try:
        # Where data lie beside the model, the checker must know where that is.
        onnx.checker.check_model(str(path) if outside else model)
    except Exception as error:  # the checker, or what it stumbles over
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise InvalidGraph(f"not a valid ONNX model: {first[0]}") from None


def inlined(onnx: Any, model: Any) -> Any:
    """Put the bodies of a model's own functions where they are called."""
    from onnx.inliner import inline_local_functions

    try:
        return inline_local_functions(model)
    except Exception as error:
        raise InvalidGraph(f"its functions cannot be inlined: {error}") from None


def import_onnx() -> Any:
    """Give the onnx package, with the parts that are used here.

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
