"""Calls that come again: plan, order of arrays and shape of the result, found by one look.

The way from a call to its plan depends on shapes, dtypes and options alone, and takes longer than
many a small convolution. The first call goes that way and is watched; one that is like it then
takes the plan at once. What is out of the ordinary (inputs that are not contiguous, subclasses,
GPU arrays, values that are only traced, several results) goes the whole way each time.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

from fastconv import settings
from fastconv.arrays import Array, check_out
from fastconv.backends.c import objects
from fastconv.backends.native.addresses import address_of
from fastconv.backends.native.driver import MOST_ARRAYS, array_driver
from fastconv.backends.native.plan import NativePlan
from fastconv.dispatch import tuning
from fastconv.dispatch.parameter import Parameter
from fastconv.dispatch.run import Solved, watched

P = ParamSpec("P")
R = TypeVar("R")
Places = tuple[int | None, ...]

# Options that are equal only to their own kind, and those that are distinguished by type too.
_PLAIN, _TYPED = frozenset((int, str, type(None))), frozenset((bool, float))
_ARRAYS = frozenset((np.ndarray, Parameter))
# NumPy's flags of arrays that are contiguous in C's order, and aligned.
_CONTIGUOUS, _ALIGNED = 0x1, 0x100
# How many calls a function remembers, and a parameter.
MOST_CALLS = 1024


class _Call:
    """What one call found out: its plan, which arrays that takes, the shape of the result."""

    __slots__ = (
        "dtype", "held", "inputs", "parameters", "plan", "reshapes", "shape", "split", "whole",
    )  # fmt: skip

    def __init__(
        self,
        solved: Solved,
        places: tuple[Places, Places, Places],
        arrays: tuple[Array, ...],
        result: Array,
    ) -> None:
        self.inputs, self.parameters, held = places
        # Where a call's arrays are the plan's, in order: how many of them are inputs.
        count = len(self.inputs)
        in_order = (*self.inputs, *self.parameters) == tuple(range(len(arrays)))
        self.split = count if in_order else None
        self.shape, self.dtype = result.shape, result.dtype
        self.reshapes = solved.result.shape != result.shape
        # Parameters that the plan holds, which must be the same arrays as in another call.
        self.held = tuple((i, arrays[i]) for i in held if i is not None)
        plan: Any = solved.plan
        # The cache of plans alone decides how long those live that hold no parameters.
        self.plan: Callable[[], NativePlan | None] = (
            functools.partial(_itself, plan) if self.held else weakref.ref(plan)
        )
        # What the extension needs to run such a call whole; None where it cannot.
        order = (*self.inputs, *self.parameters[::-1])
        plain = type(plan).run_on is NativePlan.run_on and len(order) <= MOST_ARRAYS
        plain = plain and array_driver() is objects.functions().run
        program = plan.whole_program() if plain else None
        self.whole: tuple[Any, ...] | None = None
        if program is not None:
            buffers = tuple(-1 if i is None else i for i in order)
            self.whole = (
                program[0], buffers, tuple(i for i, _ in self.held), self.shape, self.dtype,
                *program[1:],
            )  # fmt: skip

    def serves(self, arrays: tuple[Array, ...]) -> bool:
        """Return whether the parameters are those that the plan holds."""
        return all(arrays[i] is array for i, array in self.held)

    def run(self, plan: NativePlan, arrays: tuple[Array, ...], out: Array | None) -> Array:
        """Run on the arrays of another call."""
        if out is not None:
            check_out(out, self.shape, self.dtype, arrays)
        if self.split is not None:
            result = plan.run_on(arrays[: self.split], arrays[self.split :], out)
        else:
            inputs = tuple([None if i is None else arrays[i] for i in self.inputs])
            parameters = tuple([None if i is None else arrays[i] for i in self.parameters])
            result = plan.run_on(inputs, parameters, out)
        if out is not None:
            return out
        return result.reshape(self.shape) if self.reshapes else result


def _itself(plan: NativePlan) -> NativePlan:
    return plan


def remembered(function: Callable[P, R]) -> Callable[P, R]:
    """Have a function of arrays and options take the plans of calls like earlier ones."""
    calls: dict[Any, _Call] = {}
    repeats = (objects.functions().repeats or _NoRepeats)()
    repeated, keep = repeats.run, repeats.keep
    tuning.when_forgotten(calls.clear)
    tuning.when_forgotten(repeats.clear)

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        result = repeated(arguments, named)
        if result is not None:
            return result
        found = key_of(settings.state(), arguments, named)
        if found is None:
            return function(*arguments, **named)
        key, arrays, out, owner = found
        # What a parameter's own plans hold goes with it.
        known, place = calls, key
        if owner is not None:
            known, place = owner._calls, (function, tuning.generation(), key)
        made = known.get(place)
        if made is not None:
            plan = made.plan()
            if plan is not None and (not made.held or made.serves(arrays)):
                if made.whole is not None and out is None and key[0] is None:
                    keep(arguments, named, plan, *made.whole)
                return made.run(plan, arrays, out)
        with watched() as solved:
            result = function(*arguments, **named)
        made = _watched_call(solved, arrays, key, result)
        if made is not None:
            if len(known) >= MOST_CALLS:
                known.clear()
            known[place] = made
        return result

    return call


class _NoRepeats:
    """Repeats no call: where the extension is missing."""

    def run(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Leave the call to Python."""

    def keep(self, *call: Any) -> None:
        """Keep nothing."""

    def clear(self) -> None:
        """Have nothing to forget."""


