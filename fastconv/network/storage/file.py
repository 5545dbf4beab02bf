"""Files of networks: a zip that holds the graph as JSON, and each array as NumPy's .npy.

It is what ``numpy.load`` reads too. Nothing in it is compressed, so that no array is larger than
the file; nothing in it is executed or unpickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zipfile
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from fastconv._version import __version__
from fastconv.dispatch import Parameter, stored
from fastconv.dispatch.stored import StoredParameter, WeightFile, values_of
from fastconv.network.graph import Graph, Node, Port
from fastconv.network.limits import allow, memory_limit
from fastconv.network.operations import OPERATIONS
from fastconv.network.recorded import FUNCTIONAL
from fastconv.network.storage.values import (
    BUILTIN,
    Absent,
    Array,
    Arrays,
    Json,
    decode,
    dtype_of,
    encode,
    whole,
)
from fastconv.problem.conv import check_precision, check_rtol

SUFFIX = ".fastconv"
FORMAT = 1
_GRAPH = "network.json"
# Bytes of a zip member's own header, before its name.
_HEADER = 30
_PIECE = 1 << 20


def write_graph(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write a graph to a file, which is put in place in one step.

    Raises
    ------
    ValueError
        For a node that cannot be written, by its name.
    """
    arrays = Arrays()
    told = {"fastconv": FORMAT, "version": __version__, "graph": _encode_graph(graph, arrays)}
    told["dtypes"] = [array.dtype.name for array in arrays.held]
    file = Path(path)
    beside = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(_GRAPH, json.dumps(told, allow_nan=False))
            for number, array in enumerate(arrays.held):
                with archive.open(_member(number), "w", force_zip64=True) as stream:
                    bits = _bits(values_of(array))
                    np.lib.format.write_array(stream, bits, allow_pickle=False)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def read_graph(
    path: str | os.PathLike[str], *, max_memory: int | None = None, in_memory: bool = False
) -> Graph:
    """Read what `write_graph` wrote; large arrays stay in the file unless ``in_memory``.

    Raises
    ------
    ValueError
        For a file that is damaged or none of these, and for arrays beyond ``max_memory`` bytes.
    """
    try:
        file = None if in_memory else _kept_open(path)
        size = os.path.getsize(path) if file is None else file.size
        with contextlib.ExitStack() as stack:
            stack.enter_context(memory_limit(max_memory))
            opened = path if file is None else stack.enter_context(file.stream())
            archive = stack.enter_context(zipfile.ZipFile(opened))
            members = _members(archive, size)
            told = json.loads(archive.read(members[_GRAPH]))
            if told["fastconv"] != FORMAT:
                raise ValueError(f"it is of format {told['fastconv']}, this reads {FORMAT}")
            held = 0
            arrays: list[Any] = []
            for number, name in enumerate(told["dtypes"]):
                member = members[_member(number)]
                with archive.open(member) as stream:
                    arrays.append(_read_array(stream, dtype_of(name), member, held, file))
                held += arrays[-1].nbytes
            return _decode_graph(told["graph"], arrays)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except Exception as error:  # a damaged file goes wrong in as many ways as there are parts
        words = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is not a readable network: {words}") from None


def _member(number: int) -> str:
    return f"{number}.npy"


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the archive's members: stored as they are, and together no larger than the file."""
    members = archive.infolist()
    plain = all(m.compress_type == zipfile.ZIP_STORED for m in members)
    if not plain or sum(max(m.file_size, m.compress_size) for m in members) > size:
        raise ValueError("its members are compressed, or larger than the file")
    return {m.filename: m for m in members}


def _kept_open(path: str | os.PathLike[str]) -> WeightFile | None:
    """Return the file where it is large enough that its arrays may stay in it."""
    large = os.path.getsize(path) >= stored.LEAST_FILE_BYTES
    return WeightFile(path) if large and stored.can_store() else None


def _read_array(
    stream: Any, dtype: np.dtype[Any], member: zipfile.ZipInfo, held: int, file: WeightFile | None
) -> Parameter | StoredParameter:
    """Read an array of the dtype; its size must be that of the data."""
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"an array's header is of version {version}")
    shape, fortran, kind = np.lib.format.read_array_header_1_0(stream)
    start: int = stream.tell()
    size = member.file_size - start
    if kind != _stored(dtype) or fortran or any(n < 0 for n in shape):
        raise ValueError(f"an array of {kind} was found where one of {dtype.name} is told")
    if prod(shape) * dtype.itemsize != size:
        raise ValueError(f"an array of shape {list(shape)} has {size} bytes")
    allow(shape, dtype, held, "an array")
    if file is not None and size >= stored.LEAST_BYTES and dtype.name in BUILTIN:
        while stream.read(_PIECE):
            # At its end the sum of its bytes is checked.
            pass
        return StoredParameter(file, _start_of(member, file) + start, shape, dtype)
    bits = np.frombuffer(stream.read(), kind).astype(kind.newbyteorder("="), copy=False)
    return Parameter(bits.view(dtype).reshape(shape))


