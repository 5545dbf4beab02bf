"""Tensors, attributes and types as ONNX stores them, made arrays and plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from os.path import normpath
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from fastconv.dispatch import Parameter
from fastconv.formats.onnx.call import Unsupported
from fastconv.network import Port
from fastconv.network.limits import TooLarge, allow

Reader = Callable[[Any], np.ndarray[Any, Any]]


@dataclasses.dataclass(frozen=True)
class Home:
    """Where files next to a model may be: in the folder that it was named in, or its real one.

    These differ where the model's file is a symbolic link, as in the cache of a model hub.
    """

    folder: Path
    real: Path

    @classmethod
    def of(cls, path: Path) -> Home:
        """Return the home of a model's file."""
        return cls(path.absolute().parent.resolve(), path.resolve().parent)

    def file(self, location: str) -> Path | None:
        """Return the real file of a relative location; None: there is none, or it is elsewhere."""
        parts = PurePath(location).parts
        if (
            not parts
            or PurePath(location).is_absolute()
            or ".." in PurePath(normpath(location)).parts
        ):
            return None
        try:
            target = (self.folder / location).resolve()
            inside = self.folder in target.parents or self.real in target.parents
            return target if inside and target.is_file() else None
        except (OSError, RuntimeError, ValueError):  # links in a circle; names that no file has
            return None


def reader_of(home: Home | None) -> Reader:
    """Return the function that makes arrays of tensors, whose files are in the model's ``home``.

    It refuses what is larger than the memory limit in force, and what does not hold as many
    elements as it declares, before anything is allocated.
    """
    import onnx

    def read(tensor: Any) -> np.ndarray[Any, Any]:
        label = f"tensor {tensor.name!r}"
        dtype = dtype_of(tensor.data_type, label)
        try:
            allow(tensor.dims, dtype, what=label)
            if not onnx.external_data_helper.uses_external_data(tensor):
                array = onnx.numpy_helper.to_array(tensor)
            else:
                array = _external(onnx, tensor, home)
        except (TooLarge, ValueError) as error:
            raise ValueError(f"{label} cannot be read: {error}") from None
        except Exception as error:
            raise ValueError(f"{label} cannot be read: {type(error).__name__}: {error}") from None
        return np.asarray(array)

    return read


def external_file(tensor: Any, home: Home | None) -> Path:
    """Return the file that holds a tensor, which must be in the model's home.

    Raises
    ------
    ValueError
        Where it is not: for absolute locations, for those that lead out by "..", and for links to
        files elsewhere.
    """
    entries: dict[str, str] = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    target = None if home is None else home.file(location)
    if target is None:
        where = (
            "the model was given without its file: load it by its path"
            if home is None
            else (
                "external data must be files in the model's folder, or where its own file really is"
            )
        )
        raise ValueError(
            f"tensor {tensor.name!r} is in {location!r}, which is not a file in the model's "
            f"folder: {where}"
        )
    return target


def external_span(tensor: Any, name: str, size: int) -> tuple[int, int]:
    """Return from where on a tensor's bytes are stored in a file of so many, and how many they are.

    Raises
    ------
    ValueError
        Where the file ends before they do.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    offset = int(entries.get("offset", 0))
    length = int(entries.get("length", size - offset))
    if offset < 0 or length < 0 or offset + length > size:
        raise ValueError(f"{name!r} ends before its data do")
    return offset, length


def _external(onnx: Any, tensor: Any, home: Home | None) -> np.ndarray[Any, Any]:
    target = external_file(tensor, home)
    offset, length = external_span(tensor, target.name, target.stat().st_size)
    held = onnx.TensorProto()
    held.CopyFrom(tensor)
    held.data_location = onnx.TensorProto.DEFAULT
    del held.external_data[:]
    with target.open("rb") as file:
        file.seek(offset)
        held.raw_data = file.read(length)
    return np.asarray(onnx.numpy_helper.to_array(held))


def dense(onnx: Any, sparse: Any, read: Reader) -> np.ndarray[Any, Any]:
    """Return a sparse tensor with its zeros."""
    values, places = read(sparse.values), read(sparse.indices)
    shape = tuple(int(n) for n in sparse.dims)
    allow(shape, values.dtype, what=f"sparse tensor {sparse.values.name!r}")
    full = np.zeros(shape, values.dtype)
    if places.ndim == 1:
        full.reshape(-1)[places] = values
    else:
        full[tuple(places.T)] = values
    return full


def dtype_of(element: int, label: str) -> np.dtype[Any]:
    """Return the dtype of one of ONNX's element types; strings are objects."""
    import onnx

    try:
        dtype: np.dtype[Any] = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element))
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{label} has no known element type ({element})") from None
    return dtype


