"""Whether arithmetic on one value is an activation: both are computed at many points and compared.

The bound is relative to each result's own size, so that a small constant is never taken for none.
Where the arithmetic itself loses digits (1 + erf(x) far below 0), the difference may be as large as
what it loses in float64, no larger.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np

from fastconv.backends.reference.activation import activate
from fastconv.backends.reference.pointwise import applied
from fastconv.network.program import Call, Op
from fastconv.problem import ACTIVATIONS, Activation, ElementwiseProblem, FunctionProblem

_Vector = np.ndarray[Any, np.dtype[np.float64]]

_FIXED = tuple(
    Activation.of(given)
    for given in (
        *(name for name, row in ACTIVATIONS.items() if not row.parameters),
        *("gelu", ("gelu", "tanh"), "hardswish", "softplus", ("softplus", 1.0, math.inf)),
    )
)
# Roundings of a constant's last digit and of a few operations, in units of the dtype's eps.
_ROUNDINGS = 4
# What a constant that is not a short number is off by, at most: rounded twice, and to nearest.
_OF_CONSTANTS = 0.75
# How far arithmetic in the dtype itself may be off, relative to the larger of the result and x:
# more shows that it rounds on purpose, as adding and subtracting a large number does.
_OF_DTYPE = 64
# What an operation in float64 is off by, relative to its result.
_OF_FLOAT64 = 2.0**-52
_KEPT = 4096


class Chain:
    """Operations in order, of which the first ones read ``source`` and numbers alone."""

    def __init__(self, source: int, ops: Sequence[Op], dtype: Any) -> None:
        self.source, self.ops, self.dtype = source, tuple(ops), np.dtype(dtype)
        numbers = {source: 0} | {op.outputs[0]: i + 1 for i, op in enumerate(self.ops)}
        self.key = (self.dtype.name, *(_key_of(op, numbers) for op in self.ops))

    def constants(self) -> list[tuple[int, int]]:
        """Return where each constant is: the operation's place and the operand's."""
        return [
            (at, place)
            for at, op in enumerate(self.ops)
            for place, value in enumerate(op.inputs)
            if not isinstance(value, int)
        ]

    def exactly(self, points: _Vector) -> _Vector:
        """Return the results in float64, at points in float64."""
        return self._computed(points, {}, {}, wide=True)

    def in_dtype(self, points: _Vector) -> _Vector:
        """Return the results as they are computed: each operation in its own dtype."""
        return self._computed(points.astype(self.dtype), {}, {}, wide=False)

    def uncertainty(self, points: _Vector, values: _Vector) -> _Vector:
        """Return what float64's roundings and those of the constants may add up to in a result.

        Each is made in turn, in a row of its own.
        """
        eps = float(np.finfo(self.dtype).eps)
        inexact = [where for where in self.constants() if not self._is_short(where)]
        rows = len(self.ops) + len(inexact)
        rounded = {at: at for at in range(len(self.ops))}
        moved = {where: len(self.ops) + i for i, where in enumerate(inexact)}
        tiled = np.tile(points, rows)
        nudged = self._computed(tiled, rounded, moved, wide=True, eps=eps).reshape(rows, -1)
        with np.errstate(all="ignore"):
            off = np.abs(nudged - values)
        off[~np.isfinite(off)] = 0
        return np.asarray(off.sum(axis=0))

    def _is_short(self, where: tuple[int, int]) -> bool:
        """Return whether a constant has so few digits that it is exact, such as 0.5 or 6."""
        number = _number(self.ops[where[0]].inputs[where[1]])
        digits = (np.finfo(self.dtype).nmant + 1) // 2
        mantissa = math.ldexp(math.frexp(number)[0], digits) if math.isfinite(number) else 0.0
        return mantissa == int(mantissa)

    def _computed(
        self,
        points: Any,
        rounded: dict[int, int],
        moved: dict[tuple[int, int], int],
        *,
        wide: bool,
        eps: float = 0.0,
    ) -> _Vector:
        """Return the results; ``rounded`` operations and ``moved`` constants are off in a row."""
        held: dict[int, Any] = {self.source: points}
        rows = len(rounded) + len(moved)
        each = len(points) // max(1, rows)
        with np.errstate(all="ignore"):
            for at, op in enumerate(self.ops):
                given: list[Any] = []
                for place, operand in enumerate(op.inputs):
                    if isinstance(operand, int):
                        given.append(held[operand])
                        continue
                    number = _number(operand)
                    row = moved.get((at, place))
                    if row is not None:
                        vector = np.full(len(points), number)
                        vector[row * each : (row + 1) * each] *= 1 + _OF_CONSTANTS * eps
                        given.append(vector)
                    else:
                        given.append(number if wide else operand.dtype.type(number))
                # A number may come with dimensions of its own.
                value = np.reshape(_value(op, given, wide), -1)
                if at in rounded and value.dtype.kind == "f":
                    row = rounded[at]
                    value = np.array(value)
                    value[row * each : (row + 1) * each] *= 1 + _OF_FLOAT64
                held[op.outputs[0]] = value
        return np.asarray(held[self.ops[-1].outputs[0]], np.float64)


def named(chain: Chain) -> Activation | None:
    """Return the activation that a chain is, up to a few roundings of its dtype; None: none."""
    kept = _known.get(chain.key, chain)
    if kept is chain:
        if len(_known) >= _KEPT:
            _known.clear()
        kept = _known[chain.key] = _found(chain)
    return kept  # type: ignore[return-value]


# What chains were found to be: networks repeat them, and so does each new size of an image.
_known: dict[Hashable, Activation | Chain | None] = {}


def _found(chain: Chain) -> Activation | None:
    base = _points(chain.dtype.name)
    values = chain.exactly(base)
    if len(values) != len(base) or _loosely(values, base, chain.dtype):
        return None
    for known in (*_FIXED, *_fitted(values)):
        if known is None or not _loosely(values, _given_by(known, chain.dtype.name), chain.dtype):
            continue
        if _is(chain, known):
            return known
    return None


def _is(chain: Chain, activation: Activation) -> bool:
    """Return whether a chain is an activation, at its own constants too."""
    dtype = chain.dtype
    numbers = [_number(chain.ops[at].inputs[place]) for at, place in chain.constants()]
    own = [
        side * nearby
        for number in numbers
        for side in (-1, 1)
        for nearby in (number, *np.nextafter(dtype.type(number), dtype.type([-np.inf, np.inf])))
    ]
    points = np.unique(np.concatenate([_points(dtype.name), np.asarray(own, dtype)]))
    points = np.concatenate([points.astype(np.float64), [0.0, -0.0]])
    values, wanted = chain.exactly(points), _activated(activation, points)
    eps, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    own_size = _ROUNDINGS * eps * np.abs(wanted) + tiny
    flipped = (values == 0) & (wanted == 0) & (np.signbit(values) != np.signbit(wanted))
    if any(_open_at_zero(op) for op in chain.ops):
        flipped &= (points != 0) | ~np.signbit(points)
    if flipped.any():
        return False
    if not _within(values, wanted, own_size, dtype).all():
        allowed = chain.uncertainty(points, values)
        allowed[(points == 0) | ~np.isfinite(points)] = 0
        if not _within(values, wanted, own_size + allowed, dtype).all():
            return False
    size = _OF_DTYPE * eps * np.maximum(np.abs(wanted), np.abs(points)) + tiny
    return bool(_within(chain.in_dtype(points), wanted, size, dtype).all())


def _open_at_zero(op: Op) -> bool:
    """Return whether this is a maximum or minimum, whose zero for -0 and 0 is open."""
    if isinstance(op, Call):
        return op.key is not None and op.key[0] in ("maximum", "minimum", "clip")
    problem: Any = op.problem  # type: ignore[attr-defined]
    return getattr(problem, "function", "") in ("maximum", "minimum")


def _within(values: _Vector, wanted: _Vector, bound: Any, dtype: Any) -> Any:
    """Return where values are as wanted up to a bound; infinities and NaN must be the same."""
    with np.errstate(all="ignore"):
        close = np.isfinite(wanted) & (np.abs(values - wanted) <= bound)
        close |= (values == wanted) | (np.isnan(values) & np.isnan(wanted))
        # Close to the dtype's largest number a factor that is taken back has gone beyond it.
        large = np.abs(wanted) >= float(np.finfo(dtype).max) / 64
        return close | (large & np.isinf(values) & ((values < 0) == (wanted < 0)))


def _fitted(values: _Vector) -> Iterator[Activation | None]:
    """Yield activations with parameters: limits and slopes are those of the values."""
    lowest, one_below, highest = (float(v) for v in values[:3])
    if not math.isnan(lowest + highest) and lowest <= highest:
        yield Activation.of(("hardtanh", lowest, highest))
    if math.isfinite(one_below):
        yield Activation.of(("leaky_relu", -one_below))
    if math.isfinite(lowest):
        yield Activation.of(("elu", -lowest))


@functools.cache
def _points(dtype: str) -> _Vector:
    """Return where functions are compared; the first three are -infinity, -1 and infinity.

    Close together where activations bend, and over the whole range of the dtype on either side.
    """
    limits = np.finfo(dtype)
    smallest, largest = float(limits.tiny), float(limits.max)
    sizes = np.geomspace(smallest, largest / 4, 400)
    points = np.concatenate(
        [
            [-np.inf, -1, np.inf, np.nan, 0.0, -0.0],
            np.arange(-600, 601) / 50,
            *(side * np.concatenate([sizes, np.geomspace(10, 2000, 60), [largest]])
              for side in (-1, 1)),
        ]
    )  # fmt: skip
    return points.astype(dtype).astype(np.float64)


@functools.cache
def _given_by(activation: Activation, dtype: str) -> _Vector:
    return _activated(activation, _points(dtype))


def _activated(activation: Activation, points: _Vector) -> _Vector:
    with np.errstate(all="ignore"):
        return np.asarray(activate(points, activation), np.float64)


def _loosely(values: _Vector, wanted: _Vector, dtype: Any) -> bool:
    """Return what is far from an activation at little cost: by an absolute bound."""
    bound = 16 * float(np.finfo(dtype).eps) * np.maximum(1, np.abs(wanted))
    return bool(_within(values, wanted, bound, dtype).all())


def _value(op: Op, given: list[Any], wide: bool) -> Any:
    if isinstance(op, Call):
        if wide and op.key is not None and op.key[0] == "as_type" and np.ndim(given[0]):
            return given[0] if op.key[-1] in _WIDENED else op.function(*given)
        return op.function(*given)
    problem: Any = op.problem  # type: ignore[attr-defined]
    if isinstance(problem, ElementwiseProblem):
        result = activate(np.asarray(given[0], np.float64), problem.activation)
    elif isinstance(problem, FunctionProblem):
        result = applied(problem, given[0])
    else:
        result = getattr(np, problem.function)(*given)
    return result if wide else result.astype(problem.dtype)


# Casts that change no value where all is computed in float64.
_WIDENED = ("float16", "bfloat16", "float32", "float64")


def _number(operand: Any) -> float:
    return float(operand.reshape(-1)[0])


def _key_of(op: Op, numbers: dict[int, int]) -> Hashable:
    """Return what an operation does and to what, whichever values are numbered how."""
    reads = tuple(
        numbers[v] if isinstance(v, int) else (v.dtype.name, v.tobytes()) for v in op.inputs
    )
    if isinstance(op, Call):
        return (op.key, reads)
    problem: Any = op.problem  # type: ignore[attr-defined]
    what = problem.activation if isinstance(problem, ElementwiseProblem) else problem.function
    what = what, getattr(problem, "numbers", ())
    return (what, problem.dtype.name, reads)
