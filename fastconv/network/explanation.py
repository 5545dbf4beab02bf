"""What fastconv did and why: for one call, or for every step of a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv import peak as peaks
from fastconv.arrays import ready
from fastconv.dispatch import tuning
from fastconv.dispatch.choose import Choice
from fastconv.dispatch.measure import MEASURED_TYPES, operands, race
from fastconv.dispatch.run import are_frozen, is_weight_frozen
from fastconv.dispatch.stored import values_of
from fastconv.network.compiled import Compiled
from fastconv.network.passes import PassReport
from fastconv.network.program import Op, Program, Solve
from fastconv.network.report import Footprint, StepReport, duration
from fastconv.network.roofs import percent, why_above
from fastconv.network.summary import choice_of
from fastconv.network.trace import Field, Step, Trace, trace
from fastconv.problem import Shape
from fastconv.problem.remember import Spec
from fastconv.problem.values import flag, integer, is_sequence, items_of, shown

_NO_FIELD = Field(None, ())
_FLOAT = np.dtype("float32")


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The steps that were posed, and for each the choice that was made and all its figures."""

    steps: tuple[Step, ...]
    choices: tuple[Choice | None, ...]
    reports: tuple[StepReport, ...]
    tuning: str
    passes: tuple[PassReport, ...] = ()
    footprint: Footprint | None = None

    @property
    def backend(self) -> str:
        """The first step's backend."""
        return self._first.algorithm.backend

    @property
    def algorithm(self) -> str:
        """The first step's algorithm."""
        return self._first.algorithm.name

    @property
    def seconds(self) -> float:
        """One image's time on one thread in all steps but NumPy's: measured where that is known."""
        return sum(c.seconds or 0.0 for r in self.reports if (c := r.chosen) is not None)

    @property
    def roof_seconds(self) -> float:
        """The least time that limits allow those steps, taken one by one."""
        return sum(report.roof_seconds or 0.0 for report in self.reports)

    @property
    def _first(self) -> Choice:
        return next(choice for choice in self.choices if choice is not None)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for programs: times in seconds, an image, on one thread."""
        told = {
            "steps": [report.as_dict() for report in self.reports],
            "seconds": self.seconds,
            "roof_seconds": self.roof_seconds,
            "tuning": self.tuning,
        }
        if self.passes:
            told["passes"] = [dataclasses.asdict(each) for each in self.passes]
        if self.footprint is not None:
            told["memory"] = self.footprint.as_dict()
        return told

    def __str__(self) -> str:
        lines = [str(report) for report in self.reports]
        if len(lines) > 1 and self.seconds:
            limits, part = self.reports[0].limits, self.roof_seconds / self.seconds
            lines += [
                f"all steps: {duration(self.seconds)} an image on one thread",
                f"  roof {duration(self.roof_seconds)} {limits} ({percent(part)})",
            ]
            if (why := why_above(part, limits)) is not None:
                lines.append(f"  > 100%: {why}")
        if self.tuning != str(tuning.UNTUNED):
            lines.append(f"tuning: {self.tuning}")
        for each in self.passes:
            lines += [f"pass {each}", f"  {each.meaning}"]
        if self.footprint is not None:
            lines.append(str(self.footprint))
        return "\n".join(lines)


def explain(
    function: str | Callable[..., Any],
    *arguments: Any,
    measure: bool = False,
    frozen: bool | None = None,
    **options: Any,
) -> Explanation:
    """Return which backend and algorithm a call would take, why, and why not the others.

    Parameters
    ----------
    function : str or callable
        A name of the functional API such as "conv2d", or a function over it, such as a module.
    *arguments
        As the function takes them; an array may be given by its shape alone (float32), and its
        data are not looked at.
    measure : bool
        Time every algorithm that can serve, now, on one thread. Nothing is kept of it, and no
        choice follows it; for that see `fastconv.tune`.
    frozen : bool, optional
        Whether weights are packed beforehand, as those of layers, networks and `Parameter` are,
        or at each call, which then counts. None: as they are given; shapes stand for plain arrays.
    **options
        Keyword arguments of the function.

    Returns
    -------
    Explanation
        Printing it gives a paragraph a step: what runs and why, the least time that limits allow
        (the larger of operations over the arithmetic peak and bytes over bandwidths) and which of
        the two it is, and every candidate's predicted and measured time for one image on one
        thread, the part of its roof that it reaches, its error bound and workspace, or its reason
        against the problem. Limits are this machine's, as measured, where times are measured;
        else the fixed figures that predictions are made from. ``reports`` and ``as_dict()`` hold
        the same for programs.
    """
    called = _named(function)
    named_arrays = ("weight", "bias", "residual", "running_mean", "running_var")
    held = {k: _stand_in(v) if k in named_arrays else v for k, v in options.items()}
    if not arguments:
        raise TypeError("explain needs the function's arguments: arrays, or their shapes")
    flag(measure, "measure")
    if frozen is not None:
        flag(frozen, "frozen")
    first, *rest = arguments
    shape, dtype = _spec(first)
    others = [_stand_in(v) for v in rest]
    traced = trace(lambda value: called(value, *others, **held), [(shape, dtype)])
    return explain_trace(traced, measure=measure, frozen=frozen)


def explain_trace(
    traced: Trace, *, measure: bool = False, frozen: bool | None = True
) -> Explanation:
    """Explain every step of a trace; with ``measure``, time what can serve now.

    ``frozen``: whether weights are; None: as they were posed.
    """
    choices = tuple(
        choice_of(step, frozen=_as_posed(step.parameters) if frozen is None else frozen)
        for step in traced.steps
    )
    pairs = list(zip(traced.steps, choices, strict=True))
    peak = peaks.measured() if measure else None
    reports = tuple(
        StepReport.of(step, choice, *(_timed(step, choice) if measure else ({}, {})), peak)
        for step, choice in pairs
    )
    return Explanation(tuple(traced.steps), choices, reports, str(tuning.current()))


def _as_posed(parameters: tuple[Any, ...]) -> bool:
    """Return whether a call with these is chosen as one of frozen weights."""
    return are_frozen(parameters) or is_weight_frozen(parameters)


def explain_compiled(
    compiled: Compiled, *, measure: bool = False, passes: bool = False
) -> Explanation:
    """Explain every operation of a program that does something; views do nothing.

    With ``passes``, tell too what the passes did, and what memory the program takes.
    """
    program = compiled.again() if measure else compiled.program
    ops = program.posed()
    traced = Trace((), [_as_step(op, program) for op in ops])
    told = explain_trace(traced, measure=measure)
    pairs = zip(told.reports, ops, strict=True)
    reports = tuple(dataclasses.replace(report, fused=op.fused) for report, op in pairs)
    return dataclasses.replace(
        told, reports=reports,
        passes=compiled.passes if passes else (), footprint=compiled.footprint if passes else None,
    )  # fmt: skip


def _as_step(op: Op, program: Program) -> Step:
    """Return an operation of a program as a step of a trace."""
    specs = tuple(program.values[v] if isinstance(v, int) else v for v in op.inputs)
    given = tuple(tuple(spec.shape) for spec in specs if spec is not None)
    shape = tuple(program.values[op.outputs[0]].shape)
    if not isinstance(op, Solve):
        return Step(op.layer, op.kind, None, given, shape, _NO_FIELD)
    return Step(
        op.layer, op.kind, op.problem, given, shape, _NO_FIELD, op.algorithm, op.backend,
        inputs=specs, parameters=(op.arrays,),
    )  # fmt: skip


def _timed(step: Step, choice: Choice | None) -> tuple[dict[str, float], dict[str, str]]:
    """Return the seconds an image of those that can serve a step, and what failed."""
    if choice is None or step.problem is None or 0 in step.output_shape:
        return {}, {}
    able = [c for c in choice.candidates if c.why_not is None]
    if isinstance(step.problem, MEASURED_TYPES):
        problem = dataclasses.replace(choice.problem, bias=False, residual=False)  # type: ignore[call-arg]
        inputs, parameters = operands(problem)
        images = 1
    else:
        problem = step.problem
        images = prod(problem.output_shape) // prod(choice.problem.output_shape)
        inputs = tuple(_data(value) for value in step.inputs)
        held = step.parameters
        worked_out = held[0]() if len(held) == 1 and callable(held[0]) else held
        parameters = tuple(None if p is None else ready(values_of(p)) for p in worked_out)
    seconds, failed = race(able, problem, inputs, parameters, frozen=choice.frozen)
    return {name: value / images for name, value in seconds.items()}, failed


def _data(value: Any) -> Any:
    """Return random numbers for a traced value; integers, which may be places, are 0."""
    if not isinstance(value, Spec):
        return None if value is None else ready(np.asarray(value))
    if value.dtype.kind not in "fc":
        return np.zeros(value.shape, value.dtype)
    return np.random.default_rng(0).standard_normal(value.shape).astype(value.dtype)


def _named(function: str | Callable[..., Any]) -> Callable[..., Any]:
    if not isinstance(function, str):
        if not callable(function):
            raise TypeError(f"function must be a name or a callable, not {shown(function)}")
        return function
    if function not in dir(functional):
        raise ValueError(f"fastconv.functional has no function named {shown(function)}")
    return getattr(functional, function)  # type: ignore[no-any-return]


def _spec(value: Any) -> tuple[Shape, Any]:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return tuple(value.shape), value.dtype
    if not is_sequence(value):
        raise TypeError(f"input must be an array, or the shape of one, not {shown(value)}")
    return tuple(integer(n, "input", least=0) for n in items_of(value, "input")), _FLOAT


def _stand_in(value: Any) -> Any:
    """Return an array of no memory for a shape; anything else as it is.

    A tuple of one or two ints is left alone: it is a stride, not a weight.
    """
    if isinstance(value, tuple) and len(value) > 2 and all(isinstance(n, int) for n in value):
        return np.broadcast_to(np.zeros((), np.float32), value)
    return value
