"""Reading ONNX models: parsed, checked, translated; whatever cannot be run is named at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastconv.formats.onnx.translate import STANDARD, Translator
from fastconv.formats.onnx.values import external_file, reader_of
from fastconv.network import Graph, Network
from fastconv.network.limits import memory_limit


def read_onnx(source: Any, *, max_memory: int | None = None) -> Network:
    """Give the network in an ONNX file, in a file's bytes, or in an ``onnx.ModelProto``.

    Raises
    ------
    ValueError
        For what onnx cannot read or does not accept, for operators that cannot be run, and for
        tensors larger than ``max_memory``.
    """
    return network_of(*parse(source), max_memory=max_memory)


def network_of(model: Any, path: Path | None, label: str, *, max_memory: int | None) -> Network:
    """Give a parsed model as a network; errors begin with the label."""
    try:
        graph = graph_of(model, path=path, max_memory=max_memory)
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from None
    return Network.from_graph(graph, max_memory=max_memory)


def parse(source: Any) -> tuple[Any, Path | None, str]:
    """Give a source's ``onnx.ModelProto``, its file if it has one, and its name in errors.

    Raises
    ------
    ValueError
        For what onnx cannot read.
    TypeError
        For a source that is no path, bytes or model.
    """
    onnx = import_onnx()
    if isinstance(source, onnx.ModelProto):
        return source, None, "the model given"
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
        data = bytes(source) if path is None else path.read_bytes()
        return onnx.load_model_from_string(data), path, label
    except Exception as error:  # protobuf and onnx raise classes of their own
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{label}: no ONNX model that onnx can read: {first[0]}") from None


def graph_of(
    model: Any,
    *,
    path: Path | None = None,
    max_memory: int | None = None,
    checked: bool = True,
) -> Graph:
    """Give an ``onnx.ModelProto`` as a graph; ``path`` is where it was read from.

    ``checked=False``: onnx's checker is not asked.

    Raises
    ------
    ValueError
        For a model that onnx's checker refuses, for operators that cannot be run, and for
        tensors larger than ``max_memory`` bytes (None: the memory that this process may use).
    """
    onnx = import_onnx()
    if checked:
        _check(onnx, model, path)
    if model.functions:
        model = _inlined(onnx, model)
    opsets = {("" if o.domain in STANDARD else o.domain): o.version for o in model.opset_import}
    if "" not in opsets:
        opsets[""] = onnx.defs.onnx_opset_version()
    translator = Translator(
        onnx, opsets, reader_of(None if path is None else path.resolve().parent)
    )
    with memory_limit(max_memory):
        graph = translator.main(model.graph)
    if translator.refused:
        raise ValueError(f"unsupported operators: {'; '.join(translator.refused)}")
    return graph


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
        raise ValueError(f"not a valid ONNX model: {first[0]}") from None


def _inlined(onnx: Any, model: Any) -> Any:
    """Put the bodies of a model's own functions where they are called."""
    from onnx.inliner import inline_local_functions

    try:
        return inline_local_functions(model)
    except Exception as error:
        raise ValueError(f"its functions cannot be inlined: {error}") from None


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
