"""What one step of a network takes: every candidate with the machine's limit, and why."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping
from typing import Any

from fastconv.dispatch.choose import Candidate, Choice
from fastconv.network.roofs import FIXED, MEASURED, percent, roof_of, why_above
from fastconv.network.trace import Step
from fastconv.peak import Peak
from fastconv.problem import Shape


@dataclasses.dataclass(frozen=True)
class Contender:
    """One algorithm's figures, for one image on one thread; None where there are none.

    ``roof`` is the part that it reaches of the limit for what it executes itself, by the measured
    time where there is one. Where limits were measured, times that were not have none.
    """

    algorithm: str
    chosen: bool
    why_not: str | None
    predicted_seconds: float | None
    measured_seconds: float | None
    roof: float | None
    error_bound: float | None
    workspace_bytes: int | None

    @property
    def seconds(self) -> float | None:
        """The measured time where there is one, else the predicted."""
        return self.predicted_seconds if self.measured_seconds is None else self.measured_seconds


@dataclasses.dataclass(frozen=True)
class Footprint:
    """The memory that a forward pass takes besides weights, inputs and outputs, and its calls.

    All values are stored in one arena. ``live_bytes`` is the most that lives there at one time, the
    arena's least size; ``scratch_bytes`` is what each worker has besides for itself.
    """

    arena_bytes: int
    live_bytes: int
    scratch_bytes: int
    native_calls: int
    python_calls: int

    @property
    def ratio(self) -> float:
        """The arena's size over its least size."""
        return self.arena_bytes / self.live_bytes if self.live_bytes else 1.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for programs."""
        return {**dataclasses.asdict(self), "ratio": self.ratio}

    def __str__(self) -> str:
        calls = f"{self.native_calls} native call" + "s" * (self.native_calls != 1)
        if self.python_calls:
            calls += f", {self.python_calls} of Python's"
        return (
            f"memory: an arena of {scaled(self.arena_bytes)}B, {self.ratio:.2f} x the "
            f"{scaled(self.live_bytes)}B that live at one time; {scaled(self.scratch_bytes)}B of "
            f"scratch a worker; {calls}"
        )


@dataclasses.dataclass(frozen=True)
class StepReport:
    """One step: what runs and why, what bounds it, and every candidate.

    ``roof_seconds`` is the least time that limits allow one image on one thread for what the
    algorithm executes, ``work_flops`` and ``work_bytes``, and ``bound_by`` which of them it is:
    "compute" or "memory". NumPy's own steps have neither. ``limits`` tells whose they are: this
    machine's ("as measured here"), or those that choices follow ("by the fixed figures").
    ``flops`` and ``bytes`` are those of the definition. ``fused`` names the layers whose work it
    does besides. ``packing_seconds`` are of the predicted time, where weights are packed at the
    call.
    """

    layer: str
    kind: str
    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    algorithm: str
    reason: str
    flops: int = 0
    bytes: int = 0
    roof_seconds: float | None = None
    bound_by: str | None = None
    contenders: tuple[Contender, ...] = ()
    failed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fused: tuple[str, ...] = ()
    work_flops: float = 0
    work_bytes: float = 0
    limits: str = FIXED
    packing_seconds: float | None = None
    arithmetic: str = ""

    @classmethod
    def of(
        cls,
        step: Step,
        choice: Choice | None,
        measured: Mapping[str, float] | None = None,
        failed: Mapping[str, str] | None = None,
        peak: Peak | None = None,
    ) -> StepReport:
        """Put together what is known of a step; ``measured`` goes before a tuning table's.

        Parts of roofs are those of ``peak``; None: of the fixed figures.
        """
        limits = FIXED if peak is None else MEASURED
        where = (step.layer, step.kind, step.input_shapes, step.output_shape)
        if choice is None:
            runner = step.runner
            why = (
                "an operation of NumPy's own" if runner == "numpy" else "no operation of fastconv's"
            )
            return cls(*where, runner, why, limits=limits)
        problem = choice.problem
        roof = roof_of(choice.algorithm, problem, peak)
        manner = choice.algorithm.manner(problem)
        return cls(
            *where,
            str(choice.algorithm),
            f"{choice.reason}; {manner}" if manner else choice.reason,
            problem.flops,
            problem.bytes,
            roof.seconds,
            roof.bound_by,
            tuple(_contender(c, choice, peak, measured or {}) for c in choice.candidates),
            dict(failed or {}),
            work_flops=roof.work.flops,
            work_bytes=roof.work.bytes,
            limits=limits,
            packing_seconds=_packing_seconds(choice),
            arithmetic=choice.algorithm.arithmetic(problem),
        )

    @property
    def chosen(self) -> Contender | None:
        """The contender that runs; None for NumPy's own steps."""
        return next((c for c in self.contenders if c.chosen), None)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for programs."""
        return dataclasses.asdict(self)

    @property
    def _own_work(self) -> str:
        """What the algorithm executes, where that is not what the definition asks for."""
        if (self.work_flops, self.work_bytes) == (self.flops, self.bytes):
            return ""
        return f" by the definition, {_amount(self.work_flops, self.work_bytes)} by the algorithm"

    def __str__(self) -> str:
        where = f"{self.layer}: " if self.layer else ""
        shapes = " + ".join(str(list(shape)) for shape in self.input_shapes)
        lines = [f"{where}{self.kind} {shapes} -> {list(self.output_shape)}"]
        if self.fused:
            words = f"with {', '.join(self.fused)}"
            lines += textwrap.wrap(words, 80, initial_indent="  ", subsequent_indent="    ")
        if self.roof_seconds is None:
            return "\n".join([*lines, f"  {self.algorithm}: {self.reason}"])
        lines.append(f"  {self.algorithm}: {self.reason}")
        if self.arithmetic.startswith("bf16"):
            lines.append(f"  arithmetic {self.arithmetic}")
        if self.packing_seconds is not None:
            took = duration(self.packing_seconds)
            lines.append(f"  weights packed at each call, {took} of the predicted time")
        lines += [
            f"  roof {duration(self.roof_seconds)} an image, bound by {self.bound_by}, "
            f"{self.limits}",
            f"  {_amount(self.flops, self.bytes)}{self._own_work}",
            *_table([c for c in self.contenders if c.why_not is None]),
        ]
        above = max((c.roof for c in self.contenders if c.roof is not None), default=None)
        if (why := why_above(above, self.limits)) is not None:
            lines.append(f"    > 100%: {why}")
        reasons = [f"{c.algorithm}: no, {c.why_not}" for c in self.contenders if c.why_not]
        reasons += [f"{name}: not measured, {why}" for name, why in self.failed.items()]
        for reason in reasons:
            lines += textwrap.wrap(reason, 80, initial_indent=" " * 4, subsequent_indent=" " * 6)
        return "\n".join(lines)


def _packing_seconds(choice: Choice) -> float | None:
    """Return what packing takes of the predicted time; None where weights are packed already."""
    taken = next(c for c in choice.candidates if c.algorithm is choice.algorithm)
    if choice.frozen or taken.cost is None or not taken.cost.packing_seconds:
        return None
    return taken.cost.packing_seconds


def _amount(flops: float, size: float) -> str:
    return f"{scaled(flops)}FLOP, {scaled(size)}B"


def _contender(
    candidate: Candidate, choice: Choice, peak: Peak | None, measured: Mapping[str, float]
) -> Contender:
    name, cost = str(candidate.algorithm), candidate.cost
    predicted = None if cost is None else candidate.seconds(choice.frozen)
    seconds = measured.get(name, candidate.measured_seconds)
    # A prediction is held against the figures that it is made from, and no others.
    taken = seconds if peak is not None else seconds or predicted
    roof = roof_of(candidate.algorithm, choice.problem, peak).seconds if taken else None
    return Contender(
        algorithm=name,
        chosen=candidate.algorithm is choice.algorithm,
        why_not=candidate.why_not,
        predicted_seconds=predicted,
        measured_seconds=seconds,
        roof=roof / taken if roof is not None and taken else None,
        error_bound=candidate.error_bound,
        workspace_bytes=None if cost is None else cost.workspace_bytes,
    )


def _table(contenders: list[Contender]) -> list[str]:
    header = ("algorithm", "predicted", "measured", "roof", "error", "workspace")
    rows = [header, *(_cells(contender) for contender in contenders)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    marks = [" ", *("*" if contender.chosen else " " for contender in contenders)]
    return [
        f"  {mark} " + "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
        for mark, row in zip(marks, rows, strict=True)
    ]


def _cells(contender: Contender) -> tuple[str, ...]:
    bound = contender.error_bound
    return (
        contender.algorithm,
        duration(contender.predicted_seconds),
        duration(contender.measured_seconds),
        percent(contender.roof),
        "-" if bound is None else f"{bound:.1e}",
        f"{scaled(contender.workspace_bytes or 0)}B",
    )


def duration(seconds: float | None) -> str:
    """Write a time in the unit that suits it."""
    if seconds is None:
        return "-"
    for unit, name in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= unit:
            return f"{seconds / unit:,.2f} {name}"
    return f"{seconds * 1e6:.2f} us"


def scaled(count: float) -> str:
    """Write a count with a decimal prefix, ready for its unit."""
    for unit, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:,.1f} {prefix}"
    return f"{count:.0f} "