def _key_of(state: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Return a call's key, arrays, out and first parameter.

    None where something is out of the ordinary. csrc/objects.c has its twin.
    """
    key: list[Any] = [state]
    arrays: list[Any] = []
    out = owner = None
    for name, value in (*((None, v) for v in arguments), *named.items()):
        kind = type(value)
        key.append(name)
        if kind in _ARRAYS:
            key.append(kind)
            flags = value.flags.num
            if not flags & _ALIGNED or (name == "out" and not flags & _CONTIGUOUS):
                return None
            if name == "out":
                out = value
                continue
            arrays.append(value)
            key += value.shape, value.dtype
            # Of weights that are transposed or sliced, say: a plan reads them where they are.
            key.append(None if flags & _CONTIGUOUS else value.strides)
            owner = value if owner is None and kind is Parameter else owner
        elif kind in _TYPED:
            key += kind, value
        elif kind in _PLAIN or (kind is tuple and _is_plain(value)):
            key.append(value)
        else:
            return None
    return tuple(key), tuple(arrays), out, owner


objects.know_parameters(Parameter)
key_of = objects.functions().key_of or _key_of


def _watched_call(
    solved: list[Solved | None], arrays: tuple[Array, ...], key: Any, result: Any
) -> _Call | None:
    """Return what a call found out, if others with such a key will find the same."""
    only = solved[0] if len(solved) == 1 else None
    if only is None or not only.plan.takes_arrays_alone or not isinstance(result, np.ndarray):
        return None
    # Equal to zero is -0.0 as well, and is another slope.
    if any(type(value) is float and value == 0 for value in key):
        return None
    if type(only.result) is not np.ndarray or not _same_memory(only.result, result):
        return None
    addresses = [address_of(array) for array in arrays]
    if 0 in [array.size for array in arrays] or len(set(addresses)) < len(addresses):
        return None
    places: list[int | None] = []
    for value in (*only.inputs, *only.parameters, *only.frozen):
        if value is None:
            places.append(None)
            continue
        place = next((i for i, a in enumerate(arrays) if _same_memory(a, value)), None)
        if place is None:
            return None
        places.append(place)
    first = len(only.inputs)
    second = first + len(only.parameters)
    inputs, parameters, held = map(tuple, (places[:first], places[first:second], places[second:]))
    while inputs and inputs[-1] is None:
        # Of a missing residual, say: no argument of a kernel is in it.
        inputs = inputs[:-1]
    return _Call(only, (inputs, parameters, held), arrays, result)


def _same_memory(a: Array, b: Any) -> bool:
    """Return whether two arrays are the same elements, in whatever shape where contiguous."""
    if not isinstance(b, np.ndarray) or a.dtype != b.dtype or a.nbytes != b.nbytes:
        return False
    if address_of(a) != address_of(b):
        return False
    if a.flags.c_contiguous:
        return b.flags.c_contiguous
    return a.shape == b.shape and a.strides == b.strides


def _is_plain(values: tuple[Any, ...]) -> bool:
    """Return whether a tuple holds ints alone, or tuples of them, or a name and its numbers."""
    if values and type(values[0]) is str:
        return all(type(v) in (str, int) or (type(v) is float and v != 0) for v in values)
    return all(type(v) is int or (type(v) is tuple and _is_plain(v)) for v in values)
