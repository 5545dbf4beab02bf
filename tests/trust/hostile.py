"""Values that no argument should have, and values that some may: each with a name to find it by."""

from __future__ import annotations

import collections
import decimal
import fractions
import itertools
import types
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


class Liar:
    """An array, by what it says of itself."""

    shape = (2, 4, 9, 9)
    ndim = 4
    dtype = np.dtype("f4")


class Huge:
    """A sequence that says it is long."""

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, item: int) -> int:
        if item > 5:
            raise IndexError(item)
        return 1


class Indexed:
    """An int by ``__index__``."""

    def __index__(self) -> int:
        return 3


def _own() -> list[Any]:
    own: list[Any] = []
    own.append(own)
    return own


def _deep(levels: int = 200) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _structured() -> Any:
    return np.zeros((2, 4, 9, 9), [("a", "f4"), ("b", "i4")])


def _ones(*shape: int, dtype: Any = "f4") -> Any:
    return np.ones(shape, dtype)


# Wrong wherever they are, but for the few parameters that take anything.
NAMED: dict[str, Callable[[], Any]] = {
    "None": lambda: None, "True": lambda: True, "False": lambda: False,
    "np.True_": lambda: np.True_,
    **{str(n): lambda n=n: n for n in (0, -1, 1, 2, 3, 4, 5, 7, 9, 17, 1000)},
    **{f"2**{n}": lambda n=n: 2**n for n in (15, 31, 32, 40, 62, 63, 64)},
    "-2**31": lambda: -(2**31), "-2**63": lambda: -(2**63), "-2**70": lambda: -(2**70),
    "10**400": lambda: 10**400, "-10**400": lambda: -(10**400),
    "0.5": lambda: 0.5, "2.0": lambda: 2.0, "-1.5": lambda: -1.5, "1e308": lambda: 1e308,
    "1e-320": lambda: 1e-320, "nan": lambda: float("nan"), "inf": lambda: float("inf"),
    "-inf": lambda: float("-inf"), "1j": lambda: 1j,
    "Decimal": lambda: decimal.Decimal("1.5"), "Decimal sNaN": lambda: decimal.Decimal("sNaN"),
    "Fraction": lambda: fractions.Fraction(3, 2),
    "np.int8(2)": lambda: np.int8(2), "np.uint64 max": lambda: np.uint64(2**64 - 1),
    "np.float32(2)": lambda: np.float32(2), "np.longdouble": lambda: np.longdouble(2),
    "bfloat16(2)": lambda: ml_dtypes.bfloat16(2),
    "0-d int": lambda: np.array(2), "0-d float": lambda: np.array(1.5),
    "[2] array": lambda: np.array([2]), "[1.5] array": lambda: np.array([1.5]),
    "empty text": lambda: "", "text": lambda: "abc", "number text": lambda: "3",
    "nul text": lambda: "\0", "surrogate text": lambda: "\ud800", "long text": lambda: "x" * 10**5,
    "same": lambda: "same", "valid": lambda: "valid", "causal": lambda: "causal",
    "NHWC": lambda: "NHWC", "relu": lambda: "relu", "float32": lambda: "float32",
    "bytes": lambda: b"abc", "bytearray": lambda: bytearray(b"\x01\x02"),
    "[]": lambda: [], "()": lambda: (), "[[]]": lambda: [[]], "{}": lambda: {},
    "set": lambda: {1, 2}, "frozenset": lambda: frozenset({3}), "dict": lambda: {"a": 1},
    "dict of ints": lambda: {1: 1, 2: 2}, "dict keys": lambda: {3: 1}.keys(),
    "deque": lambda: collections.deque([1, 2]), "counter": collections.Counter,
    "(1,)": lambda: (1,), "(1, 2)": lambda: (1, 2), "(2, -1)": lambda: (2, -1),
    "(0, 0)": lambda: (0, 0), "(1, 1, 1)": lambda: (1, 1, 1), "(3,) * 4": lambda: (3,) * 4,
    "(3,) * 6": lambda: (3,) * 6, "(3,) * 70": lambda: (3,) * 70,
    "(2**40, 2**40)": lambda: (2**40, 2**40), "(None, None)": lambda: (None, None),
    "(None, 3)": lambda: (None, 3), "(1.5, 2)": lambda: (1.5, 2), "(True, 1)": lambda: (True, 1),
    "text pair": lambda: ("a", "b"), "('relu', 1)": lambda: ("relu", 1),
    "('leaky_relu', nan)": lambda: ("leaky_relu", float("nan")),
    "('leaky_relu', None)": lambda: ("leaky_relu", None), "(relu,)": lambda: ("relu",),
    "((1, 1), (1, 1))": lambda: ((1, 1), (1, 1)), "((1, -1), (0, 0))": lambda: ((1, -1), (0, 0)),
    "((1, 2, 3), (1, 2))": lambda: ((1, 2, 3), (1, 2)), "ragged": lambda: [[1, 2], [3]],
    "nested": lambda: [[1, [2]], 3], "nested list": lambda: np.ones((2, 4, 9, 9)).tolist(),
    "list of arrays": lambda: [np.ones(3, "f4"), np.ones(3, "f4")],
    "deep list": _deep, "deeper list": lambda: _deep(5000), "list of itself": _own,
    "range": lambda: range(3), "range(1)": lambda: range(2, 3), "long range": lambda: range(2**40),
    "generator": lambda: (i for i in (1, 2)), "endless": lambda: itertools.count(1),
    "endless ones": lambda: itertools.repeat(1), "iterator": lambda: iter([1, 2]),
    "map": lambda: map(int, "12"),
    "object": object, "class": lambda: dict, "function": lambda: len, "lambda": lambda: lambda x: x,
    "module": lambda: types, "error": lambda: ValueError("x"), "Ellipsis": lambda: ...,
    "NotImplemented": lambda: NotImplemented, "slice": lambda: slice(1, 2),
    "np.float32 class": lambda: np.float32, "dtype": lambda: np.dtype("f4"),
    "says it is an array": Liar, "says it is long": Huge, "an index": Indexed,
    "memoryview": lambda: memoryview(b"abcd"), "datetime64": lambda: np.datetime64("2026-01-01"),
}  # fmt: skip

