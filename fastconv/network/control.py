"""Control flow: nodes that hold graphs and run them. Values captured from outside come last.

A graph's inputs are its own, then what it captures; its outputs are its own. Graphs are run one
pass after the other, each node by the same operations as outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv.network.limits import allow, owned
from fastconv.network.trace import Traced

# A trace writes a loop's passes out one by one, up to this many; beyond, it runs node by node.
MOST_TRACED = 256


def _run(graph: Any, values: Sequence[Any]) -> list[Any]:
    """Run a graph on values in the order of its inputs."""
    names = [port.name for port in graph.inputs]
    results: list[Any] = graph.run(dict(zip(names, values, strict=True)))
    return results


def _truth(value: Any) -> bool:
    flat = np.asarray(value).reshape(-1)
    if flat.size != 1:
        raise ValueError(f"a condition takes one element, but got {flat.size}")
    return bool(flat[0])


def branch(condition: Any, *captured: Any, then: Any, otherwise: Any, split: int) -> Any:
    """Run one of two graphs; the first ``split`` captured values are the first one's."""
    chosen = _truth(condition)
    graph = then if chosen else otherwise
    return tuple(_run(graph, captured[:split] if chosen else captured[split:]))


def loop(
    count: Any, condition: Any, *values: Any, body: Any, carried: int, scanned: int
) -> tuple[Any, ...]:
    """Run a graph while its first output holds and fewer than ``count`` passes are done.

    The graph takes the pass's number, the condition and the ``carried`` values; its last
    ``scanned`` outputs are stacked, one entry a pass.
    """
    state, captured = list(values[:carried]), values[carried:]
    limit = None if count is None else int(np.asarray(count).reshape(-1)[0])
    going = True if condition is None else _truth(condition)
    stacks: list[list[Any]] = [[] for _ in range(scanned)]
    passes = 0
    while going and (limit is None or passes < limit):
        if passes == MOST_TRACED and any(isinstance(v, Traced) for v in (*state, *captured)):
            raise TypeError(f"a loop of more than {MOST_TRACED} passes is not traced")
        given = (np.asarray(passes, np.int64), np.asarray(going), *state, *captured)
        again, *results = _run(body, given)
        going = _truth(again)
        state = results[:carried]
        for stack, value in zip(stacks, results[carried:], strict=True):
            stack.append(value)
        passes += 1
        if passes % 1000 == 0:
            gathered = owned([*state, *stacks]) + 100 * sum(map(_length, (*state, *stacks)))
            allow((gathered,), np.uint8, what="what a loop has gathered")
    ports = body.outputs[1 + carried :]
    return (*state, *(_stacked(s, port) for s, port in zip(stacks, ports, strict=True)))


def _length(value: Any) -> int:
    """Give the elements of a sequence, each of which is an object of about 100 bytes."""
    return len(value) if isinstance(value, list) else 0


def _stacked(values: list[Any], port: Any, axis: int = 0) -> Any:
    """Stack one entry a pass; without any pass, the shape is what the graph declares."""
    if not values:
        shape = [n if isinstance(n, int) else 0 for n in port.shape]
        shape.insert(axis, 0)
        return np.empty(shape, port.dtype or np.float32)
    first = np.asarray(values[0])
    allow((len(values), *first.shape), first.dtype, what="a stack of passes")
    return np.stack([np.asarray(v) for v in values], axis=axis)


def scan(
    *values: Any, body: Any, carried: int, scanned: int, input_axes: Sequence[int],
    input_back: Sequence[int], output_axes: Sequence[int], output_back: Sequence[int],
) -> tuple[Any, ...]:  # fmt: skip
    """Run a graph once for each slice of the ``scanned`` inputs, passing state along."""
    state = list(values[:carried])
    inputs = [np.asarray(v) for v in values[carried : carried + scanned]]
    captured = values[carried + scanned :]
    lengths = {v.shape[a] for v, a in zip(inputs, input_axes, strict=True)}
    if len(lengths) != 1:
        raise ValueError(f"scanned inputs must be of one length, but got {sorted(lengths)}")
    (length,) = lengths
    stacks: list[list[Any]] = [[] for _ in output_axes]
    for step in range(length):
        slices = [
            np.take(v, length - 1 - step if back else step, axis=a)
            for v, a, back in zip(inputs, input_axes, input_back, strict=True)
        ]
        results = _run(body, (*state, *slices, *captured))
        state = results[:carried]
        for stack, value in zip(stacks, results[carried:], strict=True):
            stack.append(value)
    ports = body.outputs[carried:]
    columns = zip(stacks, ports, output_axes, output_back, strict=True)
    stacked = [_ordered(s, p, a, back) for s, p, a, back in columns]
    return (*state, *stacked)


def _ordered(values: list[Any], port: Any, axis: int, back: int) -> Any:
    rank = len(port.shape) if not values else np.ndim(values[0])
    return _stacked(values[::-1] if back else values, port, axis % (rank + 1))


def scan_batches(lengths: Any, *values: Any, carried: int, scanned: int, **options: Any) -> Any:
    """Scan each image of a batch by itself, as ONNX had it in opset 8."""
    own, captured = values[: carried + scanned], values[carried + scanned :]
    batch = own[0].shape[0]
    counts = None if lengths is None else np.asarray(lengths).tolist()
    rows = []
    for image in range(batch):
        given = [np.asarray(v)[image] for v in own]
        if counts is not None:
            full = given[carried:]
            given[carried:] = [v[: counts[image]] for v in full]
        rows.append(scan(*given, *captured, carried=carried, scanned=scanned, **options))
    return tuple(np.stack([row[i] for row in rows]) for i in range(len(rows[0])))


CONTROL: dict[str, Callable[..., Any]] = {
    "branch": branch,
    "loop": loop,
    "scan": scan,
    "scan_batches": scan_batches,
}
