"""Operations of graphs that were recorded from a module: calls as it made them.

A file may name such a call. What it can name is listed here, and the functional API's own names;
nothing else is looked up.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.network import shapes
from fastconv.network.casting import as_type
from fastconv.network.limits import allow
from fastconv.network.products import matmul
from fastconv.network.template import filled
from fastconv.network.trace import Traced

_UFUNCS = {
    name: value
    for name, value in vars(np).items()
    if isinstance(value, np.ufunc) and value.nout == 1 and value.__name__ == name
}
FUNCTIONAL = frozenset(vars(functional)["__all__"])
NUMPY: dict[str, Callable[..., Any]] = {
    **_UFUNCS,
    **{name: getattr(np, name) for name in shapes.RULES},
    "getitem": operator.getitem,
    # By kernels: NumPy's BLAS has threads of its own.
    "matmul": matmul,
    "astype": as_type,
}


def numpy_call(
    *values: Any, function: str, arguments: tuple[Any, ...], options: Mapping[str, Any],
    batched: bool = False,
) -> Any:  # fmt: skip
    """Call a function of NumPy's; where numbers depend on the batch, that is the last value."""
    if function not in NUMPY:
        raise ValueError(f"numpy.{function} is not for networks")
    arrays, batch = _cut(values, batched)
    plain = [np.asarray(v) if isinstance(v, np.ndarray) else v for v in arrays]
    given = filled(tuple(arguments), plain, batch)
    named = filled(dict(options), plain, batch)
    if function in shapes.RULES and not any(isinstance(v, Traced) for v in plain):
        spec = shapes.RULES[function](*given, **named)
        for shape, dtype in spec if isinstance(spec, list) else [spec]:
            allow(shape, dtype)
    result = NUMPY[function](*given, **named)
    return tuple(result) if isinstance(result, list) else result


def functional_call(
    *values: Any, function: str, arrays: Sequence[str], options: Mapping[str, Any],
    batched: bool = False,
) -> Any:  # fmt: skip
    """Call a function of the functional API: ``arrays`` names the values' arguments."""
    if function not in FUNCTIONAL or "out" in (*arrays, *options):
        raise ValueError(f"fastconv.functional has no function {function!r} for networks")
    given, batch = _cut(values, batched)
    named = dict(zip(arrays, given, strict=True))
    return getattr(functional, function)(**named, **filled(dict(options), given, batch))


def _cut(values: tuple[Any, ...], batched: bool) -> tuple[tuple[Any, ...], int]:
    if not batched:
        return values, 0
    *given, batch = values
    return tuple(given), int(np.asarray(batch).reshape(-1)[0])


RECORDED: dict[str, Callable[..., Any]] = {"functional": functional_call, "numpy": numpy_call}