DTYPES = ("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "g", "F", "D",
          "G", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4)  # fmt: skip
SHAPES = ((), (0,), (1,), (4,), (9,), (2, 4), (4, 9), (0, 4, 9), (2, 4, 9), (2, 0, 9), (2, 4, 0),
          (2, 4, 9, 9), (0, 4, 9, 9), (2, 0, 9, 9), (2, 4, 0, 9), (2, 5, 9, 9), (1, 1, 1, 1),
          (2, 4, 9, 9, 9), (2, 4, 9, 9, 0), (1,) * 8, (1,) * 32)  # fmt: skip

ARRAYS: dict[str, Callable[[], Any]] = {
    **{f"ones of {np.dtype(d).name}": lambda d=d: _ones(2, 4, 9, 9, dtype=d) for d in DTYPES},
    **{f"ones {list(s)}": lambda s=s: _ones(*s) for s in SHAPES},
    "objects": lambda: np.array([{}, None], object), "texts": lambda: np.array(["a", "b"]),
    "bytes array": lambda: np.array([b"a"]), "times": lambda: np.zeros((2, 4, 9, 9), "M8[s]"),
    "spans": lambda: np.zeros((2, 4, 9, 9), "m8[s]"), "structured": _structured,
    "void": lambda: np.zeros((2, 4), "V4"),
    "nans": lambda: np.full((2, 4, 9, 9), np.nan, "f4"),
    "infinities": lambda: np.full((2, 4, 9, 9), np.inf, "f4"),
    "largest": lambda: np.full((2, 4, 9, 9), np.finfo("f4").max, "f4"),
    "subnormals": lambda: np.full((2, 4, 9, 9), 1e-42, "f4"),
    "turned": lambda: _ones(9, 9, 4, 2).T, "backwards": lambda: _ones(2, 4, 9, 9)[:, ::-1, ::-1],
    "strided": lambda: _ones(4, 8, 18, 18)[::2, ::2, ::2, ::2],
    "swapped": lambda: _ones(2, 4, 9, 9, dtype=">f4"),
    "unaligned": lambda: np.frombuffer(bytes(1 + 4 * 648), "f4", 648, 1).reshape(2, 4, 9, 9),
    "one cell spread": lambda: np.broadcast_to(np.float32(1), (2, 4, 9, 9)),
    "matrix": lambda: _ones(4, 9).view(np.matrix),
    "masked": lambda: np.ma.masked_equal(_ones(2, 4, 9, 9), 1),
    "records": lambda: _ones(2, 4, 9, 9).view(np.recarray),
}  # fmt: skip


def named(table: dict[str, Callable[[], Any]]) -> st.SearchStrategy[tuple[str, Any]]:
    """Draw from a table, made again each time: a generator is used up by its first reader."""
    return st.sampled_from(sorted(table)).map(lambda name: (name, table[name]()))


def shown(value: Any) -> tuple[str, Any]:
    """Return a value with its repr as its name."""
    text = repr(value) if not isinstance(value, np.ndarray) else f"{value.dtype}{value.shape}"
    return text[:200], value


_scalars = st.none() | st.booleans() | st.integers() | st.integers(-3, 20) | st.floats() | st.text()
_trees = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner), max_leaves=8
)
_arrays = hnp.arrays(
    dtype=st.sampled_from(["f4", "f8", "f2", "i8", "u1", "?", "F"]),
    shape=hnp.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=9),
    fill=st.just(1),
    elements=st.just(1),
)
ANYTHING: st.SearchStrategy[tuple[str, Any]] = st.one_of(
    named(NAMED), named(ARRAYS), _trees.map(shown), _arrays.map(shown)
)
