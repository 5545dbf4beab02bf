"""One error bound for a whole network, shared out among what rounds; one precision for all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

from fastconv.network.template import split
from fastconv.network.trace import Step, Trace, Traced


@dataclasses.dataclass(frozen=True)
class Bounded:
    """A function whose problems have a share of ``rtol`` each, wherever it is traced."""

    function: Callable[..., Any]
    rtol: float

    def __call__(self, *values: Any) -> Any:
        """Call the function."""
        traced = trace_of(values)
        begin = 0 if traced is None else len(traced.steps)
        results = self.function(*values)
        share_out(self.rtol, traced, begin, values)
        return results


@dataclasses.dataclass(frozen=True)
class Rounded:
    """A function whose problems may round products, wherever it is traced."""

    function: Callable[..., Any]
    precision: str

    def __call__(self, *values: Any) -> Any:
        """Call the function."""
        traced = trace_of(values)
        begin = 0 if traced is None else len(traced.steps)
        results = self.function(*values)
        allow_precision(self.precision, traced, begin)
        return results


def unwrapped(function: Callable[..., Any], kind: type[Any]) -> Callable[..., Any]:
    """Return a function without the earlier bound or precision that it has, if any."""
    if isinstance(function, kind):
        inner: Callable[..., Any] = function.function
        return inner
    if isinstance(function, (Bounded, Rounded)):
        return dataclasses.replace(function, function=unwrapped(function.function, kind))
    return function


def allow_precision(precision: str, traced: Trace | None, begin: int) -> None:
    """Let the float32 problems of a trace's steps from ``begin`` on round their products.

    One that was told a precision of its own keeps it. Arrays that are run as they come are
    computed in float32.
    """
    steps = [] if traced is None else traced.steps
    for place in range(begin, len(steps)):
        problem: Any = steps[place].problem
        if getattr(problem, "precision", "") is None and problem.dtype.name == "float32":
            rounded = dataclasses.replace(problem, precision=precision)
            steps[place] = dataclasses.replace(steps[place], problem=rounded)


def trace_of(values: Sequence[Any]) -> Trace | None:
    """Return the trace that values belong to; None: they are arrays."""
    return next((value.trace for value in values if isinstance(value, Traced)), None)


def share_out(rtol: float, traced: Trace | None, begin: int, values: Sequence[Any]) -> None:
    """Assign the problems of a trace's steps from ``begin`` on a share of ``rtol`` each.

    Errors of operations that follow one another add as random numbers do, so that each of ``depth``
    may err by ``rtol / sqrt(depth)``; those on parallel branches err independently. A problem whose
    own ``rtol`` is smaller keeps it.

    Raises
    ------
    ValueError
        Where there is no trace: how deep the network is cannot be known then.
    """
    if traced is None:
        if any(getattr(value, "size", 1) == 0 for value in values):
            return
        raise ValueError(
            "the network looks at data, so that its depth is not known and rtol cannot be shared "
            "out among its operations; give them an rtol of their own"
        )
    steps = traced.steps
    share = rtol / sqrt(max(1, _depth(steps[begin:])))
    for place in range(begin, len(steps)):
        problem: Any = steps[place].problem
        if getattr(problem, "rtol", 0.0) > share:
            tighter = dataclasses.replace(problem, rtol=share)
            steps[place] = dataclasses.replace(steps[place], problem=tighter)


def _depth(steps: Sequence[Step]) -> int:
    """Return how many problems with an ``rtol`` follow one another at most."""
    depths: dict[int, int] = {}
    for step in steps:
        read: list[Any] = [*step.operands, *step.parameters]
        if step.call is not None:
            split((step.call.arguments, step.call.options), _is_traced, read)
        deep = max((depths.get(id(value), 0) for value in read), default=0)
        deep += hasattr(step.problem, "rtol")
        depths.update({id(value): deep for value in step.results})
    return max(depths.values(), default=0)


def _is_traced(value: Any) -> bool:
    return isinstance(value, Traced)
