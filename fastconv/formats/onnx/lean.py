"""ONNX files without their large weights: read field by field, where the weights are noted.

A model is a message of protobuf's: fields that begin with their number and the kind of what
follows, most of them a length and as many bytes (protobuf's "Encoding" documentation). Only what
is plain is taken out: a large tensor among the initializers of the one main graph, with a name of
its own, that holds its elements as raw bytes, exactly as many as its shape says. Its place is taken
by a tensor without elements. All else is left to onnx as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastconv.dispatch import stored
from fastconv.dispatch.stored import Span

# Fields of ModelProto, GraphProto and TensorProto.
_GRAPH, _INITIALIZER = 7, 5
_DIMS, _TYPE, _NAME, _RAW, _DOC, _METADATA = 1, 2, 8, 9, 12, 16
# Kinds of what follows a field's number.
_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
# Element types that are stored in a file as NumPy has them, by TensorProto's numbers.
DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
# One dimension of length 0.
_NO_ELEMENTS = bytes((_DIMS << 3 | _VARINT, 0))
_PAGE = 1 << 14
# So many numbers are read of a model's form in seconds; no network has more.
_MOST_NUMBERS = 2_000_000

Read = Callable[[int, int], Any]


@dataclasses.dataclass(frozen=True)
class Lean:
    """A model's bytes without its large weights, and where those are, by name."""

    data: bytes
    weights: dict[str, Span]


class _Untold(Exception):
    """Bytes that are not a message, or not one that this reads."""


@dataclasses.dataclass(frozen=True)
class _Field:
    """A field: its number and kind, where it begins and ends, where its content begins, its value.

    The value is a number's, else 0.
    """

    number: int
    kind: int
    start: int
    content: int
    stop: int
    value: int = 0


def without_weights(read: Read, size: int) -> Lean | None:
    """Return a model of ``size`` bytes without its large weights; None: it is not plain enough.

    ``read(offset, length)`` gives bytes of the model.
    """
    message = _Message(read)
    try:
        graphs = [f for f in message.fields(0, size) if f.number == _GRAPH]
        if len(graphs) != 1 or graphs[0].kind != _BYTES:
            return None
        (graph,) = graphs
        found = [
            (field, _tensor(message, field))
            for field in message.fields(graph.content, graph.stop)
            if field.number == _INITIALIZER and field.kind == _BYTES
        ]
    except _Untold:
        return None
    names = [tensor.name for _, tensor in found]
    if len(set(names)) < len(names):
        return None
    weights: dict[str, Span] = {}
    pieces: list[bytes] = []
    done = graph.content
    for field, tensor in found:
        if tensor.span is not None:
            weights[tensor.name.decode()] = tensor.span
            kept = [*(message.bytes(a, b) for a, b in tensor.rest), _NO_ELEMENTS]
            pieces += [message.bytes(done, field.start), _with_length(_INITIALIZER, kept)]
            done = field.stop
    pieces.append(message.bytes(done, graph.stop))
    whole = (message.bytes(0, graph.start), _with_length(_GRAPH, pieces))
    return Lean(b"".join((*whole, message.bytes(graph.stop, size))), weights)


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """An initializer: its name, and where its elements and its other fields are.

    ``span`` is None where it stays what it is.
    """

    name: bytes
    span: Span | None = None
    rest: tuple[tuple[int, int], ...] = ()


def _tensor(message: _Message, whole: _Field) -> _Tensor:
    fields = list(message.fields(whole.content, whole.stop))
    names = [f for f in fields if f.number == _NAME]
    if len(names) != 1 or names[0].kind != _BYTES:
        raise _Untold
    name = message.bytes(names[0].content, names[0].stop)
    if whole.stop - whole.start < stored.LEAST_BYTES:
        return _Tensor(name)
    raws = [f for f in fields if f.number == _RAW and f.kind == _BYTES]
    types = [f for f in fields if f.number == _TYPE and f.kind == _VARINT]
    dims = _dims(message, fields)
    known = {_DIMS, _TYPE, _NAME, _RAW, _DOC, _METADATA}
    plain = len(raws) == len(types) == 1 and dims is not None and _is_text(name)
    if not plain or any(f.number not in known for f in fields) or types[0].value not in DTYPES:
        return _Tensor(name)
    (raw,) = raws
    span = Span(raw.content, tuple(dims or ()), np.dtype(DTYPES[types[0].value]))
    if span.nbytes != raw.stop - raw.content or span.nbytes < stored.LEAST_BYTES:
        return _Tensor(name)
    rest = tuple((f.start, f.stop) for f in fields if f.number not in (_DIMS, _RAW))
    return _Tensor(name, span, rest)


def _dims(message: _Message, fields: list[_Field]) -> list[int] | None:
    """Return a tensor's shape, written one by one or packed; None where a length is negative."""
    found: list[int] = []
    for field in fields:
        if field.number == _DIMS and field.kind == _VARINT:
            found.append(field.value)
        elif field.number == _DIMS and field.kind == _BYTES:
            place = field.content
            while place < field.stop:
                value, place = message.varint(place, field.stop)
                found.append(value)
    return found if all(0 < n < 1 << 63 for n in found) else None


def _is_text(name: bytes) -> bool:
    try:
        return bool(name.decode())
    except UnicodeDecodeError:
        return False


class _Message:
    """Bytes of a model, read a page at a time."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._first, self._page, self._numbers = 0, b"", 0

    def bytes(self, start: int, stop: int) -> bytes:
        """Return a range of bytes."""
        return bytes(self._read(start, stop - start))

    def fields(self, start: int, stop: int) -> Iterator[_Field]:
        """Yield the fields of the message between two places.

        Raises
        ------
        _Untold
            Where its end is not a field's end.
        """
        place = start
        while place < stop:
            tag, content = self.varint(place, stop)
            number, kind = tag >> 3, tag & 7
            value = 0
            if kind == _VARINT:
                value, end = self.varint(content, stop)
            elif kind == _BYTES:
                length, content = self.varint(content, stop)
                end = content + length
            elif kind in _FIXED:
                end = content + _FIXED[kind]
            else:
                raise _Untold
            if end > stop or not 0 < number < 1 << 29:
                raise _Untold
            yield _Field(number, kind, place, content, end, value)
            place = end

    def varint(self, place: int, stop: int) -> tuple[int, int]:
        """Return the number at a place, seven bits a byte, and the place behind it.

        Raises
        ------
        _Untold
            Where it does not end in time.
        """
        value = 0
        self._numbers += 1
        if self._numbers > _MOST_NUMBERS:
            raise _Untold
        for count in range(10):
            if place + count >= stop:
                break
            byte = self._byte(place + count, stop)
            value |= (byte & 127) << 7 * count
            if byte < 128 and value < 1 << 64:
                return value, place + count + 1
        raise _Untold

    def _byte(self, place: int, stop: int) -> int:
        if not self._first <= place < self._first + len(self._page):
            self._first, self._page = place, self.bytes(place, min(stop, place + _PAGE))
        return self._page[place - self._first]


def _with_length(number: int, pieces: list[bytes]) -> bytes:
    """Return a field of so many bytes."""
    return b"".join((_varint(number << 3 | _BYTES), _varint(sum(map(len, pieces))), *pieces))


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)
