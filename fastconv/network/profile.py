"""Where a network's time goes: its operations timed one by one, against the machine's limit."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

from fastconv.arrays import Array
from fastconv.backends.base import roofline
from fastconv.dispatch.choose import choose
from fastconv.machine import get_machine
from fastconv.network.compiled import Compiled
from fastconv.network.program import Op, Solve
from fastconv.network.report import duration, scaled

_WARM_RUNS = 2


@dataclasses.dataclass(frozen=True)
class ProfileRow:
    """One operation: its median time, and what part that is of all operations' times.

    ``begin_seconds`` is where it stands in a run where each follows the one before at once.
    ``roof_seconds`` is the least time that the machine's figures allow on the threads that ran;
    NumPy's own operations, which run in Python, have none. FLOP are those of the definition: an
    algorithm that needs fewer, such as Winograd's, may pass 100% of the roof.
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
        """The part of the machine's limit that it reaches."""
        if self.roof_seconds is None or not self.seconds:
            return None
        return self.roof_seconds / self.seconds


@dataclasses.dataclass(frozen=True)
class Profile:
    """The operations of a network for inputs of one shape, and their times.

    ``seconds`` is the median time of the whole as it is always run, in one native call where
    that can be; run one by one the operations take a little longer, since threads meet after
    each.
    """

    name: str
    input_shapes: tuple[tuple[int, ...], ...]
    rows: tuple[ProfileRow, ...]
    seconds: float
    runs: int
    threads: int

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
        return f"{self.name} {shapes}, {threads}: {duration(self.seconds)}, {self.roof:.0%} of roof"

    def as_dict(self) -> dict[str, Any]:
        """Give plain values, for programs."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        rows = [
            {
                **dataclasses.asdict(row),
                "flops_per_second": row.flops_per_second,
                "roof": row.roof,
            }
            for row in self.rows
        ]
        return {**own, "roof_seconds": self.roof_seconds, "roof": self.roof, "rows": rows}

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
                    "GFLOP/s": row.flops_per_second / 1e9, "roof": row.roof,
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
    threads = executor.threads
    columns = list(zip(*timed, strict=True))
    medians = [statistics.median(span.end - span.begin for span in column) for column in columns]
    together = sum(medians)
    begins = _begins(medians)
    rows = tuple(
        _row(column[0].op, seconds, seconds / together if together else 0.0, begin, threads)
        for column, seconds, begin in zip(columns, medians, begins, strict=True)
    )
    shapes = tuple(tuple(value.shape) for value in inputs)
    return Profile(name, shapes, rows, statistics.median(whole), runs, threads)


def _begins(seconds: Sequence[float]) -> list[float]:
    """Give when each operation begins where one follows the other at once."""
    begins, now = [], 0.0
    for each in seconds:
        begins.append(now)
        now += each
    return begins


def _row(op: Op, seconds: float, share: float, begin: float, threads: int) -> ProfileRow:
    if not isinstance(op, Solve):
        return ProfileRow(op.layer, op.kind, op.fused, "numpy", seconds, share, 0, None, begin)
    problem = op.problem
    chosen = choose(problem, algorithm=op.algorithm, backend=op.backend).algorithm
    roof = roofline(problem, get_machine(), flops=problem.flops, bytes=problem.bytes) / threads
    return ProfileRow(
        op.layer, op.kind, op.fused, str(chosen), seconds, share, problem.flops, roof, begin
    )


def _cells(row: ProfileRow) -> tuple[str, ...]:
    return (
        row.layer or "-",
        row.kind,
        row.algorithm,
        duration(row.seconds),
        scaled(row.flops_per_second).strip() if row.flops else "-",
        f"{row.share:.1%}",
        "-" if row.roof is None else f"{row.roof:.0%}",
    )
