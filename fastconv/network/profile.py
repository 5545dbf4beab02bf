"""Where a network's time goes: its operations timed one by one, against the machine's limit."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

from fastconv import peak as peaks
from fastconv.arrays import Array
from fastconv.dispatch.choose import choose
from fastconv.network.compiled import Compiled
from fastconv.network.executor import Executor
from fastconv.network.program import Op, Solve
from fastconv.network.report import duration, scaled
from fastconv.network.roofs import FIXED, MEASURED, percent, roof_of, why_above
from fastconv.peak import Peak

_WARM_RUNS = 2


@dataclasses.dataclass(frozen=True)
class ProfileRow:
    """One operation: its median time, and what part that is of all operations' times.

    ``begin_seconds`` is its start in a run where each follows the one before at once.
    ``roof_seconds`` is the least time that this machine's limits allow what the algorithm
    executes, on the threads that ran. NumPy's own operations, which run in Python, have none, nor
    has what runs no kernel ("in place"). ``flops`` are those of the definition.
    """

    layer: str
    kind: str
    fused: tuple[str, ...]
    algorithm: str
    seconds: float
    share: float
    flops: int
    roof_seconds: float | None
    begin_seconds: float

    @property
    def name(self) -> str:
        """The layer, or where it has no name the kind."""
        return self.layer or self.kind

    @property
    def flops_per_second(self) -> float:
        """Operations of the definition a second."""
        return self.flops / self.seconds if self.seconds else 0.0

    @property
    def roof(self) -> float | None:
        """The part of the machine's limit that it reaches; see `Profile.limits`."""
        if self.roof_seconds is None or not self.seconds:
            return None
        return self.roof_seconds / self.seconds


