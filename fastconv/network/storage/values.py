"""Attributes of nodes as JSON and back: numbers, words, tuples, dtypes, slices, arrays, graphs.

What JSON has is written as it is, tuples as its arrays, all else as an object of one key that says
what it is. Nothing that is read can name a Python object.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.dispatch.stored import StoredParameter, values_of
from fastconv.network.graph import Graph
from fastconv.network.resizing import Way
from fastconv.network.template import OfBatch, Place

Json = Any
Array = np.ndarray[Any, Any]
BUILTIN = frozenset((
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
    "float32", "float64", "complex64", "complex128",
))  # fmt: skip
# Of the package ml_dtypes, which is asked for only where one of them is met.
_SMALL = frozenset((
    "bfloat16", "float4_e2m1fn", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz",
    "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu",
    "int2", "int4", "uint2", "uint4",
))  # fmt: skip


def dtype_of(name: Json) -> np.dtype[Any]:
    """Return the dtype of a name.

    Raises
    ------
    ValueError
        For another name, or where ml_dtypes is needed and not installed.
    """
    if name in BUILTIN:
        return np.dtype(str(name))
    if name not in _SMALL:
        raise ValueError(f"there is no dtype {name!r}")
    try:
        import ml_dtypes
    except ImportError:
        raise ValueError(f"dtype {name} needs the package ml_dtypes") from None
    if not hasattr(ml_dtypes, name):
        raise ValueError(f"dtype {name} needs a newer ml_dtypes")
    found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return found


# A transpose of fewer bytes is not looked for.
LEAST_TURNED = 1 << 12


@dataclasses.dataclass(frozen=True)
class Absent:
    """What stands for a function of another package's, which files do not hold."""

    name: str

    def __call__(self, *values: Any) -> Any:
        """Refuse to run.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(f"this file does not hold {self.name}: load the model that it is of")


class Arrays:
    """The arrays that a file holds, each once."""

    def __init__(self) -> None:
        # Those that are stored in a file stay there.
        self.held: list[Array | StoredParameter] = []
        self._by_identity: dict[int, int] = {}
        self._by_content: dict[Any, int] = {}
        self._kept: list[Any] = []
        # Of those held: dtype and shape.
        self._forms: set[tuple[str, tuple[int, ...]]] = set()

    def add(self, array: Any) -> int:
        """Return an array's number.

        Raises
        ------
        ValueError
            For a dtype that files do not hold.
        """
        if id(array) in self._by_identity:
            return self._by_identity[id(array)]
        plain = self._plain(array)
        key = _content(plain)
        number = self._by_content.setdefault(key, len(self.held))
        if number == len(self.held):
            self.held.append(array if isinstance(array, StoredParameter) else plain)
            self._forms.add(key[:2])
        # The array stays, so that no other one is given its identity.
        self._kept.append(array)
        self._by_identity[id(array)] = number
        return number

    def add_weight(self, array: Any) -> Json:
        """Return an array's number, or as ``{"turned": number}`` that of its transpose.

        Weights that two layers share may be read by one of them as they are and by the other
        transposed: the file holds them once.

        Raises
        ------
        ValueError
            As `add` does.
        """
        form = (array.dtype.name, tuple(array.shape[::-1]))
        if array.ndim == 2 and array.nbytes >= LEAST_TURNED and form in self._forms:
            number = self._by_content.get(_content(np.ascontiguousarray(self._plain(array).T)))
            if number is not None and id(array) not in self._by_identity:
                return {"turned": number}
        return self.add(array)

    def _plain(self, array: Any) -> Array:
        plain = values_of(array)
        if plain.dtype.name not in BUILTIN | _SMALL:
            raise ValueError(f"an array of dtype {plain.dtype} cannot be saved")
        return np.asarray(plain.astype(plain.dtype.newbyteorder("="), copy=False), order="C")


def _content(array: Array) -> tuple[str, tuple[int, ...], bytes]:
    """Return what arrays are the same by: dtype, shape, and a digest of a contiguous one's bits."""
    digest = hashlib.blake2b(array.reshape(-1).view(np.uint8).data, digest_size=16).digest()
    return array.dtype.name, array.shape, digest