def constant_of(array: np.ndarray[Any, Any]) -> Any:
    """Keep an array so that it cannot be changed; strings stay plain arrays."""
    return array if array.dtype.hasobject else Parameter(array)


def constant_value(onnx: Any, node: Any, read: Reader) -> Any:
    """Return what a Constant holds, whichever attribute it is in."""
    if not node.attribute:
        raise ValueError(f"constant {node.output[0]!r} has no value")
    attribute = node.attribute[0]
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return read(value)
    if attribute.name == "sparse_value":
        return dense(onnx, value, read)
    if attribute.name in ("value_float", "value_floats"):
        return np.array(value, np.float32)
    if attribute.name in ("value_int", "value_ints"):
        return np.array(value, np.int64)
    if attribute.name in ("value_string", "value_strings"):
        several = [value] if isinstance(value, bytes) else value
        texts = np.array([text.decode() for text in several], object)
        return texts if attribute.name == "value_strings" else texts.reshape(())
    raise Unsupported(f"constants by {attribute.name}")


def attribute_value(onnx: Any, attribute: Any, read: Reader) -> Any:
    """Return an attribute as a plain value; graphs stay what they are."""
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if attribute.type == onnx.AttributeProto.TENSOR:
        return read(value)
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return list(value)
    if attribute.type == onnx.AttributeProto.STRINGS:
        return [text.decode() for text in value]
    return value


def port_of(onnx: Any, value: Any, *, typed: bool = True) -> Port:
    """Return a declared input or output; inside graphs of control flow no type is required."""
    label = f"input or output {value.name!r}"
    which = value.type.WhichOneof("value")
    if which != "tensor_type":
        if which is None and typed:
            raise ValueError(f"{label} has no type")
        return Port(value.name, (), "", any_rank=True, kind=type_name(value.type))
    kind = value.type.tensor_type
    if not kind.elem_type and not typed:
        return Port(value.name, (), "", any_rank=True, kind="tensor(undefined)")
    dtype = dtype_of(kind.elem_type, label).name
    if not kind.HasField("shape"):
        return Port(value.name, (), dtype, any_rank=True)
    # Many exporters write -1 for a size that is open.
    sizes = tuple(
        (d.dim_value if d.dim_value >= 0 else None)
        if d.HasField("dim_value")
        else (d.dim_param or None)
        for d in kind.shape.dim
    )
    return Port(value.name, sizes, dtype)


def type_name(kind: Any) -> str:
    """Return a type as ONNX writes it, such as "seq(tensor(float))"."""
    import onnx

    which = kind.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        element = getattr(kind, which).elem_type
        names = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
        word = "tensor" if which == "tensor_type" else "sparse_tensor"
        return f"{word}({names.get(element, 'undefined')})"
    if which == "sequence_type":
        return f"seq({type_name(kind.sequence_type.elem_type)})"
    if which == "optional_type":
        return f"optional({type_name(kind.optional_type.elem_type)})"
    if which == "map_type":
        names = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
        key = names.get(kind.map_type.key_type, "undefined")
        return f"map({key},{type_name(kind.map_type.value_type)})"
    return "unknown"
