"""Argument blocks and other records in Numba's kernels: ``args.rows`` is the field of that name.

A record is a pointer to int64 whose type knows the declaration, so that a field's place is a
constant of the compiled code. An int and an address are int64, a float is float64, and a field of
several words is a pointer to them: ``args.lengths[2]``.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.core.imputils import lower_setattr_generic
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    register_model,
)

from fastconv.backends.manifest.schema import Field, Record, fields_of


class Block(types.CPointer):
    """A pointer to the words of a record."""

    def __init__(self, record: type[Record]) -> None:
        super().__init__(types.int64)
        self.name = f"{record.__name__}*"
        self.fields = {field.name: field for field in fields_of(record)}

    @property
    def key(self) -> str:
        # Not that of any pointer to int64.
        return self.name


register_model(Block)(models.PointerModel)


def _type_of(block: Block, name: str) -> Any:
    field = block.fields.get(name)
    if field is None:
        return None
    if field.words != 1:
        return types.CPointer(types.int64)
    return types.float64 if field.kind == "Float" else types.int64


@infer_getattr
class _BlockTemplate(AttributeTemplate):
    key = Block

    def generic_resolve(self, block: Block, name: str) -> Any:
        return _type_of(block, name)


@lower_getattr_generic(Block)
def _read(context: Any, builder: Any, block: Block, value: Any, name: str) -> Any:
    field = block.fields[name]
    place = _place(builder, value, field)
    if field.words != 1:
        return place
    word = builder.load(place)
    return builder.bitcast(word, ir.DoubleType()) if field.kind == "Float" else word


@lower_setattr_generic(Block)
def _write(context: Any, builder: Any, signature: Any, values: Any, name: str) -> None:
    field = signature.args[0].fields[name]
    builder.store(builder.bitcast(values[1], ir.IntType(64)), _place(builder, values[0], field))


def _place(builder: Any, block: Any, field: Field) -> Any:
    return builder.gep(block, [ir.Constant(ir.IntType(64), field.place)])


def record_at(record: type[Record]) -> Any:
    """Make the function that reads and writes a record at an address."""

    @intrinsic
    def at(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.inttoptr(values[0], ir.IntType(64).as_pointer())

        return Block(record)(types.int64), codegen

    return at
