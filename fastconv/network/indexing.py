"""Operations that pick, place and order elements, with ONNX's meanings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv.dispatch import solve
from fastconv.network.casting import as_type, as_type_into
from fastconv.network.limits import allow
from fastconv.network.trace import Traced
from fastconv.problem import TopKProblem
from fastconv.problem.values import SIXTEEN, axis_of


def told_beforehand(
    function: Callable[..., Any], specs: Sequence[tuple[Any, Any]], *values: Any
) -> Any:
    """Call a function; a trace takes its results' shapes and dtypes, which are known beforehand."""
    traced = next((value for value in values if isinstance(value, Traced)), None)
    if traced is None:
        return function(*map(np.asarray, values))
    results = traced.answer(function, values, specs)
    return results if len(specs) > 1 else results[0]


def gather(value: Any, indices: Any, axis: int = 0) -> Any:
    """Take entries along an axis; negative places count from its end."""
    axis = axis_of(axis, len(value.shape), "axis")
    if isinstance(indices, Traced):
        shape = (*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :])
        allow(shape, value.dtype)
        return told_beforehand(_Gather(axis), [(shape, value.dtype)], value, indices)
    places = np.asarray(indices)
    allow((*value.shape[:axis], *places.shape, *value.shape[axis + 1 :]), value.dtype)
    # One entry is a view.
    place = int(places) if places.ndim == 0 else places
    return value[(slice(None),) * axis + (place,)]


class _Gather:
    """Entries along an axis at places that are known when it runs."""

    __name__ = "gather"

    def __init__(self, axis: int) -> None:
        self._axis = axis

    def __call__(self, value: Any, places: Any) -> Any:
        source = np.asarray(value)
        return source[(slice(None),) * self._axis + (np.asarray(places),)]

    def into(self, out: Any, value: Any, places: Any) -> None:
        """Write them into an array; no place is looked at twice."""
        source = np.asarray(value)
        length = source.shape[self._axis]
        if places.size and not (-length <= places.min() and places.max() < length):
            raise IndexError(
                f"indices {places.min()} to {places.max()} are out of bounds for axis "
                f"{self._axis} with size {length}"
            )
        wrapped = np.where(places < 0, places + length, places)
        np.take(source, wrapped, axis=self._axis, out=out, mode="clip")


def gather_elements(value: Any, indices: Any, *, axis: int) -> Any:
    """Take one entry along an axis for each index."""
    rank = len(value.shape)
    if len(indices.shape) != rank:
        raise ValueError(f"indices of {len(indices.shape)} dimensions for data of {rank}")
    gather = _GatherElements(axis_of(axis, max(1, rank), "axis"))
    return told_beforehand(gather, [(indices.shape, value.dtype)], value, indices)


class _GatherElements:
    """One entry along an axis for each index; the others' places are worked out once a shape."""

    __name__ = "gather_elements"

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self._known: tuple[Any, Any] = (None, None)

    def __call__(self, value: Any, places: Any) -> Any:
        if 0 in value.shape or value.ndim == 0 or places.dtype.kind not in "iu":
            return value[_element_key(places, self._axis, value.ndim)]
        out = np.empty(places.shape, value.dtype)
        self.into(out, value, places)
        return out

    def into(self, out: Any, value: Any, places: Any) -> None:
        """Write them into an array: by one place in memory each."""
        axis, length = self._axis, value.shape[self._axis]
        key = value.shape, places.shape
        shapes, origins = self._known
        if shapes != key:
            fits = all(
                n <= m
                for i, (n, m) in enumerate(zip(places.shape, value.shape, strict=True))
                if i != axis
            )
            if not fits:
                raise IndexError(f"indices of {places.shape} are out of bounds for {value.shape}")
            steps = [prod(value.shape[i + 1 :]) * (i != axis) for i in range(value.ndim)]
            rows = np.ogrid[tuple(slice(n) for n in places.shape)]
            origins = sum(row * step for row, step in zip(rows, steps, strict=True))
            self._known = key, origins
        low, high = (places.min(), places.max()) if places.size else (0, 0)
        if low < -length or high >= length:
            raise IndexError(
                f"indices {low} to {high} are out of bounds for axis {axis} with size {length}"
            )
        wrapped = np.where(places < 0, places + length, places) if low < 0 else places
        step = prod(value.shape[axis + 1 :])
        flat = wrapped.astype(np.int64, copy=False) * step + origins
        np.take(np.reshape(value, -1), flat, out=out, mode="clip")


def _element_key(indices: Any, axis: int, rank: int) -> tuple[Any, ...]:
    """Return the key of the cells that ``indices`` name along an axis, at their own places else."""
    if indices.ndim != rank:
        raise ValueError(f"indices of {indices.ndim} dimensions for data of {rank}")
    key: list[Any] = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
    key[axis] = indices
    return tuple(key)


