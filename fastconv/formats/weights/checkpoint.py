"""PyTorch checkpoints: a zip archive of one pickle and the tensors' memory, a file each."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from fastconv.arrays import Array
from fastconv.formats.weights.bits import from_bits
from fastconv.formats.weights.pickled import Global, Reader

_TYPED = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
}  # fmt: skip
_DTYPES = (*_TYPED.values(), "uint16", "uint32", "uint64")
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_LARGEST = 2**62


class Storage(NamedTuple):
    """The memory of tensors: its dtype (None: bytes), the name of its file, its elements."""

    dtype: str | None
    key: str
    length: int


class Tensor(NamedTuple):
    """A view of a storage, in elements."""

    storage: Storage
    dtype: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read_checkpoint(path: Path, key: str | None = None) -> dict[str, Array]:
    """Return the state dict of a file that torch.save wrote, or the one in it under ``key``.

    Raises
    ------
    ValueError
        For a file of another format or with anything else in it, and for tensors that do not fit
        their memory.
    """
    if not zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            legacy = stream.read(len(_LEGACY)) == _LEGACY
        kind = "is in the format of PyTorch before 1.6" if legacy else "is not a zip archive"
        raise ValueError(
            f"it {kind}, which is not read; if torch can read it, save it again: "
            f"torch.save(torch.load(path, weights_only=True), path)"
        )
    with zipfile.ZipFile(path) as archive:
        memory = _Memory(archive, path.stat().st_size)
        found = Reader(MAKERS, _storage).read(memory.pickle())
        tensors = _chosen(found, key)
        return {name: memory.array(name, tensor) for name, tensor in tensors.items()}


def _chosen(found: Any, key: str | None) -> dict[str, Tensor]:
    """Return the dict of tensors: the whole, or what is under ``key``."""
    if not isinstance(found, dict):
        raise ValueError(f"it holds no dict of tensors, but a {type(found).__name__.lower()}")
    if key is not None:
        if not isinstance(found.get(key), dict):
            raise ValueError(f"there is no dict under key {key!r}; there are {_dicts(found)}")
        found = found[key]
    others = [str(name) for name, value in found.items() if not isinstance(value, Tensor)]
    if others:
        dicts = _dicts(found)
        hint = f"; give one of its dicts by key=: {dicts}" if key is None and dicts else ""
        raise ValueError(f"it holds more than tensors: {', '.join(others[:8])}{hint}")
    return {str(name): value for name, value in found.items()}


def _dicts(found: dict[Any, Any]) -> str:
    return ", ".join(repr(str(name)) for name, value in found.items() if isinstance(value, dict))


class _Memory:
    """The files of an archive; each is looked at before it is read."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive, self._size = archive, size
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise ValueError("it is a zip archive, but none that torch.save wrote")
        self._folder = pickles[0].removesuffix("data.pkl")
        if any(
            name.startswith((f"{self._folder}code/", f"{self._folder}constants")) for name in names
        ):
            raise ValueError("it is a TorchScript program; save its state dict alone")
        self._kept: dict[str, bytes] = {}
        order = (
            self._read("byteorder").strip() if f"{self._folder}byteorder" in names else b"little"
        )
        if order not in (b"little", b"big"):
            raise ValueError(f"its byte order is {order!r}")
        self._order = "<" if order == b"little" else ">"

    def _entry(self, name: str) -> zipfile.ZipInfo:
        try:
            entry = self._archive.getinfo(self._folder + name)
        except KeyError:
            raise ValueError(f"the file {name!r} is missing in it") from None
        end = entry.header_offset + entry.file_size
        if entry.compress_type != zipfile.ZIP_STORED or end > self._size:
            raise ValueError(f"its file {name!r} is not as torch.save writes it")
        return entry

    def _read(self, name: str) -> bytes:
        return self._archive.read(self._entry(name))

    def pickle(self) -> bytes:
        return self._read("data.pkl")

    def array(self, name: str, tensor: Tensor) -> Array:
        """Return a tensor as an array over its storage's memory."""
        storage, itemsize = tensor.storage, _itemsize(tensor.dtype)
        wanted = storage.length * (1 if storage.dtype is None else _itemsize(storage.dtype))
        there = self._entry(f"data/{storage.key}").file_size
        if wanted > there:
            raise ValueError(f"tensor {name!r} needs {wanted} bytes, but its storage has {there}")
        count = wanted // itemsize
        if 0 in tensor.size:
            return from_bits(b"", tensor.dtype, self._order).reshape(tensor.size)
        reach = [(n - 1) * step for n, step in zip(tensor.size, tensor.stride, strict=True)]
        if tensor.offset + sum(reach) >= count:
            raise ValueError(f"tensor {name!r} reaches beyond its storage")
        if storage.key not in self._kept:
            self._kept[storage.key] = self._read(f"data/{storage.key}")
        data = memoryview(self._kept[storage.key])[: count * itemsize]
        flat = from_bits(data, tensor.dtype, self._order)[tensor.offset :]
        strides = tuple(step * flat.itemsize for step in tensor.stride)
        return as_strided(flat, tensor.size, strides, writeable=False)


def _itemsize(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def _storage(reference: Any) -> Storage:
    """Return the storage that a persistent id names: (storage, type, file, place, elements)."""
    match reference:
        case ("storage", Global(module=_, name=name), str(key), _, int(count), *_):
            pass
        case _:
            raise ValueError("its pickle names memory in a way that is not read")
    if not 0 <= count < _LARGEST or not key.isalnum():
        raise ValueError(f"a storage {key!r} of {count} elements")
    return Storage(_TYPED.get(name), key, count)


def _tensor(
    storage: Any, offset: Any, size: Any, stride: Any, *_: Any, dtype: str | None = None
) -> Tensor:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without memory")
    name = dtype or storage.dtype
    if name not in _DTYPES:
        raise ValueError(f"a tensor of dtype {name} is not supported")
    for numbers in ((offset,), size, stride):
        if not isinstance(numbers, tuple) or not all(
            type(n) is int and 0 <= n < _LARGEST for n in numbers
        ):
            raise ValueError("a tensor's offset, sizes and strides must be ints, and not negative")
    if len(size) != len(stride) or len(size) > 32:
        raise ValueError(f"a tensor of sizes {size} and strides {stride}")
    return Tensor(storage, name, offset, size, stride)


def _tensor_of_dtype(*arguments: Any) -> Tensor:
    """Return a tensor whose seventh argument is its dtype: those of dtypes newer than storages."""
    dtype = arguments[6] if len(arguments) > 6 else None
    if not isinstance(dtype, Global):
        raise ValueError("a tensor without a dtype")
    return _tensor(*arguments[:4], dtype=dtype.name)


def _parameter(data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise ValueError("a parameter that is not a tensor")
    return data


def _ordered(items: Any = ()) -> dict[Any, Any]:
    pairs = [tuple(pair) for pair in items]
    if not all(isinstance(key, (str, int)) for key, _ in pairs):
        raise ValueError("a dict's key that is not text")
    return dict(pairs)


def _size(lengths: Any = ()) -> tuple[Any, ...]:
    return tuple(lengths)


MAKERS: dict[Global, Callable[..., Any] | None] = {
    Global("collections", "OrderedDict"): _ordered,
    Global("torch", "Size"): _size,
    Global("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Global("torch._utils", "_rebuild_tensor_v3"): _tensor_of_dtype,
    Global("torch._utils", "_rebuild_parameter"): _parameter,
    Global("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    Global("torch.storage", "UntypedStorage"): None,
    **{Global("torch", name): None for name in (*_TYPED, *_DTYPES)},
}
