"""A model changed as session options ask: free dimensions, initializers; and written so."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastconv.formats.onnx.errors import CallError, InvalidArgument
from fastconv.formats.onnx.reader import Parsed, import_onnx, inlined
from fastconv.formats.onnx.runtime.values import held

# A message of protobuf's holds less than 2 GiB; the rest of a model is small.
_MOST_BYTES = (1 << 31) - (1 << 24)
_DATA_ENTRY = "session.optimized_model_external_initializers_file_name"


@dataclasses.dataclass(frozen=True)
class Changes:
    """Sizes of dimensions by name and by denotation, and values of initializers."""

    by_name: Mapping[str, int] = dataclasses.field(default_factory=dict)
    by_denotation: Mapping[str, int] = dataclasses.field(default_factory=dict)
    initializers: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.by_name or self.by_denotation or self.initializers)


def changes_of(options: Any) -> Changes:
    """Return what a session's options change; those of another class change nothing."""
    return Changes(
        getattr(options, "_by_name", {}),
        getattr(options, "_by_denotation", {}),
        getattr(options, "_initializers", {}),
    )


def changed(parsed: Parsed, source: Any, changes: Changes) -> Parsed:
    """Return a model with changes made; a model that the caller holds is copied first.

    Raises
    ------
    ValueError
        For an initializer that the model does not have, or of another shape or dtype, and for a
        dimension whose size is another one already.
    """
    if not changes:
        return parsed
    proto = parsed.proto
    if proto is source:
        proto = type(source)()
        proto.CopyFrom(source)
    _set_dimensions(proto.graph, changes)
    weights = parsed.weights
    if changes.initializers:
        _set_initializers(proto.graph, changes.initializers, weights.spans)
        spans = {n: s for n, s in weights.spans.items() if n not in changes.initializers}
        weights = dataclasses.replace(weights, spans=spans)
    return dataclasses.replace(parsed, proto=proto, weights=weights)


def _set_dimensions(graph: Any, changes: Changes) -> None:
    sizes = dict(changes.by_name)
    for value in graph.input:
        for dimension in value.type.tensor_type.shape.dim:
            size = changes.by_denotation.get(dimension.denotation)
            if size is None or not dimension.denotation:
                continue
            if dimension.HasField("dim_value") and dimension.dim_value != size:
                raise InvalidArgument(
                    f"input {value.name!r} has {dimension.dim_value} along "
                    f"{dimension.denotation!r}, which is overridden by {size}"
                )
            if dimension.dim_param:
                sizes.setdefault(dimension.dim_param, size)
            dimension.dim_value = size
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in sizes and dimension.dim_param:
                dimension.dim_value = sizes[dimension.dim_param]


def _set_initializers(graph: Any, values: Mapping[str, Any], spans: Mapping[str, Any]) -> None:
    onnx = import_onnx()
    known = {tensor.name: tensor for tensor in graph.initializer}
    for name, value in values.items():
        array = held(value)
        if name not in known:
            raise InvalidArgument(f"the model has no initializer {name!r}")
        if not isinstance(array, np.ndarray):
            raise CallError(f"initializer {name!r} takes an OrtValue of an array, not {value!r}")
        tensor = known[name]
        shape = spans[name].shape if name in spans else tuple(tensor.dims)
        found = onnx.numpy_helper.from_array(array, name)
        if tuple(array.shape) != shape or found.data_type != tensor.data_type:
            wanted = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            raise InvalidArgument(
                f"initializer {name!r} is {wanted}{list(shape)}, but got "
                f"{array.dtype}{list(array.shape)}"
            )
        tensor.CopyFrom(found)


def write_model(source: Any, options: Any) -> None:
    """Write a session's model to ``options.optimized_model_filepath``: a valid ONNX model.

    Changes are made and functions put in place. Weights go to a file of their own where the options
    name one, or where they are too large for one file.

    Raises
    ------
    ValueError
        For a file that cannot be written, or that is the model's own.
    """
    onnx = import_onnx()
    target = Path(options.optimized_model_filepath)
    if isinstance(source, onnx.ModelProto):
        model = onnx.ModelProto()
        model.CopyFrom(source)
    elif isinstance(source, (str, os.PathLike)):
        if target.exists() and os.path.samefile(source, target):
            raise CallError(f"optimized_model_filepath is the model's own file: {target}")
        model = onnx.load_model(os.fspath(source))
    else:
        model = onnx.load_model_from_string(bytes(source))
    changes = changes_of(options)
    if changes:
        _set_dimensions(model.graph, changes)
        _set_initializers(model.graph, changes.initializers, {})
    if model.functions:
        model = inlined(onnx, model)
    data = _data_name(options, target, model)
    try:
        if data is None:
            onnx.save_model(model, target)
            return
        beside = target.parent / data
        beside.unlink(missing_ok=True)
        onnx.save_model(
            model, target, save_as_external_data=True, location=data, size_threshold=1024
        )
    except OSError as error:
        raise CallError(f"optimized_model_filepath cannot be written: {error}") from None


def _data_name(options: Any, target: Path, model: Any) -> str | None:
    """Return the name of the file that takes the weights; None: they stay in the model."""
    entries = getattr(options, "_entries", {})
    if entries.get(_DATA_ENTRY):
        name = str(entries[_DATA_ENTRY])
        if Path(name).name != name:
            raise CallError(f"{_DATA_ENTRY} must be the name of a file, but got {name!r}")
        return name
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    return f"{target.name}.data" if size > _MOST_BYTES else None