def gather_nd(value: Any, indices: Any, *, batch_dims: int = 0) -> Any:
    """Take the slices that the last dimension of ``indices`` names."""
    places, source = np.asarray(indices), np.asarray(value)
    lead = np.ogrid[tuple(slice(n) for n in places.shape[:batch_dims])] if batch_dims else []
    extra = places.ndim - 1 - batch_dims
    batch = tuple(axis.reshape(axis.shape + (1,) * extra) for axis in lead)
    return source[(*batch, *np.moveaxis(places, -1, 0))]


_COMBINE: dict[str, Any] = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def _put(target: Any, key: Any, updates: Any, reduction: str) -> Any:
    """Write updates into ``target``; repeated places are combined one after the other."""
    if reduction == "none":
        target[key] = updates
    else:
        _COMBINE[reduction].at(target, key, updates)
    return target


def scatter_elements(
    value: Any, indices: Any, updates: Any, *, axis: int = 0, reduction: str = "none"
) -> Any:
    """Put one update along an axis for each index into a copy."""
    key = _element_key(np.asarray(indices), axis, len(value.shape))
    return _put(np.array(value), key, np.asarray(updates), reduction)


def scatter_nd(value: Any, indices: Any, updates: Any, *, reduction: str = "none") -> Any:
    """Put slices where the last dimension of ``indices`` says, into a copy."""
    key = tuple(np.moveaxis(np.asarray(indices), -1, 0))
    return _put(np.array(value), key, np.asarray(updates), reduction)


def one_hot(indices: Any, depth: Any, values: Any, *, axis: int = -1) -> Any:
    """Return vectors that hold ``values[1]`` at the index and ``values[0]`` elsewhere."""
    count = int(np.asarray(depth).reshape(-1)[0])
    off, on = np.asarray(values)
    allow((*indices.shape, count), np.asarray(values).dtype)
    places = np.asarray(indices).astype(np.int64)
    inside = (places >= -count) & (places < count)
    hit = (places % max(count, 1))[..., None] == np.arange(count)
    found = np.where(hit & inside[..., None], on, off)
    return np.moveaxis(found, -1, axis)


def top_k(
    value: Any, k: Any, *, axis: int = -1, largest: bool = True, ordered: bool = True
) -> tuple[Any, Any]:
    """Return the k largest or smallest entries along an axis, and their places; first ones win."""
    count = int(np.asarray(k).reshape(-1)[0])
    shape = list(value.shape)
    length, shape[axis] = shape[axis], count
    if not 0 <= count <= length:
        raise ValueError(f"selected index k out of range: {count} of {length} entries")

    if value.dtype.name in ("float32", "float64"):
        problem = TopKProblem.of(value, count, axis=axis, largest=largest, ordered=ordered)
        chosen: tuple[Any, Any] = solve(problem, (value,))
        return chosen

    def top_k(source: Any) -> tuple[Any, Any]:
        if largest:
            backwards = np.argsort(np.flip(source, axis), axis=axis, kind="stable")
            order = length - 1 - np.flip(backwards, axis)
        else:
            order = np.argsort(source, axis=axis, kind="stable")
        best = np.take(order, np.arange(count), axis=axis)
        if not ordered:
            best = np.sort(best, axis=axis)
        return np.take_along_axis(source, best, axis), best.astype(np.int64)

    told: tuple[Any, Any] = told_beforehand(top_k, [(shape, value.dtype), (shape, np.int64)], value)
    return told


def arg_extreme(
    value: Any, *, axis: int = 0, largest: bool = True, keepdims: bool = True, last: bool = False
) -> Any:
    """Return the index of the first or last of the largest or smallest entries along an axis."""
    function = np.argmax if largest else np.argmin

    def arg_extreme(source: Any) -> Any:
        if not last:
            return function(source, axis=axis, keepdims=keepdims)
        backwards = function(np.flip(source, axis), axis=axis, keepdims=keepdims)
        return source.shape[axis] - 1 - backwards

    shape = list(value.shape)
    shape[axis : axis + 1 or None] = [1] if keepdims else []
    return told_beforehand(arg_extreme, [(shape, np.int64)], value)


def cumulate(
    value: Any, axis: Any, *, product: bool = False, exclusive: bool = False, reverse: bool = False
) -> Any:
    """Return running sums or products along an axis."""
    place = int(np.asarray(axis).reshape(-1)[0])
    running = _Running(
        axis_of(place, max(1, len(value.shape)), "axis"), product, exclusive, reverse
    )
    return told_beforehand(running, [(value.shape, value.dtype)], value)


