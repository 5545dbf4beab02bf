"""Weight files of several kinds, distinguished by their suffix."""

from __future__ import annotations

import math
import os
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fastconv import settings
from fastconv.arrays import Array
from fastconv.formats.weights.bits import from_bits
from fastconv.formats.weights.checkpoint import read_checkpoint
from fastconv.problem import Shape
from fastconv.problem.values import optional_text, shown

# What zipfile and NumPy raise for damaged files.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, KeyError,
    IndexError, OverflowError, struct.error, UnicodeDecodeError, SyntaxError, TypeError,
    MemoryError, tokenize.TokenError,
)  # fmt: skip
# The most that deflate makes of a byte, and a little more.
_DEFLATED = 1100


def load_weights(path: str | os.PathLike[str], *, key: str | None = None) -> dict[str, Array]:
    """Read a file of weights.

    Parameters
    ----------
    path : str or path
        One of these, by its suffix:

        - ``.safetensors``; needs the extra ``fastconv[safetensors]``.
        - ``.npz``, as `numpy.savez` writes it; arrays of objects are refused.
        - ``.pt`` or ``.pth``, as ``torch.save`` has written them since PyTorch 1.6: a state
          dict, or a dict that holds one. torch is not needed. Nothing in the file is executed:
          its pickle is read by a reader that knows tensors, dicts, lists and numbers, and refuses
          all else.
    key : str, optional
        Of a checkpoint that holds several things: the name of its state dict.

    Returns
    -------
    dict of str to array
        For ``module.load_state_dict``. The arrays may be read-only, and share memory where the
        tensors did. bfloat16, which NumPy has no word for, is ml_dtypes' where that is installed,
        else float32.

    Raises
    ------
    ValueError
        For a file that is missing, damaged, of another kind, or that holds more than tensors.
    """
    file = settings.existing_file(path, "path")
    optional_text(key, "key")
    readers = {
        ".safetensors": _read_safetensors,
        ".npz": _read_npz,
        ".pt": read_checkpoint,
        ".pth": read_checkpoint,
    }
    if file.suffix not in readers:
        raise ValueError(
            f"cannot tell what {file} is: weights are read from {', '.join(readers)} files"
        )
    if key is not None and readers[file.suffix] is not read_checkpoint:
        raise ValueError(f"key is for .pt and .pth files, but got {shown(key)} for {file}")
    try:
        if readers[file.suffix] is read_checkpoint:
            return read_checkpoint(file, key)
        return readers[file.suffix](file)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    except _DAMAGE as error:
        raise ValueError(f"{file} is damaged: {type(error).__name__}: {error}") from None


_SAFE = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32",
    "U16": "uint16", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip


def _read_safetensors(path: Path) -> dict[str, Array]:
    try:
        import safetensors
    except ImportError:
        raise ValueError(
            "this needs the safetensors package: pip install 'fastconv[safetensors]'"
        ) from None
    try:
        read: Any = safetensors.deserialize
        entries = read(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise ValueError(f"no safetensors file: {error}") from None
    weights = {}
    for name, entry in entries:
        if entry["dtype"] not in _SAFE:
            raise ValueError(f"tensor {name!r} has dtype {entry['dtype']}, which is not supported")
        flat = from_bits(entry["data"], _SAFE[entry["dtype"]], "<")
        weights[name] = flat.reshape(entry["shape"])
    return weights


def _read_npz(path: Path) -> dict[str, Array]:
    weights = {}
    with zipfile.ZipFile(path) as archive:
        whole = path.stat().st_size
        for entry in archive.infolist():
            if not entry.filename.endswith(".npy"):
                raise ValueError(f"{entry.filename!r} in it is not an array")
            name = entry.filename.removesuffix(".npy")
            if entry.compress_size > whole or entry.file_size > _DEFLATED * entry.compress_size:
                raise ValueError(f"array {name!r} says that it is larger than it can be")
            with archive.open(entry) as stream:
                weights[name] = _read_npy(stream, name, entry.file_size)
    return weights


def _read_npy(stream: Any, name: str, size: int) -> Array:
    """Read one array; its header's size is compared with the data before memory is taken."""
    shape, dtype = _npy_header(stream)
    needed = math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise ValueError(f"array {name!r} holds Python objects, which are not read")
    if needed > size:
        raise ValueError(f"array {name!r} says that it is {needed} bytes, but has {size}")
    stream.seek(0)
    array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _npy_header(stream: BinaryIO) -> tuple[Shape, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"arrays of version {version} are not read")
    shape, _, dtype = readers[version](stream)
    if any(length < 0 for length in shape):
        raise ValueError(f"an array of shape {shape}")
    return shape, dtype
