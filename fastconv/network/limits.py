"""How much memory the values of a graph may take: told before anything is allocated."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv import settings
from fastconv.dispatch.stored import is_array
from fastconv.network.trace import Field, Trace, Traced

_limit: contextvars.ContextVar[int | None] = contextvars.ContextVar("limit", default=None)
# Arrays up to this size stay what they are when a node is tried on shapes: they may be shapes.
SMALL = 64


class TooLarge(ValueError):
    """A value that would not fit."""


@contextlib.contextmanager
def memory_limit(limit: int | None) -> Iterator[None]:
    """Let values take at most ``limit`` bytes; None: what is in force already.

    Where nothing is, that is the memory that this process may use.
    """
    token = _limit.set(_limit.get() if limit is None else limit)
    try:
        yield
    finally:
        _limit.reset(token)


def allow(shape: Iterable[Any], dtype: Any, held: int = 0, what: str = "a value") -> int:
    """Return the bytes of an array, or refuse one that passes the limit.

    Raises
    ------
    TooLarge
        Where those bytes and the ``held`` ones are above the limit in force; without one, above
        the memory that this process may use.
    ValueError
        For a negative length.
    """
    lengths = [int(n) for n in shape]
    if any(n < 0 for n in lengths):
        raise ValueError(f"{what} of shape {lengths} has a negative dimension")
    size = prod(lengths) * np.dtype(dtype).itemsize
    limit = _limit.get()
    if limit is None:
        limit = settings.memory_allowed()
    if size + held > limit:
        raise TooLarge(
            f"{what} of shape {lengths} and dtype {np.dtype(dtype).name} takes {size:,} bytes, "
            f"which with the {held:,} held is more than max_memory, {limit:,}"
        )
    return int(size)


def owned(values: Iterable[Any]) -> int:
    """Return the bytes of those arrays, in sequences too, that are not views of others."""
    total = 0
    for value in values:
        if isinstance(value, np.ndarray):
            total += value.nbytes if value.base is None else 0
        elif isinstance(value, list):
            total += owned(value)
    return total


def signature(arguments: Sequence[Any]) -> tuple[Any, ...] | None:
    """Return what the sizes of a node's results follow from; None where that is not known."""
    parts: list[Any] = []
    for value in arguments:
        if value is None:
            parts.append(None)
        elif is_array(value) or isinstance(value, np.generic):
            data = value.tobytes() if _is_small(value) else None
            parts.append((value.shape, value.dtype, data))
        else:
            return None
    return tuple(parts)


def _is_small(value: Any) -> bool:
    return value.dtype.kind in "iufb" and value.size <= SMALL


def try_on_shapes(function: Any, arguments: Sequence[Any], attributes: Any, held: int) -> None:
    """Call an operation on traced values, and refuse what it would allocate beyond the limit.

    What cannot be traced is let through: its own functions ask `allow`.
    """
    traced = Trace(())
    values = [
        # The first argument is what an operation is about: never a shape that it is to have.
        v
        if v is None or (i > 0 and _is_small(v))
        else Traced(traced, v.shape, v.dtype, Field((1,) * max(0, v.ndim - 2), (1,)))
        for i, v in enumerate(arguments)
    ]
    if not any(isinstance(v, Traced) for v in values):
        return
    try:
        results = function(*values, **attributes)
    except TooLarge:
        raise
    except Exception:  # the operation itself says it better
        return
    several = results if isinstance(results, tuple) else (results,)
    for value in several:
        if isinstance(value, Traced):
            allow(value.shape, value.dtype, held)
    widest = max(v.dtype.itemsize for v in values if isinstance(v, Traced))
    for step in traced.steps:
        allow(step.output_shape, f"V{widest}", held)