def encode(value: Any, arrays: Arrays, graph: Callable[[Graph, Arrays], Json]) -> Json:
    """Return an attribute as JSON; ``arrays`` grows by the arrays in it.

    Raises
    ------
    ValueError
        For what cannot be written, such as a function.
    """

    def inner(value: Any) -> Json:
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, Place):
            return {"place": int(value)}
        if isinstance(value, np.ndarray):
            return {"array": arrays.add(value)}
        if isinstance(value, np.generic):
            return {"scalar": arrays.add(np.asarray(value))}
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": str(value)}
        if isinstance(value, complex):
            return {"complex": [inner(value.real), inner(value.imag)]}
        if isinstance(value, tuple):
            return [inner(item) for item in value]
        if isinstance(value, list):
            return {"list": [inner(item) for item in value]}
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {"dict": {key: inner(item) for key, item in value.items()}}
        if isinstance(value, slice):
            return {"slice": [inner(value.start), inner(value.stop), inner(value.step)]}
        if value is Ellipsis:
            return {"ellipsis": True}
        if isinstance(value, OfBatch):
            return {"batch": [value.factor, value.offset]}
        if isinstance(value, Absent):
            return {"absent": value.name}
        if isinstance(value, Way):
            return {"way": {k: inner(v) for k, v in dataclasses.asdict(value).items()}}
        if isinstance(value, Graph):
            return {"graph": graph(value, arrays)}
        if isinstance(value, np.dtype) or (isinstance(value, type) and _is_scalar(value)):
            name = np.dtype(value).name
            if name in BUILTIN | _SMALL:
                return {"dtype": name}
        raise ValueError(f"{type(value).__name__} {value!r} cannot be saved")

    return inner(value)


def decode(tree: Json, arrays: list[Any], graph: Callable[[Json, list[Any]], Graph]) -> Any:
    """Return an attribute that `encode` wrote.

    Raises
    ------
    ValueError
        For anything else.
    """

    def inner(tree: Json) -> Any:
        if isinstance(tree, list):
            return tuple(inner(item) for item in tree)
        if not isinstance(tree, dict):
            return tree
        if len(tree) != 1:
            raise ValueError("a value must have one key")
        ((kind, held),) = tree.items()
        if kind == "dict":
            return {key: inner(item) for key, item in held.items()}
        if kind in ("list", "slice", "complex"):
            parts = [inner(item) for item in held]
            return parts if kind == "list" else _MAKERS[kind](*parts)
        if kind == "way":
            return _way({key: inner(item) for key, item in held.items()})
        if kind == "graph":
            return graph(held, arrays)
        if kind in ("array", "scalar"):
            array = np.asarray(arrays[whole(held, least=0)])
            return array if kind == "array" else array[()]
        if kind not in _MAKERS:
            raise ValueError(f"there is no kind of value {kind!r}")
        return _MAKERS[kind](held)

    return inner(tree)


def whole(value: Json, *, least: int | None = None) -> int:
    """Return a whole number.

    Raises
    ------
    ValueError
        For anything else, or one below ``least``.
    """
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or (least is not None and value < least)
    ):
        raise ValueError(f"{value!r} is not a whole number allowed here")
    return value


def _is_scalar(value: type) -> bool:
    return issubclass(value, np.generic) or value.__name__ in _SMALL


def _way(fields: dict[str, Any]) -> Way:
    way = Way(**fields)
    if any(type(getattr(way, f.name)) is not type(f.default) for f in dataclasses.fields(Way)):
        raise ValueError(f"{fields} is not a way to resize")
    return way


def _named_float(name: Json) -> float:
    if name not in ("inf", "-inf", "nan"):
        raise ValueError(f"there is no number {name!r}")
    return float(name)


_MAKERS: dict[str, Callable[..., Any]] = {
    "absent": lambda held: Absent(str(held)),
    "batch": lambda held: OfBatch(whole(held[0]), whole(held[1])),
    "complex": lambda real, imaginary: complex(real, imaginary),
    "dtype": dtype_of,
    "ellipsis": lambda held: Ellipsis,
    "float": _named_float,
    "place": lambda held: Place(whole(held, least=0)),
    "slice": slice,
}
