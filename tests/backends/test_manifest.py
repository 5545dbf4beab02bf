"""The declarations of kernels: packing, the digest, and that every row has its halves."""

from __future__ import annotations

import importlib
import struct
from typing import Any

import pytest

from fastconv.backends import c
from fastconv.backends.manifest import MANIFEST, RECORDS, records_of
from fastconv.backends.manifest.elements import Elementwise
from fastconv.backends.manifest.moves import Permute
from fastconv.backends.manifest.products import Gemm, Im2col
from fastconv.backends.manifest.schema import (
    Args,
    Kernel,
    digest_of,
    dtype,
    fields_of,
    replaced,
    size_of,
    struct_name,
    symbol_of,
)
from fastconv.machine import available_isas

ELEMENTWISE: dict[str, Any] = {"source": 1, "target": 2, "count": 3, "first": 0.5, "second": -1.0}


def declared(doc: str, *fields: str) -> type[Args]:
    """Declare an argument block whose fields are ints."""
    own = {"__doc__": doc, "__annotations__": dict.fromkeys(fields, "Int")}
    return type("Declared", (Args,), own)


def test_packing_keeps_the_declared_order_and_the_bits_of_floats() -> None:
    block = Elementwise(**dict(reversed(ELEMENTWISE.items())))
    words = struct.unpack("<3q2d", struct.pack("<5q", *block))
    assert words == (1, 2, 3, 0.5, -1.0)
    assert len(block) == size_of(Elementwise) == 5
    assert block.count == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": None}, "lacks count"),
        ({"length": 3}, "has no field length"),
        ({"count": None, "length": 3}, "lacks count and has no field length"),
    ],
)
def test_packing_missing_or_unknown_fields_raises(change: dict[str, Any], message: str) -> None:
    fields = {name: v for name, v in (ELEMENTWISE | change).items() if v is not None}
    with pytest.raises(TypeError, match=message):
        Elementwise(**fields)


def test_packing_tables_of_another_length_raises() -> None:
    block = Permute(source=1, target=2, lengths=range(5), steps=range(6))
    assert list(block) == [1, 2, *range(5), *range(6)]
    assert block.steps == tuple(range(6))
    with pytest.raises(TypeError, match="lengths has 5 words, not 4"):
        Permute(source=1, target=2, lengths=range(4), steps=range(6))


def test_replaced_changes_only_the_named_fields() -> None:
    block = Elementwise(**ELEMENTWISE)
    assert list(replaced(block, count=9)) == list(Elementwise(**ELEMENTWISE | {"count": 9}))
    with pytest.raises(TypeError, match="has no field length"):
        replaced(block, length=9)


def test_derived_block_begins_with_its_base() -> None:
    assert fields_of(Im2col)[: len(fields_of(Gemm))] == fields_of(Gemm)


@pytest.mark.parametrize(
    ("block", "same"),
    [
        (declared("Another text.", "a", "b"), True),
        (declared("A text.", "b", "a"), False),
        (declared("A text.", "a", "b", "c"), False),
        (declared("A text.", "a"), False),
    ],
)
def test_digest_depends_on_fields_and_not_on_text(block: type[Args], same: bool) -> None:
    def digest(args: type[Args]) -> str:
        return digest_of((Kernel("a", args, None, "a.h"),), ())

    assert (digest(block) == digest(declared("A text.", "a", "b"))) == same


def missing(kernel: Kernel) -> list[str]:
    """Return what a row promises and is missing."""
    names = {field.name for field in fields_of(kernel.args)}
    found = [f"no field {name}" for name in kernel.reads if name not in names]
    if kernel.numba is None and kernel.c is None:
        found.append("neither Numba nor C")
    if kernel.numba is not None and importlib.util.find_spec("numba") is not None:
        module, _, function = kernel.numba.partition(":")
        try:
            family = getattr(importlib.import_module(f"fastconv.backends.numba.{module}"), function)
        except (ImportError, AttributeError) as error:
            found.append(f"Numba: {error}")
        else:
            # What chooses between families has none of its own.
            if getattr(family, "args", kernel.args) is not kernel.args:
                found.append(f"Numba: {function} reads {family.args.__name__}")
    if kernel.c is not None and c.why_not() is None:
        lib = importlib.import_module("fastconv.backends.c._native").lib
        for isa in set(kernel.isas) & set(available_isas()):
            for function, element in kernel.functions(isa):
                symbol = symbol_of(function, element, isa if kernel.each_isa else None)
                if lib.fastconv_find(symbol.encode()) == 0:
                    found.append(f"C: no {symbol}")
    return found


def test_records_have_names_of_their_own() -> None:
    records = records_of(tuple(MANIFEST.values()), RECORDS)
    assert len({struct_name(record) for record in records}) == len(records)


@pytest.mark.parametrize("kernel", MANIFEST.values(), ids=lambda kernel: kernel.name)
def test_manifest_row_has_the_halves_that_it_names(kernel: Kernel) -> None:
    assert missing(kernel) == []


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs Numba")
@pytest.mark.skipif(c.why_not() is not None, reason="needs the extension")
@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (Kernel("a", Gemm, None, None), "neither Numba nor C"),
        (Kernel("a", Gemm, "gemm:absent", None), "absent"),
        (Kernel("a", Gemm, "softmax:softmax_rows", None), "softmax_rows reads SoftmaxRows"),
        (Kernel("absent", Gemm, None, "gemm.h", (dtype("float32"),)), "no absent_float32_"),
        (Kernel("gemm", Gemm, "gemm:gemm", None, (), ("height",)), "no field height"),
    ],
)
def test_manifest_row_without_a_half_is_reported(kernel: Kernel, message: str) -> None:
    assert any(message in reason for reason in missing(kernel))


@pytest.mark.skipif(c.why_not() is not None, reason="needs the extension")
def test_c_library_has_exactly_the_declared_constants() -> None:
    from fastconv.backends.c import library

    assert library.has("softmax.rows", "float32", True)
    assert not library.has("softmax.rows", "float16", True)
    assert not library.has("softmax.rows", "float32")
    assert not library.has("cast.convert", "float32", "float64")
