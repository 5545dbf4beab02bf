"""Sequences as lists, and optional values as themselves or None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _place(position: Any, length: int) -> int:
    """Return a place in a sequence, from its end where it is negative."""
    given = int(np.asarray(position).reshape(-1)[0])
    if not -length <= given < length:
        raise ValueError(f"there is no place {given} in a sequence of {length}")
    return given % length


def sequence_at(sequence: Any, position: Any) -> Any:
    """Return one element of a sequence."""
    return sequence[_place(position, len(sequence))]


def sequence_insert(sequence: Any, value: Any, position: Any = None) -> Any:
    """Put an element before a place, or at the end."""
    copy = list(sequence)
    given = len(copy) if position is None else int(np.asarray(position).reshape(-1)[0])
    if not -len(copy) <= given <= len(copy):
        raise ValueError(f"there is no place {given} in a sequence of {len(copy)}")
    copy.insert(given, value)
    return copy


def sequence_erase(sequence: Any, position: Any = None) -> Any:
    """Take an element away, the last one where no place is given."""
    copy = list(sequence)
    del copy[len(copy) - 1 if position is None else _place(position, len(copy))]
    return copy


def concat_sequence(sequence: Any, *, axis: int, new_axis: bool) -> Any:
    """Join all elements along an axis that they have, or along a new one."""
    join = np.stack if new_axis else np.concatenate
    return join(sequence, axis=axis)


def split_sequence(value: Any, lengths: Any = None, *, axis: int = 0, keepdims: bool = True) -> Any:
    """Cut along an axis: into single slices, into parts of one length, or of given lengths."""
    source = np.asarray(value)
    size = source.shape[axis]
    if lengths is None:
        parts = np.split(source, size, axis) if size else []
        return parts if keepdims else [np.squeeze(part, axis) for part in parts]
    given = np.asarray(lengths)
    if given.ndim == 0:
        step = int(given)
        if step < 1:
            raise ValueError(f"split takes positive lengths, but got {step}")
        edges = list(range(step, size, step))
    else:
        if int(given.sum()) != size or (given < 0).any():
            raise ValueError(f"split into {given.tolist()} does not add up to a length of {size}")
        edges = np.cumsum(given)[:-1].tolist()
    return np.split(source, edges, axis)


def optional_element(value: Any) -> Any:
    """Return what an optional value holds."""
    if value is None:
        raise ValueError("the optional value holds nothing")
    return value


SEQUENCES: dict[str, Callable[..., Any]] = {
    "concat_sequence": concat_sequence,
    "optional": lambda value=None: value,
    "optional_element": optional_element,
    "optional_has": lambda value=None: np.asarray(value is not None),
    "sequence_at": sequence_at,
    "sequence_erase": sequence_erase,
    "sequence_insert": sequence_insert,
    "sequence_length": lambda sequence: np.asarray(len(sequence), np.int64),
    "sequence_of": lambda *values: list(values),
    "split_sequence": split_sequence,
}
