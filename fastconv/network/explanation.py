"""What fastconv did and why: for one call, or for every step of a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.dispatch.choose import Choice
from fastconv.machine import get_machine
from fastconv.network.summary import choice_of
from fastconv.network.trace import Step, Trace, trace
from fastconv.problem import Shape


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The steps that were posed, and for each the choice that was made."""

    steps: tuple[Step, ...]
    choices: tuple[Choice | None, ...]

    @property
    def backend(self) -> str:
        """The first step's backend."""
        return self._first.algorithm.backend

    @property
    def algorithm(self) -> str:
        """The first step's algorithm."""
        return self._first.algorithm.name

    @property
    def _first(self) -> Choice:
        return next(choice for choice in self.choices if choice is not None)

    def __str__(self) -> str:
        pairs = zip(self.steps, self.choices, strict=True)
        return "\n".join(_describe(step, choice) for step, choice in pairs)


def explain(function: str | Callable[..., Any], *arguments: Any, **options: Any) -> Explanation:
    """Tell which backend and algorithm a call would take, why, and why not the others.

    Parameters
    ----------
    function : str or callable
        A name of the functional API such as "conv2d", or a function over it, such as a module.
    *arguments
        As the function takes them; an array may be given by its shape alone (float32), and its
        data are not looked at.
    **options
        Keyword arguments of the function.

    Returns
    -------
    Explanation
        Printing it gives a paragraph a step: what was taken, and every candidate's predicted
        time on one thread, error bound and workspace, or its reason against the problem.
    """
    called = _named(function)
    named_arrays = ("weight", "bias", "residual", "running_mean", "running_var")
    held = {k: _stand_in(v) if k in named_arrays else v for k, v in options.items()}
    if not arguments:
        raise TypeError("explain needs the function's arguments: arrays, or their shapes")
    first, *rest = arguments
    shape, dtype = _spec(first)
    others = [_stand_in(v) for v in rest]
    return explain_trace(trace(lambda value: called(value, *others, **held), [(shape, dtype)]))


def explain_trace(traced: Trace) -> Explanation:
    """Explain every step of a trace."""
    return Explanation(tuple(traced.steps), tuple(choice_of(step) for step in traced.steps))


def _named(function: str | Callable[..., Any]) -> Callable[..., Any]:
    if not isinstance(function, str):
        return function
    found = getattr(functional, function, None)
    if not callable(found):
        raise ValueError(f"fastconv.functional has no function named {function!r}")
    return found  # type: ignore[no-any-return]


def _spec(value: Any) -> tuple[Shape, Any]:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return tuple(value.shape), value.dtype
    return tuple(int(n) for n in value), np.dtype("float32")


def _stand_in(value: Any) -> Any:
    """Give an array of no memory for a shape; anything else as it is.

    A tuple of one or two ints is left alone: it is a stride, not a weight.
    """
    if isinstance(value, tuple) and len(value) > 2 and all(isinstance(n, int) for n in value):
        return np.broadcast_to(np.zeros((), np.float32), value)
    return value


def _describe(step: Step, choice: Choice | None) -> str:
    where = f"{step.layer}: " if step.layer else ""
    shapes = " + ".join(str(list(shape)) for shape in step.input_shapes)
    head = f"{where}{step.kind} {shapes} -> {list(step.output_shape)}"
    if choice is None:
        return f"{head}\n  numpy"
    lines = [head, f"  {choice.algorithm}: {choice.reason}"]
    peak = get_machine().peak_flops(choice.problem.dtype)
    for candidate in choice.candidates:
        if candidate.cost is None:
            lines.append(f"    {candidate.algorithm}: no, {candidate.why_not}")
            continue
        roof = choice.problem.flops / peak / candidate.cost.seconds
        refused = f", no: {candidate.why_not}" if candidate.why_not else ""
        lines.append(
            f"    {candidate.algorithm}: {candidate.cost.seconds * 1e6:,.1f} us predicted an image"
            f" ({roof:.0%} of the arithmetic peak), error bound {candidate.error_bound:.1e}, "
            f"workspace {candidate.cost.workspace_bytes:,} bytes{refused}"
        )
    return "\n".join(lines)