@dataclasses.dataclass(frozen=True)
class Profile:
    """The operations of a network for inputs of one shape, and their times.

    ``seconds`` is the median time of the whole as it is always run, in one native call where
    that can be; run one by one the operations take a little longer, since threads meet after
    each. ``limits`` tells what roofs are made of: "as measured here", or "by the fixed figures"
    where nothing can be measured. ``peak`` are the figures measured.
    """

    name: str
    input_shapes: tuple[tuple[int, ...], ...]
    rows: tuple[ProfileRow, ...]
    seconds: float
    runs: int
    threads: int
    peak: Peak | None = None

    @property
    def limits(self) -> str:
        """What roofs are made of."""
        return FIXED if self.peak is None else MEASURED

    @property
    def why_above(self) -> str | None:
        """Why a part of a roof is above 100 %; None: none is."""
        parts = [self.roof, *(row.roof for row in self.rows if row.roof is not None)]
        return why_above(max(parts), self.limits)

    @property
    def roof_seconds(self) -> float:
        """The least time that the machine's figures allow the operations, one by one."""
        return sum(row.roof_seconds or 0.0 for row in self.rows)

    @property
    def roof(self) -> float:
        """The part of the machine's limit that the whole reaches."""
        return self.roof_seconds / self.seconds if self.seconds else 0.0

    @property
    def title(self) -> str:
        """The network, its inputs' shapes, the whole's time and part of the roof."""
        shapes = " + ".join("x".join(map(str, shape)) for shape in self.input_shapes)
        threads = f"{self.threads} thread" + "s" * (self.threads != 1)
        why = why_above(self.roof, self.limits)
        part = f"{percent(self.roof)} of roof" + (f" ({why})" if why else "")
        return f"{self.name} {shapes}, {threads}: {duration(self.seconds)}, {part}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for programs."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        own["peak"] = None if self.peak is None else dataclasses.asdict(self.peak)
        rows = [
            {
                **dataclasses.asdict(row),
                "flops_per_second": row.flops_per_second,
                "roof": row.roof,
                "why_above": why_above(row.roof, self.limits),
            }
            for row in self.rows
        ]
        roof = {
            "roof_seconds": self.roof_seconds, "roof": self.roof, "limits": self.limits,
            "why_above": self.why_above,
        }  # fmt: skip
        return {**own, **roof, "rows": rows}

    def save_trace(self, path: str | os.PathLike[str]) -> None:
        """Write a run of median times as the JSON that chrome://tracing and Perfetto show."""
        events: list[dict[str, Any]] = [
            {"name": "process_name", "ph": "M", "pid": 0, "tid": 0, "args": {"name": self.title}}
        ]
        events += [
            {
                "name": row.name, "cat": row.kind, "ph": "X", "pid": 0, "tid": 0,
                "ts": row.begin_seconds * 1e6, "dur": row.seconds * 1e6,
                "args": {
                    "kind": row.kind, "algorithm": row.algorithm, "fused": list(row.fused),
                    "GFLOP/s": row.flops_per_second / 1e9, "roof": percent(row.roof),
                    "why_above": why_above(row.roof, self.limits),
                },
            }
            for row in self.rows
        ]  # fmt: skip
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": events, "displayTimeUnit": "ms"}, file)

    def save_timeline(self, path: str | os.PathLike[str]) -> None:
        """Draw a run of median times, a colour a kind; the suffix tells the format, such as .png.

        Raises
        ------
        ValueError
            Where matplotlib (the extra ``fastconv[plot]``) is missing.
        """
        from fastconv.network.drawing import draw_timeline

        draw_timeline(self).savefig(path)

    def __str__(self) -> str:
        header = ("layer", "kind", "algorithm", "time", "FLOP/s", "share", "roof")
        lines = [header, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
        text = [self.title]
        for line in lines:
            cells = [
                cell.rjust(width) if i > 2 else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            text.append("  ".join(cells).rstrip())
        text.insert(2, "  ".join("-" * width for width in widths))
        together = sum(row.seconds for row in self.rows)
        text.append(f"roof {self.limits}" + ("" if self.peak is None else f": {self.peak}"))
        if self.why_above is not None:
            text.append(f"> 100%: {self.why_above}")
        text.append(f"one by one: {duration(together)}; medians of {self.runs} runs")
        return "\n".join(text)


def take_profile(compiled: Compiled, inputs: Sequence[Array], name: str, runs: int) -> Profile:
    """Time a program's operations and the whole on contiguous arrays of its shapes.

    Raises
    ------
    ValueError
        For less than one run.
    """
    if runs < 1:
        raise ValueError(f"a profile takes one run or more, but got {runs}")
    executor = compiled.executor
    for _ in range(_WARM_RUNS):
        executor.run(inputs)
    whole, timed = [], []
    for _ in range(runs):
        begin = time.perf_counter()
        executor.run(inputs)
        whole.append(time.perf_counter() - begin)
        timed.append(executor.run_timed(inputs))
    # After the runs, so that they do not wait; the first time takes a while.
    peak, threads = peaks.measured(), executor.threads
    columns = list(zip(*timed, strict=True))
    medians = [statistics.median(span.end - span.begin for span in column) for column in columns]
    together = sum(medians)
    begins = _begins(medians)
    rows = tuple(
        _row(column[0].op, seconds, seconds / together if together else 0.0, begin, executor, peak)
        for column, seconds, begin in zip(columns, medians, begins, strict=True)
    )
    shapes = tuple(tuple(value.shape) for value in inputs)
    return Profile(name, shapes, rows, statistics.median(whole), runs, threads, peak)


def _begins(seconds: Sequence[float]) -> list[float]:
    """Return when each operation begins where one follows the other at once."""
    begins, now = [], 0.0
    for each in seconds:
        begins.append(now)
        now += each
    return begins


def _row(
    op: Op, seconds: float, share: float, begin: float, executor: Executor, peak: Peak | None
) -> ProfileRow:
    def row(algorithm: str, flops: int, roof: float | None) -> ProfileRow:
        return ProfileRow(
            op.layer, op.kind, op.fused, algorithm, seconds, share, flops, roof, begin
        )

    if not isinstance(op, Solve):
        return row("numpy", 0, None)
    copied = executor.copied(op)
    if copied == 0:
        return row("in place", 0, None)
    chosen = choose(op.problem, algorithm=op.algorithm, backend=op.backend).algorithm
    roof = roof_of(
        chosen, op.problem.without_idle(), peak,
        threads=executor.threads, pieces=executor.pieces(op), share=copied,
    )  # fmt: skip
    return row(str(chosen), op.problem.flops, roof.seconds)


def _cells(row: ProfileRow) -> tuple[str, ...]:
    return (
        row.layer or "-",
        row.kind,
        row.algorithm,
        duration(row.seconds),
        scaled(row.flops_per_second).strip() if row.flops else "-",
        f"{row.share:.1%}",
        percent(row.roof),
    )
