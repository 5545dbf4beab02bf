"""Operations that go into a neighbour's weights or padding."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from fastconv.dispatch.stored import values_of
from fastconv.forks import cached_property
from fastconv.network.passes.patterns import join_pairs, with_constant
from fastconv.network.program import Program, Solve
from fastconv.problem import (
    ArithmeticProblem,
    BatchNormProblem,
    ConvProblem,
    ConvTransposeProblem,
    LinearProblem,
    PadProblem,
    Problem,
)
from fastconv.problem.record import replaced
from fastconv.problem.remember import Spec

_WEIGHTED = (ConvProblem, ConvTransposeProblem, LinearProblem)
_Vector = np.ndarray[Any, np.dtype[np.float64]]


def fold_affine(program: Program) -> Program:
    """Fold batch norm, and what scales or shifts channels, into the weights before it.

    Jacob et al.: Quantization and training of neural networks (2018), section 3.2. The new
    weights are worked out in float64 and rounded once.
    """
    return join_pairs(program, functools.partial(_folded, values=program.values))


def _folded(first: Solve, second: Solve, values: Mapping[int, Spec]) -> Solve | None:
    problem: Any = first.problem
    if not isinstance(problem, _WEIGHTED) or problem.dtype.name not in ("float32", "float64"):
        return None
    if problem.activation is not None or getattr(problem, "residual", False):
        return None
    if problem.rtol == 0:
        return None  # its sums must be those of the weights that were given
    affine = _affine(second, _channels(problem), isinstance(problem, LinearProblem))
    if affine is None or first.inputs[1:] not in ((), (None,)):
        return None
    if not _keeps_digits(first, *affine, plain=isinstance(second.problem, ArithmeticProblem)):
        return None
    return first.changed(
        _biased,
        values,
        outputs=second.outputs,
        fused=first.taking(second),
        parameters=Scaled(first, *affine),
    )


def _biased(values: Mapping[int, Spec], problem: Any) -> Problem:
    found: Problem = replaced(problem, bias=True)
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class Scaled:
    """The weight and bias of an operation whose result is multiplied and added to."""

    op: Solve
    scale: _Vector
    shift: _Vector

    @property
    def source(self) -> tuple[Any, ...]:
        """The parameters that the changed ones are made of."""
        own = self.op.parameters
        return own.source if callable(own) else own

    @cached_property
    def key(self) -> Any:
        """The change: what is done to the source, in order."""
        own = self.op.parameters
        before = own.key if callable(own) else ()
        return (*before, type(self.op.problem), self.scale.tobytes(), self.shift.tobytes())

    def __call__(self) -> tuple[Any, ...]:
        return _scaled(self.op, self.scale, self.shift)


def _keeps_digits(op: Solve, scale: _Vector, shift: _Vector, *, plain: bool) -> bool:
    """Return whether weights can take a scale and a shift without leaving the dtype's range.

    A number that is added, ``plain``, must not take back most of a bias that is far larger than the
    weights: who adds a number and subtracts it means the rounding between the two.
    """
    problem: Any = op.problem
    limits = np.finfo(problem.dtype)
    before_scale, bias = np.ones(len(scale)), np.zeros(len(scale))
    inner: Any = op
    while isinstance(inner.parameters, Scaled):
        own = inner.parameters
        bias = bias + before_scale * own.shift
        before_scale = before_scale * own.scale
        inner = own.op
    weight, given = inner.arrays()
    if given is not None:
        bias = bias + before_scale * values_of(given).astype(np.float64)
    sizes = _sizes(weight, problem)
    with np.errstate(all="ignore"):
        factor = np.abs(before_scale * scale)
        scaled = sizes * factor
        total = bias * scale + shift
        kept = np.where(
            (sizes < limits.tiny) | (factor == 0),
            np.isfinite(factor),
            (scaled >= limits.tiny * 2**_SPARE) & (scaled <= limits.max / 2**_SPARE),
        )
        kept |= np.isnan(sizes)
        part = np.maximum(np.abs(bias * scale), np.abs(shift))
        swamped = part > scaled * 2 ** (limits.nmant // 2)
        taken_back = np.abs(total) < part / 4
    if plain and np.any(swamped & taken_back & (sizes > 0)):
        return False
    return bool(np.all(kept) and np.all(np.abs(total) <= limits.max))


# How many powers of 2 scaled weights stay within the dtype's range.
_SPARE = 24


def _sizes(weight: Any, problem: Any) -> _Vector:
    """Return the size of the largest weight for each output channel; looked at once."""
    groups = problem.groups if isinstance(problem, ConvTransposeProblem) else 0
    kept: tuple[int, _Vector] | None = getattr(weight, "largest_by_channel", None)
    if kept is not None and kept[0] == groups:
        return kept[1]
    values = values_of(weight)
    if groups:
        per_group = problem.out_channels // groups
        values = values.reshape(groups, -1, per_group, prod(values.shape[2:])).swapaxes(1, 2)
    values = values.reshape(_channels(problem), -1)
    sizes = np.maximum(values.max(axis=1, initial=0), -values.min(axis=1, initial=0))
    found: _Vector = sizes.astype(np.float64)
    if hasattr(type(weight), "largest_by_channel"):
        weight.largest_by_channel = groups, found
    return found


def _scaled(op: Solve, scale: _Vector, shift: _Vector) -> tuple[Any, ...]:
    """Return an operation's weight and bias with what it gives multiplied and added to."""
    problem: Any = op.problem
    weight, bias = (None if p is None else values_of(p) for p in op.arrays())
    assert weight is not None
    shift = shift if bias is None else shift + bias.astype(np.float64) * scale
    if isinstance(problem, ConvTransposeProblem):
        groups, per_group = problem.groups, problem.out_channels // problem.groups
        split = weight.reshape(groups, -1, per_group, *weight.shape[2:])
        factors = scale.reshape(groups, 1, per_group, *(1,) * problem.n)
        scaled = _multiplied(split, factors).reshape(weight.shape)
    else:
        scaled = _multiplied(weight, scale.reshape(-1, *(1,) * (weight.ndim - 1)))
    return scaled, shift.astype(problem.dtype)


