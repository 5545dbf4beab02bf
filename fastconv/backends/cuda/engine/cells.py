"""Arrays of float32, float16 or bfloat16 whose cells kernels see as float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numba import config

from fastconv.backends.base import Array
from fastconv.backends.cuda.engine.halves import (
    load_first_halves,
    load_half,
    load_halves,
    load_halves_where,
    store_first_halves,
    store_half,
    store_halves,
)
from fastconv.backends.cuda.engine.intrinsics import (
    load4,
    load4_where,
    load_first,
    store4,
    store_first,
)
from fastconv.backends.cuda.engine.kernel import Body

# What a kernel's parameters are annotated with whose elements `of_cells` decides.
Cell: TypeAlias = Any
Other: TypeAlias = Any

_KINDS = {"float16": "f16", "bfloat16": "bf16"}
_ELEMENTS = {"float32": "Float32", "float16": "UInt16", "bfloat16": "UInt16"}
DTYPES = tuple(_ELEMENTS)


@dataclass(frozen=True)
class Access:
    """How kernels come to an array's cells: one, four of an aligned quad, the first of four.

    ``load4_where`` gives zeros where there is no quad.
    """

    load: Callable[..., Any]
    load4: Callable[..., Any]
    load4_where: Callable[..., Any]
    load_first: Callable[..., Any]
    store: Callable[..., None]
    store4: Callable[..., None]
    store_first: Callable[..., None]


if config.ENABLE_CUDASIM:

    def _load(source: Any, index: Any) -> Any:
        return source[index]

    def _store(target: Any, index: Any, value: Any) -> None:
        target[index] = value

else:
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def _load(typingctx: Any, source: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(builder.gep(args[0], [args[1]]))

        return source.dtype(source, index), codegen

    @intrinsic
    def _store(typingctx: Any, target: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store(args[2], builder.gep(args[0], [args[1]]))
            return context.get_dummy_value()

        return types.void(target, index, target.dtype), codegen


_FLOATS = Access(_load, load4, load4_where, load_first, _store, store4, store_first)
_ACCESS = {"float32": _FLOATS} | {
    name: Access(
        load_half(kind), load_halves(kind), load_halves_where(kind), load_first_halves(kind),
        store_half(kind), store_halves(kind), store_first_halves(kind),
    )
    for name, kind in _KINDS.items()
}  # fmt: skip


def access(dtype: str) -> Access:
    """Return how kernels come to the cells of a dtype, of `DTYPES`."""
    return _ACCESS[dtype]


def of_cells(body: Body, dtype: str, other: str = "float32") -> Body:
    """Return a kernel's function with parameters as addresses of elements of a dtype.

    Those annotated ``Cell`` are of ``dtype``, those annotated ``Other`` of ``other``.
    """
    names = {"Cell": _ELEMENTS[dtype], "Other": _ELEMENTS[other]}
    told = body.__annotations__
    body.__annotations__ = {k: names.get(v, v) for k, v in told.items()}
    return body


def as_floats(parameter: Array, dtype: np.dtype[Any]) -> Array:
    """Return a parameter as kernels for images of ``dtype`` want it: in float32.

    That of a float32 image is left as it is: it may stand for places that are packed on the GPU.
    """
    return parameter if dtype.name == "float32" else parameter.astype(np.float32)