class _Running:
    """Running sums or products along an axis."""

    __name__ = "cumulate"

    def __init__(self, axis: int, product: bool, exclusive: bool, reverse: bool) -> None:
        self._axis, self._first = axis, 1 if product else 0
        self._exclusive, self._reverse = exclusive, reverse
        self._function: Any = np.multiply if product else np.add

    def __call__(self, value: Any) -> Any:
        out = np.empty(value.shape, value.dtype)
        self.into(out, value)
        return out

    def into(self, out: Any, value: Any) -> None:
        """Write them into an array."""
        if value.dtype.name in SIXTEEN:
            wide = np.empty(value.shape, np.float32)
            self.into(wide, as_type(value, np.float32))
            as_type_into(out, wide, out.dtype)
            return
        if value.ndim == 0:
            out[...] = self._first if self._exclusive else value
            return
        source, target = (np.moveaxis(v, self._axis, 0) for v in (value, out))
        if self._reverse:
            source, target = source[::-1], target[::-1]
        if self._exclusive and len(target):
            target[0] = self._first
            source, target = source[:-1], target[1:]
        after = prod(value.shape[self._axis + 1 :])
        if after < _LONG or not len(target):
            self._function.accumulate(source, axis=0, dtype=value.dtype, out=target)
            return
        # Slice by slice: NumPy goes along the axis instead, a cell at a time.
        target[0] = source[0]
        function = self._function
        for before, added, to in zip(target[:-1], source[1:], target[1:], strict=True):
            function(before, added, to)


# Cells after an axis from which on a call for each of its slices is worth it.
_LONG = 256


def compress(value: Any, condition: Any, *, axis: int | None = None) -> Any:
    """Keep the entries along an axis (None: of all, in order) where the condition holds."""
    return np.compress(np.asarray(condition), np.asarray(value), axis=axis)


def non_zero(value: Any) -> Any:
    """Return the places of what is not zero, a column each."""
    source = np.asarray(value)
    return np.stack(np.nonzero(source.reshape(source.shape or (1,)))).astype(np.int64)


def trilu(value: Any, k: Any = None, *, upper: bool = True) -> Any:
    """Keep the upper or lower triangle of matrices from the k-th diagonal on."""
    shift = 0 if k is None else int(np.asarray(k).reshape(-1)[0])
    rows, columns = value.shape[-2:]
    if 0 in value.shape:
        return value
    triangle = _Triangle(min(max(shift, -rows), columns), upper)
    return told_beforehand(triangle, [(value.shape, value.dtype)], value)


class _Triangle:
    """The triangle of matrices from a diagonal on, zeros elsewhere."""

    __name__ = "trilu"

    def __init__(self, shift: int, upper: bool) -> None:
        self._shift, self._upper = shift, upper

    def __call__(self, value: Any) -> Any:
        out = np.empty(value.shape, value.dtype)
        self.into(out, value)
        return out

    def into(self, out: Any, value: Any) -> None:
        """Write it into an array: all of it, then zeros row by row, which is faster than a mask."""
        out[...] = value
        columns = value.shape[-1]
        for row in range(value.shape[-2]):
            place = min(max(row + self._shift + (not self._upper), 0), columns)
            if self._upper:
                out[..., row, :place] = 0
            else:
                out[..., row, place:] = 0


def eye_like(value: Any, *, dtype: Any = None, k: int = 0) -> Any:
    """Return ones on the k-th diagonal of a matrix of the value's shape."""
    rows, columns = value.shape
    return np.eye(rows, columns, min(max(k, -rows), columns), dtype or value.dtype)


def reverse_sequence(value: Any, lengths: Any, *, batch_axis: int = 1, time_axis: int = 0) -> Any:
    """Reverse the first ``lengths[b]`` steps of each sequence b."""
    moved = np.moveaxis(np.array(value), (batch_axis, time_axis), (0, 1))
    for sequence, length in zip(moved, np.asarray(lengths).tolist(), strict=True):
        sequence[:length] = sequence[:length][::-1].copy()
    return np.moveaxis(moved, (0, 1), (batch_axis, time_axis))


def center_crop_pad(value: Any, target: Any, *, axes: Any = None) -> Any:
    """Crop or pad with zeros around the centre to given lengths."""
    rank = len(value.shape)
    places = range(rank) if axes is None else [a % rank for a in axes]
    key = [slice(None)] * rank
    pairs = [(0, 0)] * rank
    for axis, wanted in zip(places, np.asarray(target).tolist(), strict=True):
        length = value.shape[axis]
        if wanted < length:
            start = (length - wanted) // 2
            key[axis] = slice(start, start + wanted)
        else:
            before = (wanted - length) // 2
            pairs[axis] = (before, wanted - length - before)
    shape = [n + sum(pair) for n, pair in zip(value.shape, pairs, strict=True)]
    allow(shape, value.dtype)
    return np.pad(np.asarray(value)[tuple(key)], pairs)


INDEXING: dict[str, Callable[..., Any]] = {
    "arg_extreme": arg_extreme,
    "center_crop_pad": center_crop_pad,
    "compress": compress,
    "cumulate": cumulate,
    "eye_like": eye_like,
    "gather": gather,
    "gather_elements": gather_elements,
    "gather_nd": gather_nd,
    "non_zero": non_zero,
    "one_hot": one_hot,
    "reverse_sequence": reverse_sequence,
    "scatter_elements": scatter_elements,
    "scatter_nd": scatter_nd,
    "top_k": top_k,
    "trilu": trilu,
}
