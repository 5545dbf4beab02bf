"""Measure every convolution once, and keep the fastest algorithms in a tuning table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fastconv.dispatch import tuning
from fastconv.dispatch.measure import MEASURED_TYPES, bare, measure
from fastconv.dispatch.table import (
    Fingerprint,
    Row,
    Table,
    check_writable,
    merge,
    problem_key,
)
from fastconv.machine import forced_isa
from fastconv.network import Network
from fastconv.network.lowering import lower
from fastconv.network.passes import run_either_way
from fastconv.network.program import Solve
from fastconv.network.trace import Trace, trace
from fastconv.network.warmup import check_progress
from fastconv.problem import Problem
from fastconv.problem.values import integer, shapes_of, shown
from fastconv.tuning.report import Report, Tuned
from fastconv.tuning.shapes import problem_of, text_of


def tune(
    network: Network | Callable[..., Any] | str | os.PathLike[str] | None = None,
    input_shape: Any = None,
    *,
    shapes: Iterable[str | Problem] = (),
    output: str | os.PathLike[str] | None = None,
    rounds: int = 7,
    progress: Callable[[int, int, str], None] | None = None,
) -> Report:
    """Time the algorithms that can serve each convolution, and keep the fastest for later choices.

    Every algorithm inside ``rtol`` and the workspace limit runs on one image and one thread, in
    turn with the others, and its answer is compared with theirs. What was fastest goes into this
    machine's tuning table, which choices follow from then on, in this process and later ones:
    for an image in any batch, at any number of threads, with any bias, residual and activation.

    Parameters
    ----------
    network : Network, module, callable or path of a model, optional
        Whose convolutions to tune.
    input_shape : tuple of ints, optional
        With the batch; may be left out for a network whose sizes are known.
    shapes : sequence of str or problems, optional
        Convolutions to tune, such as ``"64x128x56x56,k3,s2,p1"``: input and output channels and
        the image's size, then kernel, stride and padding (see ``fastconv tune --help``).
    output : path, optional
        Write the table to this file, and leave this machine's own alone. It is used where it is
        pinned, by `set_tuning` or FASTCONV_TUNING. Rows are added to an existing table.
    rounds : int
        Samples of each algorithm; their median counts.
    progress : callable, optional
        Called with (done, total, name) before each problem and once at the end.

    Returns
    -------
    Report
        Predicted against measured for each problem, and the geometric mean of the gains.

    Raises
    ------
    ValueError
        For a shape that cannot be, a network whose input shape is not known, or an ``output``
        that holds something else than this machine's table.
    OSError
        Where the table cannot be written; found out before anything is measured.
    """
    if integer(rounds, "rounds") < 1:
        raise ValueError(f"rounds must be at least 1, but got {rounds}")
    if output is not None and not isinstance(output, (str, os.PathLike)):
        raise TypeError(f"output must be a str or a path, not {shown(output)}")
    if output is not None and "\0" in os.fsdecode(output):
        raise ValueError(f"output {shown(output)} is not a valid file name")
    check_progress(progress)
    problems = _gathered(network, input_shape, shapes)
    isa = forced_isa()
    path = tuning.default_path(isa) if output is None else Path(output)
    here = Fingerprint.here(isa)
    check_writable(path, here, replace_others=output is None)
    rows: list[Tuned] = []
    skipped: list[str] = []
    try:
        for done, (name, count, problem) in enumerate(problems):
            if progress is not None:
                progress(done, len(problems), text_of(problem))
            try:
                rows.append(Tuned(name, count, measure(problem, rounds=rounds)))
            except (ValueError, MemoryError) as error:
                skipped.append(f"{text_of(problem)}: {str(error) or type(error).__name__}")
        if progress is not None:
            progress(len(problems), len(problems), "")
    finally:  # what was measured is kept, whatever stops the rest
        table = Table.of(here, [row for tuned in rows if (row := _row(tuned)) is not None])
        merge(path, table, replace_others=output is None)
        tuning.forget()
    return Report(tuple(rows), tuple(skipped), path, str(here))


def _row(tuned: Tuned) -> Row | None:
    if tuned.measured is None:
        return None
    measurement = tuned.measurement
    return Row(problem_key(measurement.problem), tuned.measured, measurement.seconds)


def _gathered(
    network: Any, input_shape: Any, shapes: Iterable[str | Problem]
) -> list[tuple[str, int, Problem]]:
    """Return (name, how often, problem) of the convolutions asked for, each once."""
    found = [] if network is None else _ways(_traced(network, input_shape))
    asked: list[tuple[str, Any]] = []
    given: Any = shapes
    if not isinstance(given, (str, Iterable)) or getattr(given, "ndim", 1) == 0:
        raise TypeError(f"shapes must be texts or convolution problems, not {shown(shapes)}")
    for shape in [shapes] if isinstance(shapes, str) else shapes:
        problem = problem_of(shape) if isinstance(shape, str) else shape
        if not isinstance(problem, MEASURED_TYPES):
            raise TypeError(f"shapes takes texts and convolution problems, not {shown(shape)}")
        asked.append((text_of(problem), problem))
    once: dict[Problem, tuple[str, int]] = {}
    for way in [*found, asked]:
        own: dict[Problem, tuple[str, int]] = {}
        for name, problem in way:
            if isinstance(problem, MEASURED_TYPES) and 0 not in problem.output_shape[1:]:
                first, count = own.get(bare(problem), (name, 0))
                own[bare(problem)] = (first, count + 1)
        once = {**once, **{p: told for p, told in own.items() if p not in once}}
    return [(name, count, problem) for problem, (name, count) in once.items()]


def _ways(traced: Trace) -> list[list[tuple[str, Any]]]:
    """Return a network's problems as its layers pose them, and as it does compiled.

    Compiled it may store images channels last: it does what is measured to be faster.
    """
    ways = [[(step.layer or step.kind, step.problem) for step in traced.steps]]
    program = lower(traced)
    if not any(0 in spec.shape for spec in program.values.values()):
        for passed in run_either_way(program):
            solved = [op for op in passed.ops if isinstance(op, Solve)]
            ways.append([(op.layer or op.kind, op.problem) for op in solved])
    return ways


def _traced(network: Any, input_shape: Any) -> Trace:
    if isinstance(network, (str, os.PathLike)):
        from fastconv.formats import load

        network = load(network)
    if isinstance(network, Network):
        return network.trace(input_shape)
    if not callable(network):
        raise TypeError(f"tune takes a network, a module or a path, not {shown(network)}")
    if input_shape is None:
        raise ValueError("tune of a module needs an input_shape, such as (1, 3, 224, 224)")
    kind = np.dtype("float32")
    return trace(network, [(shape, kind) for shape in shapes_of(input_shape)])
