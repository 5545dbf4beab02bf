"""What tuning found: predicted against measured, what changes, and what is gained."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from fastconv.dispatch.measure import Measurement
from fastconv.tuning.shapes import text_of


@dataclasses.dataclass(frozen=True)
class Tuned:
    """One problem: how often it was met and what was measured."""

    name: str
    count: int
    measurement: Measurement

    @property
    def problem(self) -> str:
        """The problem as text, in the form that `fastconv tune --conv` reads."""
        return text_of(self.measurement.problem)

    @property
    def predicted(self) -> str:
        """The algorithm that is taken without a table."""
        return str(self.measurement.predicted)

    @property
    def measured(self) -> str | None:
        """The fastest algorithm; None where none gave the right answer."""
        return self.measurement.fastest

    @property
    def gain(self) -> float:
        """How many times faster the fastest is than what was predicted; 1 where not known."""
        seconds = self.measurement.seconds
        if self.measured is None or self.predicted not in seconds:
            return 1.0
        return seconds[self.predicted] / seconds[self.measured]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for programs."""
        costs = {str(c.algorithm): c.cost for c in self.measurement.candidates}
        return {
            "name": self.name,
            "count": self.count,
            "problem": self.problem,
            "predicted": self.predicted,
            "measured": self.measured,
            "gain": self.gain,
            "predicted_seconds": {
                name: cost.seconds for name, cost in costs.items() if cost is not None
            },
            "measured_seconds": dict(self.measurement.seconds),
            "failed": dict(self.measurement.failed),
        }


@dataclasses.dataclass(frozen=True)
class Report:
    """All that was tuned, and where the table is; printing it gives a table."""

    rows: tuple[Tuned, ...]
    skipped: tuple[str, ...]
    path: Path
    machine: str

    @property
    def geomean_gain(self) -> float:
        """Geometric mean of the gains, each problem once."""
        logs = [math.log(row.gain) for row in self.rows]
        return math.exp(sum(logs) / len(logs)) if logs else 1.0

    @property
    def changed(self) -> tuple[Tuned, ...]:
        """The problems whose algorithm is another than was predicted."""
        return tuple(row for row in self.rows if row.measured not in (None, row.predicted))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for programs."""
        return {
            "machine": self.machine,
            "table": str(self.path),
            "geomean_gain": self.geomean_gain,
            "changed": len(self.changed),
            "problems": [row.as_dict() for row in self.rows],
            "skipped": list(self.skipped),
        }

    def __str__(self) -> str:
        header = ("problem", "predicted", "measured", "us", "gain")
        lines = [header, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
        text = ["  ".join(_aligned(line, widths)).rstrip() for line in lines]
        text.insert(1, "  ".join("-" * width for width in widths))
        for row in self.rows:
            for name, why in row.measurement.failed.items():
                text.append(f"{row.problem}: {name} is left out: {why}")
        text += [f"skipped: {why}" for why in self.skipped]
        text.append(
            f"{len(self.rows)} problems, {len(self.changed)} change; "
            f"geometric mean of the gains {self.geomean_gain:.2f}x"
        )
        return "\n".join(text)


def _aligned(cells: tuple[str, ...], widths: list[int]) -> list[str]:
    return [
        cell.rjust(width) if i > 2 else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]


def _cells(row: Tuned) -> tuple[str, ...]:
    if row.measured is None:
        return row.problem, _short(row.predicted), "none", "", ""
    same = row.measured == row.predicted
    return (
        row.problem,
        _short(row.predicted),
        "same" if same else _short(row.measured),
        f"{row.measurement.seconds[row.measured] * 1e6:,.1f}",
        "" if same else f"{row.gain:.2f}x",
    )


def _short(algorithm: str) -> str:
    return algorithm.removeprefix("numba.")
