"""Control flow: nodes that hold graphs and run them. Values captured from outside come last.

A graph's inputs are its own, then what it captures; its outputs are its own. Graphs are run one
pass after the other, each node by the same operations as outside.

Models may ask for loops without end. Those that can be seen to have none are refused after their
first pass, others after `MOST_PASSES`.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fastconv.network.limits import allow, owned
from fastconv.network.trace import Traced

# A trace writes a loop's passes out one by one, up to this many; beyond, it runs node by node.
MOST_TRACED = 256
# Passes that a loop and those inside it may take: at some 20 us each, half a minute.
MOST_PASSES = 1_000_000
_LOOKED_AT = 1000

_passes: contextvars.ContextVar[list[int] | None] = contextvars.ContextVar("passes", default=None)


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

    Raises
    ------
    ValueError
        For more than `MOST_PASSES` passes, and as soon as it is sure that there will be.
    """
    state, captured = list(values[:carried]), values[carried:]
    limit = None if count is None else int(np.asarray(count).reshape(-1)[0])
    going = True if condition is None else _truth(condition)
    stacks: list[list[Any]] = [[] for _ in range(scanned)]
    passes = 0
    with _counted() as spent:
        while going and (limit is None or passes < limit):
            if passes == MOST_TRACED and any(isinstance(v, Traced) for v in (*state, *captured)):
                raise TypeError(f"a loop of more than {MOST_TRACED} passes is not traced")
            given = (np.asarray(passes, np.int64), np.asarray(going), *state, *captured)
            again, *results = _run(body, given)
            going = _truth(again)
            before, state = state, results[:carried]
            for stack, value in zip(stacks, results[carried:], strict=True):
                stack.append(value)
            passes += 1
            spent[0] += 1
            if spent[0] >= MOST_PASSES:
                raise ValueError(f"a loop has not ended after {MOST_PASSES:,} passes")
            if passes % _LOOKED_AT == 0:
                gathered = owned([*state, *stacks]) + 100 * sum(map(_length, (*state, *stacks)))
                allow((gathered,), np.uint8, what="what a loop has gathered")
            if passes % _LOOKED_AT == 1 and going and (limit is None or limit > MOST_PASSES):
                _refuse_endless(body, before, state)
    ports = body.outputs[1 + carried :]
    if not passes:
        given = (np.asarray(0, np.int64), np.asarray(True), *state, *captured)
        return (*state, *map(_empty, ports, _undeclared(body, given, ports)))
    return (*state, *map(_stacked, stacks))


@contextlib.contextmanager
def _counted() -> Iterator[list[int]]:
    """Yield where passes are counted, one place for a loop and those inside it."""
    outer = _passes.get()
    token = _passes.set([0] if outer is None else outer)
    try:
        counted = _passes.get()
        assert counted is not None
        yield counted
    finally:
        _passes.reset(token)


def _refuse_endless(body: Any, before: Sequence[Any], after: Sequence[Any]) -> None:
    """Raise a ValueError where the condition holds for ever: what it depends on did not change."""
    hangs_on = _condition_hangs_on(body)
    number = body.inputs[0].name
    if hangs_on is None or number in hangs_on:
        return
    names = [port.name for port in body.inputs[2 : 2 + len(before)]]
    rows = zip(names, before, after, strict=True)
    if all(_is_same(one, other) for name, one, other in rows if name in hangs_on):
        raise ValueError(
            "a loop never ends: nothing that its condition depends on changes, and it has no count "
            f"of passes, or one above {MOST_PASSES:,}"
        )


def _condition_hangs_on(body: Any) -> set[str] | None:
    """Return the inputs that a later pass's condition depends on; None: it is random."""
    nodes = {name: node for node in body.nodes for name in node.outputs if name}
    updates = zip(body.inputs[1:], body.outputs, strict=False)
    results = {port.name: result.name for port, result in updates}
    found: set[str] = set()
    wanted = [body.outputs[0].name]
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        found.add(name)
        node = nodes.get(name)
        if node is not None:
            if _draws(node):
                return None
            wanted += filter(None, node.inputs)
        elif name in results:
            wanted.append(results[name])
    return found & {port.name for port in body.inputs}


def _draws(node: Any) -> bool:
    """Return whether a node, or one of a graph in it, gives random numbers."""
    values = node.attributes.values()
    inner = (each for value in values for each in getattr(value, "nodes", ()))
    return any(getattr(value, "is_random", False) for value in values) or any(map(_draws, inner))


def _is_same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    arrays = isinstance(one, np.ndarray) and isinstance(other, np.ndarray)
    if not arrays or one.dtype.hasobject or (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    return bool(one.tobytes() == other.tobytes())


def _length(value: Any) -> int:
    """Return the elements of a sequence, each of which is an object of about 100 bytes."""
    return len(value) if isinstance(value, list) else 0


def _stacked(values: list[Any], axis: int = 0) -> Any:
    """Stack one entry a pass."""
    first = np.asarray(values[0])
    allow((len(values), *first.shape), first.dtype, what="a stack of passes")
    return np.stack([np.asarray(v) for v in values], axis=axis)


def _empty(port: Any, example: Any, axis: int = 0) -> Any:
    """Return the stack of no pass: as the graph declares its output, else as in an example."""
    if port.any_rank and example is not None:
        shape = [*example.shape]
    else:
        shape = [n if isinstance(n, int) else 0 for n in port.shape]
    shape.insert(axis % (len(shape) + 1), 0)
    dtype = np.float32 if example is None else example.dtype
    return np.empty(shape, port.dtype or dtype)


def _undeclared(body: Any, given: Sequence[Any], ports: Sequence[Any]) -> list[Any]:
    """Return what a pass that is not made would return for outputs without a declared dtype.

    None for others, and where the graph does not run on the values given.
    """
    nothing = [None] * len(ports)
    if all(port.dtype for port in ports):
        return nothing
    try:
        results = _run(body, given)[-len(ports) :]
    except (ValueError, TypeError):
        return nothing
    return [
        None if port.dtype or not hasattr(value, "dtype") else value
        for port, value in zip(ports, results, strict=True)
    ]


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
    if not length:
        slices = [
            np.zeros(np.delete(v.shape, a), v.dtype)
            for v, a in zip(inputs, input_axes, strict=True)
        ]
        ports = body.outputs[carried:]
        examples = _undeclared(body, (*state, *slices, *captured), ports)
        return (*state, *map(_empty, ports, examples, output_axes))
    columns = zip(stacks, output_axes, output_back, strict=True)
    return (*state, *(_ordered(s, a, back) for s, a, back in columns))


def _ordered(values: list[Any], axis: int, back: int) -> Any:
    rank = np.ndim(values[0])
    return _stacked(values[::-1] if back else values, axis % (rank + 1))


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
