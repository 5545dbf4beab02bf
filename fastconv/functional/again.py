"""Calls that come again: plan, order of arrays and shape of the result, found by one look.

The way from a call to its plan depends on shapes, dtypes and options alone, and takes longer than
many a small convolution. The first call goes that way and is watched; one that is like it then
takes the plan at once. What is out of the ordinary (arrays that are not contiguous, subclasses,
GPU arrays, values that are only traced, several results) goes the whole way each time.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

import numpy as np

from fastconv import settings
from fastconv.arrays import Array, check_out
from fastconv.backends.native.addresses import address_of
from fastconv.backends.native.plan import NativePlan
from fastconv.dispatch import tuning
from fastconv.dispatch.parameter import Parameter
from fastconv.dispatch.run import Solved, watched

P = ParamSpec("P")
R = TypeVar("R")
Places = tuple[int | None, ...]

# Options that are told apart by type and value; tuples are looked into.
_PLAIN = frozenset((int, str, bool, float, type(None)))
_ARRAYS = frozenset((np.ndarray, Parameter))
# NumPy's flags of arrays that are contiguous in C's order, and aligned.
_CONTIGUOUS = 0x1 | 0x100
# How many combinations of options a function remembers, and calls with each.
MOST_OPTIONS, MOST_CALLS = 256, 64


class _Call:
    """What one call found out: its plan, which arrays that takes, the shape of the result."""

    __slots__ = ("dtype", "held", "inputs", "parameters", "plan", "reshapes", "shape")

    def __init__(
        self, solved: Solved, inputs: Places, parameters: Places, arrays: list[Array], result: Array
    ) -> None:
        self.inputs, self.parameters = inputs, parameters
        self.shape, self.dtype = result.shape, result.dtype
        self.reshapes = solved.result.shape != result.shape
        # Parameters that the plan holds, which must be the very ones of another call.
        self.held = tuple((i, arrays[i]) for i in parameters if i is not None)
        plan = solved.plan
        if solved.parameters:
            # The cache of plans alone decides how long those live that hold none.
            self.plan: Callable[[], Any] = weakref.ref(plan)
            self.held = ()
        else:
            self.plan = functools.partial(_itself, plan)
            self.parameters = ()

    def serves(self, arrays: list[Array]) -> bool:
        """Return whether the parameters are those that the plan holds."""
        return all(arrays[i] is array for i, array in self.held)

    def run(self, plan: NativePlan, arrays: list[Array], out: Array | None) -> Array:
        """Run on the arrays of another call."""
        if out is not None:
            check_out(out, self.shape, self.dtype, tuple(arrays))
        inputs = [None if i is None else arrays[i] for i in self.inputs]
        parameters = tuple([None if i is None else arrays[i] for i in self.parameters])
        result: Array = plan.run(*inputs, out=out, parameters=parameters)
        if out is not None:
            return out
        return result.reshape(self.shape) if self.reshapes else result


def _itself(plan: NativePlan) -> NativePlan:
    return plan


class _Calls:
    """The calls with one combination of options, by their arrays' shapes and dtypes."""

    def __init__(self) -> None:
        self.known: dict[Any, _Call] = {}


def remembered(function: Callable[P, R]) -> Callable[P, R]:
    """Have a function of arrays and options take the plans of calls like earlier ones."""

    @functools.lru_cache(maxsize=MOST_OPTIONS, typed=True)
    def calls_of(state: Any, *options: Any, **named: Any) -> _Calls:
        return _Calls()

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        arrays: list[Any] = []
        options: list[Any] = []
        asked, out, owner = named, None, None
        for value in arguments:
            kind = type(value)
            if kind in _ARRAYS:
                arrays.append(value)
                options.append(kind)
            elif kind in _PLAIN or (kind is tuple and _is_plain(value)):
                options.append(value)
            else:
                return function(*arguments, **named)
        for name, value in named.items():
            kind = type(value)
            if kind in _ARRAYS:
                asked = asked.copy() if asked is named else asked
                asked[name] = kind
                if name == "out":
                    out = value
                else:
                    arrays.append(value)
            elif kind not in _PLAIN and not (kind is tuple and _is_plain(value)):
                return function(*arguments, **named)
        key: Any = []
        for array in arrays:
            if array.flags.num & _CONTIGUOUS != _CONTIGUOUS:
                return function(*arguments, **named)
            if owner is None and type(array) is Parameter:
                owner = array
            key += array.shape, array.dtype
        if out is not None and not out.flags.c_contiguous:
            return function(*arguments, **named)
        key = tuple(key)
        calls = calls_of(settings.state(tuning.generation()), *options, **asked)
        known = calls.known
        if owner is not None:
            # What a parameter's own plans hold goes with it.
            known, key = owner._calls, (calls, key)
        found = known.get(key)
        if found is not None and (plan := found.plan()) is not None and found.serves(arrays):
            return found.run(plan, arrays, out)
        with watched() as solved:
            result = function(*arguments, **named)
        made = _watched_call(solved, arrays, options, asked.values(), result)
        if made is not None:
            if len(known) >= MOST_CALLS:
                known.clear()
            known[key] = made
        return result

    return call  # type: ignore[return-value]


def _watched_call(
    solved: list[Solved | None],
    arrays: list[Array],
    options: list[Any],
    named: Iterable[Any],
    result: Any,
) -> _Call | None:
    """Return what a call found out, if calls with such arrays and options will find the same."""
    only = solved[0] if len(solved) == 1 else None
    if only is None or type(only.plan) is not NativePlan or not isinstance(result, np.ndarray):
        return None
    # Equal to zero is -0.0 as well, and is another slope.
    if any(type(v) is float and v == 0 for v in (*options, *named)):
        return None
    if type(only.result) is not np.ndarray or not _same_memory(only.result, result):
        return None
    addresses = [address_of(array) for array in arrays]
    if 0 in [array.size for array in arrays] or len(set(addresses)) < len(addresses):
        return None
    places: list[int | None] = []
    for value in (*only.inputs, *(only.parameters or only.frozen)):
        if value is None:
            places.append(None)
            continue
        place = next((i for i, a in enumerate(arrays) if _same_memory(a, value)), None)
        if place is None:
            return None
        places.append(place)
    count = len(only.inputs)
    return _Call(only, tuple(places[:count]), tuple(places[count:]), arrays, result)


def _same_memory(a: Array, b: Array) -> bool:
    """Return whether two contiguous arrays are the same elements, in whatever shape."""
    if not isinstance(b, np.ndarray) or a.dtype != b.dtype or a.nbytes != b.nbytes:
        return False
    return address_of(a) == address_of(b) and b.flags.c_contiguous


def _is_plain(values: tuple[Any, ...]) -> bool:
    """Return whether a tuple holds ints alone, or tuples of them, or a name and its numbers."""
    if values and type(values[0]) is str:
        return all(type(v) in (str, int) or (type(v) is float and v != 0) for v in values)
    return all(type(v) is int or (type(v) is tuple and _is_plain(v)) for v in values)