def _start_of(member: zipfile.ZipInfo, file: WeightFile) -> int:
    """Return the offset of a member's bytes, after a header that ends with two lengths."""
    header = file.read(member.header_offset, _HEADER)
    name, extra = struct.unpack("<HH", header[-4:].tobytes())
    return int(member.header_offset) + _HEADER + int(name) + int(extra)


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that .npy files have for another: those beyond NumPy's go as raw bits."""
    plain = dtype if dtype.name in BUILTIN else np.dtype(f"u{dtype.itemsize}")
    return plain.newbyteorder("<")


def _bits(array: Array) -> Array:
    """Return an array as it is stored."""
    own = _stored(array.dtype)
    return array.view(own.newbyteorder("=")).astype(own, copy=False)


# Graphs


def _encode_graph(graph: Graph, arrays: Arrays) -> Json:
    return {
        "name": graph.name,
        "rtol": graph.rtol,
        "precision": graph.precision,
        "inputs": [_encode_port(port) for port in graph.inputs],
        "outputs": [_encode_port(port) for port in graph.outputs],
        "constants": {k: _encode_constant(k, v, arrays) for k, v in graph.constants.items()},
        "nodes": [_encode_node(node, arrays) for node in graph.nodes],
    }


def _encode_port(port: Port) -> Json:
    return [port.name, list(port.shape), port.dtype, port.any_rank, port.kind]


def _encode_constant(name: str, value: Any, arrays: Arrays) -> Json:
    if value.dtype.kind in "OU":
        flat = value.reshape(-1).tolist()
        if all(isinstance(item, str) for item in flat):
            return {"words": flat, "shape": list(value.shape)}
    try:
        return arrays.add_weight(value)
    except ValueError as error:
        raise ValueError(f"constant {name!r}: {error}") from None


def _encode_node(node: Node, arrays: Arrays) -> Json:
    if node.op == "call":
        raise ValueError(
            f"node {node.name!r} cannot be saved: it is run by another package's "
            f"{node.attributes.get('function')!r}; see Network.fallbacks"
        )
    try:
        attributes = {
            k: encode(_present(k, v), arrays, _encode_graph) for k, v in node.attributes.items()
        }
    except ValueError as error:
        raise ValueError(f"node {node.name!r} ({node.op}): {error}") from None
    return [node.op, list(node.inputs), list(node.outputs), attributes, node.name, node.kind]


def _present(name: str, value: Any) -> Any:
    """Leave out what runs only for dtypes that the node was not seen with."""
    return Absent(str(value)) if name == "otherwise" and callable(value) else value


def _decode_graph(told: Json, arrays: list[Any]) -> Graph:
    return Graph(
        inputs=tuple(_decode_port(port) for port in told["inputs"]),
        outputs=tuple(_decode_port(port) for port in told["outputs"]),
        nodes=tuple(_decode_node(node, arrays) for node in told["nodes"]),
        constants={_word(k): _decode_constant(v, arrays) for k, v in told["constants"].items()},
        name=_word(told["name"]),
        rtol=None if told.get("rtol") is None else check_rtol(told["rtol"]),
        precision=check_precision(told.get("precision"), np.dtype(np.float32)),
    )


def _decode_port(told: Json) -> Port:
    name, shape, dtype, any_rank, kind = told
    sizes = tuple(n if n is None or isinstance(n, str) else whole(n, least=0) for n in shape)
    return Port(_word(name), sizes, _word(dtype), bool(any_rank), _word(kind))


def _decode_constant(told: Json, arrays: list[Any]) -> Any:
    if isinstance(told, dict) and told.keys() == {"turned"}:
        # A view: a small file cannot ask for much memory.
        return arrays[whole(told["turned"], least=0)].transpose()
    if isinstance(told, dict):
        words = np.array([_word(word) for word in told["words"]], object)
        return words.reshape([whole(n, least=0) for n in told["shape"]])
    return arrays[whole(told, least=0)]


def _decode_node(told: Json, arrays: list[Any]) -> Node:
    op, inputs, outputs, attributes, name, kind = told
    if op == "call" or not (op in OPERATIONS or op in FUNCTIONAL):
        raise ValueError(f"there is no operation named {op!r} for files")
    decoded = {_word(k): decode(v, arrays, _decode_graph) for k, v in attributes.items()}
    return Node(op, _words(inputs), _words(outputs), decoded, _word(name), _word(kind))


def _word(value: Json) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} was found where a name should be")
    return value


def _words(values: Sequence[Json]) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise ValueError(f"{values!r} was found where names should be")
    return tuple(map(_word, values))
