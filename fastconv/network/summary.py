"""A table of what a network does: shapes, parameters, work and receptive field, layer by layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from fastconv.dispatch.choose import Choice, choose
from fastconv.network.trace import Field, Step, Trace, trace
from fastconv.problem import Shape
from fastconv.problem.values import dtype_of, shapes_of, shown


@dataclasses.dataclass(frozen=True)
class Row:
    """One layer: its output without the batch, and what it costs."""

    layer: str
    kind: str
    output_shape: Shape
    parameters: int
    macs: int
    receptive_field: Shape | None
    algorithm: str


@dataclasses.dataclass(frozen=True)
class Summary:
    """The rows of a network and their totals; printing it gives the table.

    ``memory`` is a line about the memory that a compiled network takes.
    """

    title: str
    rows: tuple[Row, ...]
    memory: str = ""

    @property
    def total_parameters(self) -> int:
        """Learnable numbers in all layers; a layer that runs twice counts once."""
        return sum({(row.layer, row.kind): row.parameters for row in self.rows}.values())

    @property
    def total_macs(self) -> int:
        """Multiply-accumulates of one forward pass over the batch that was given."""
        return sum(row.macs for row in self.rows)

    @property
    def receptive_field(self) -> Shape | None:
        """What one output of the last layer sees of the input; None: all of it."""
        return self.rows[-1].receptive_field if self.rows else None

    def __str__(self) -> str:
        header = ("layer", "kind", "output", "parameters", "MACs", "field", "algorithm")
        lines = [header, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
        right = {3, 4, 5}
        text = [self.title] if self.title else []
        for line in lines:
            cells = [
                cell.rjust(width) if i in right else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            text.append("  ".join(cells).rstrip())
        text.insert(len(text) - len(self.rows), "  ".join("-" * width for width in widths))
        text.append(
            f"total: {self.total_parameters:,} parameters, {self.total_macs:,} multiply-accumulates"
        )
        if self.memory:
            text.append(self.memory)
        return "\n".join(text)


def summarise(
    function: Callable[..., Any],
    input_shape: Any,
    *,
    dtype: Any = "float32",
    title: str | None = None,
) -> Summary:
    """Trace a module or network on shapes alone, and tabulate its layers.

    Parameters
    ----------
    function : callable
        A module, a network, or any function over the functional API.
    input_shape : tuple of ints, or a sequence of such tuples
        With the batch; several for several inputs.
    dtype : dtype
        Of the inputs.
    """
    if not callable(function):
        raise TypeError(
            f"function must be a module, a network or a function, not {shown(function)}"
        )
    kind = dtype_of(dtype, "dtype")
    traced = trace(function, [(shape, kind) for shape in shapes_of(input_shape)])
    return tabulate(traced, type(function).__name__ if title is None else title)


def tabulate(traced: Trace, title: str) -> Summary:
    """Return the rows of a trace."""
    return Summary(title, tuple(_row(step) for step in traced.steps))


def choice_of(step: Step, *, frozen: bool = True) -> Choice | None:
    """Return the algorithm that a step runs, with those that were asked; None for NumPy's own.

    Parameters that are not ``frozen`` are packed at each call.
    """
    if step.problem is None:
        return None
    return choose(step.problem, algorithm=step.algorithm, backend=step.backend, frozen=frozen)


def _row(step: Step) -> Row:
    choice = choice_of(step)
    problem = step.problem
    return Row(
        layer=step.layer,
        kind=step.kind,
        output_shape=step.output_shape[1:],
        parameters=0 if problem is None else problem.parameter_count,
        macs=0 if problem is None else problem.macs,
        receptive_field=_size(step.field),
        algorithm=step.runner if choice is None else str(choice.algorithm),
    )


def _size(field: Field) -> Shape | None:
    return field.size


def _cells(row: Row) -> tuple[str, ...]:
    field = "all" if row.receptive_field is None else "x".join(map(str, row.receptive_field))
    return (
        row.layer or "-",
        row.kind,
        str(row.output_shape),
        f"{row.parameters:,}",
        f"{row.macs:,}",
        field or "-",
        row.algorithm,
    )
