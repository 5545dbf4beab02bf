"""One run of a network with the times of its operations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastconv.arrays import ready
from fastconv.dispatch.choose import choose
from fastconv.network.compiled import Shapes
from fastconv.network.executor import Span
from fastconv.network.graph import Graph, Node
from fastconv.network.program import Solve


class TimedSpan(NamedTuple):
    """An operation of one run: when it began and ended, by ``time.perf_counter``.

    ``fused`` names what it does besides; ``algorithm`` is "numpy" where no kernel runs.
    """

    name: str
    kind: str
    algorithm: str
    fused: tuple[str, ...]
    begin: float
    end: float


def run_timed(
    function: Any, shapes: Shapes, inputs: Sequence[Any], max_memory: int | None
) -> tuple[list[Any], list[TimedSpan]]:
    """Run checked inputs operation by operation; return the outputs and the times.

    A function that cannot be traced and is not a graph has one span, the whole.
    """
    arrays = all(isinstance(value, np.ndarray) for value in inputs)
    found = shapes.compiled([(v.shape, v.dtype) for v in inputs]) if arrays else None
    if found is not None:
        outputs, spans = found.executor.run_spans([ready(value) for value in inputs])
        return outputs, [_of_op(span) for span in spans]
    graph = getattr(function, "graph", None)
    if not isinstance(graph, Graph):
        begin = time.perf_counter()
        results = shapes.run(inputs)
        return results, [TimedSpan("run", "run", "numpy", (), begin, time.perf_counter())]
    times: list[TimedSpan] = []

    def watch(node: Node, begin: float) -> None:
        kind = node.kind or str(node.attributes.get("function", node.op))
        times.append(TimedSpan(node.name or kind, kind, "numpy", (), begin, time.perf_counter()))

    given = dict(zip((port.name for port in graph.inputs), inputs, strict=True))
    return graph.run(given, max_memory=max_memory, watch=watch), times


def _of_op(span: Span) -> TimedSpan:
    op = span.op
    algorithm = "numpy"
    if isinstance(op, Solve):
        chosen = choose(op.problem, algorithm=op.algorithm, backend=op.backend)
        algorithm = str(chosen.algorithm)
    return TimedSpan(op.layer or op.kind, op.kind, algorithm, op.fused, span.begin, span.end)