def _multiplied(weight: Any, factors: _Vector) -> Any:
    """Return float64's products in the weight's dtype, without all of them in float64 at once."""
    found = np.empty(weight.shape, weight.dtype)
    return np.multiply(weight, factors, out=found, dtype=np.float64, casting="same_kind")


def _channels(problem: Any) -> int:
    return int(problem.out_features if isinstance(problem, LinearProblem) else problem.out_channels)


def _affine(op: Solve, channels: int, last: bool) -> tuple[_Vector, _Vector] | None:
    """Return each channel's scale and shift, where the operation does nothing else."""
    problem: Any = op.problem
    if isinstance(problem, BatchNormProblem):
        wide: list[Any] = [None if p is None else np.asarray(p, np.float64) for p in op.arrays()]
        mean, variance, weight, bias = wide
        scale = 1 / np.sqrt(variance + problem.eps)
        scale = scale if weight is None else scale * weight
        shift = -mean * scale
        return scale, shift if bias is None else shift + bias
    if not isinstance(problem, ArithmeticProblem):
        return None
    known = with_constant(op)
    value = problem.left if isinstance(op.inputs[0], int) else problem.right
    if known is None or problem.output_shape != value:
        return None
    vector = _per_channel(np.asarray(known[1], np.float64), problem.output_shape, channels, last)
    if vector is None:
        return None
    ones, zeros = np.ones(channels), np.zeros(channels)
    reversed_ = isinstance(op.inputs[0], np.ndarray)
    if problem.function == "add":
        return ones, vector
    if problem.function == "subtract":
        return (-ones, vector) if reversed_ else (ones, -vector)
    if problem.function == "multiply":
        return vector, zeros
    if problem.function == "divide" and not reversed_:
        return 1 / vector, zeros
    return None


def _per_channel(
    constant: _Vector, shape: tuple[int, ...], channels: int, last: bool
) -> _Vector | None:
    """Return a constant's number a channel, where it is the same in all else."""
    rank = len(shape)
    whole = constant.reshape((1,) * (rank - constant.ndim) + constant.shape)
    axis = rank - 1 if last else 1
    if any(n != 1 for i, n in enumerate(whole.shape) if i != axis):
        return None
    return np.broadcast_to(whole.reshape(-1), (channels,)).astype(np.float64)


def fold_padding(program: Program) -> Program:
    """Fold zeros around an image into the convolution that reads it."""

    def padded(first: Solve, second: Solve) -> Solve | None:
        if not _may_pad(first.problem, second.problem):
            return None
        inputs, fused = (first.inputs[0], *second.inputs[1:]), second.taking(first)
        return second.changed(_padded, program.values, first, inputs=inputs, fused=fused)

    return join_pairs(program, padded)


def _may_pad(pad: Any, conv: Any) -> bool:
    if not isinstance(pad, PadProblem) or not isinstance(conv, ConvProblem):
        return False
    if pad.mode != "constant" or any(pad.value) or conv.padding_mode != "zeros":
        return False
    spatial = _spatial(conv)
    if any(pair != (0, 0) for axis, pair in enumerate(pad.pads) if axis not in spatial):
        return False
    return all(n >= 0 for axis in spatial for n in pad.pads[axis])


def _spatial(conv: ConvProblem) -> range:
    return range(1, 1 + conv.n) if conv.channels_last else range(2, 2 + conv.n)


def _padded(values: Mapping[int, Spec], conv: Any, pad: Any) -> Problem:
    spatial = _spatial(conv)
    added = [pad.pads[axis] for axis in spatial]
    padding = tuple((a + c, b + d) for (a, b), (c, d) in zip(conv.padding, added, strict=True))
    size = tuple(pad.shape[axis] for axis in spatial)
    found: Problem = replaced(conv, padding=padding, input_size=size)
    return found
