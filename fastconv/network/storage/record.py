"""A module's network as a graph: the calls that it makes on shapes, written down.

What it does with other batches is told by tracing several: numbers that differ must be a multiple
of the batch and an offset. Where they are not, the graph is for the ports' shapes with a batch of
one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from fastconv.dispatch import Parameter
from fastconv.dispatch.stored import StoredParameter, is_array
from fastconv.network.graph import Graph, Node, Port
from fastconv.network.lowering import lower
from fastconv.network.program import Solve
from fastconv.network.recorded import NUMPY
from fastconv.network.storage.posing import posing_of
from fastconv.network.storage.values import Arrays, Json, decode, encode
from fastconv.network.template import split
from fastconv.network.trace import NumpyCall, Step, Trace, Traced, trace

# Two batches give factor and offset, the others try them.
_BATCHES = (2, 3, 1, 5)
_BATCH = ":batch"


@dataclasses.dataclass(frozen=True)
class _Draft:
    """A node whose attributes are JSON, so that they compare."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Json
    name: str
    kind: str


@dataclasses.dataclass(frozen=True)
class _Record:
    nodes: tuple[_Draft, ...]
    outputs: tuple[str, ...]


def record(
    function: Callable[..., Any], inputs: Sequence[Port], outputs: Sequence[Port], name: str
) -> Graph:
    """Return a function over the functional API as a graph that poses the same problems.

    Raises
    ------
    ValueError
        For what cannot be traced or written down, by its layer's name.
    """
    open_batch = any(port.shape and not isinstance(port.shape[0], int) for port in inputs)
    for port in inputs:
        if any(not isinstance(n, int) for n in port.shape[1:]):
            raise ValueError(
                f"input {port.name!r} of shape {list(port.shape)} has open sizes besides its "
                f"batch: a network of a module can be saved for fixed sizes alone"
            )
    recorder = _Recorder(function, inputs, len(outputs))
    found = recorder.for_any_batch() if open_batch else None
    batched = found is not None
    if found is None:
        found = recorder.record(1)
        inputs = [_closed(port) for port in inputs]
        if open_batch:
            outputs = [_closed(port) for port in outputs]
    graph = recorder.graph(found, inputs, outputs, name, batched)
    _check(graph, function, recorder.specs(1))
    return graph


class _Recorder:
    def __init__(self, function: Callable[..., Any], inputs: Sequence[Port], count: int) -> None:
        self._function = function
        self._inputs = inputs
        self._count = count
        self._arrays = Arrays()

    def specs(self, batch: int) -> list[tuple[tuple[int, ...], str]]:
        shapes = [
            tuple(n if isinstance(n, int) else batch for n in port.shape) for port in self._inputs
        ]
        return [(s, port.dtype) for s, port in zip(shapes, self._inputs, strict=True)]

    def for_any_batch(self) -> _Record | None:
        """Return what holds for every batch; None where nothing does."""
        try:
            first, second, *others = (self.record(batch) for batch in _BATCHES)
        except (TypeError, ValueError):
            return None
        try:
            merged = _merged(first, second, _BATCHES[0], _BATCHES[1])
            pairs = zip(others, _BATCHES[2:], strict=True)
            return merged if all(_at(merged, n) == other for other, n in pairs) else None
        except _Differs:
            return None

    def record(self, batch: int) -> _Record:
        traced = trace(self._function, self.specs(batch))
        if len(traced.outputs) != self._count:
            raise ValueError(f"it gives {len(traced.outputs)} outputs, not {self._count}")
        return _Writer(traced, [port.name for port in self._inputs], self._arrays).record()

    def graph(
        self, found: _Record, inputs: Sequence[Port], outputs: Sequence[Port], name: str,
        batched: bool,
    ) -> Graph:  # fmt: skip
        constants = {f":{n}": _parameter(array) for n, array in enumerate(self._arrays.held)}
        read = {name for node in found.nodes for name in node.inputs} | set(found.outputs)
        nodes = [self._node(draft) for draft in found.nodes]
        if batched:
            source = next(port for port in inputs if not isinstance(port.shape[0], int))
            nodes.insert(0, Node("shape", (source.name,), (_BATCH,), {"start": 0, "end": 1}))
        # An output may be an input, a constant, or another output too.
        for given, port in zip(found.outputs, outputs, strict=True):
            nodes.append(Node("identity", (given,), (port.name,)))
        kept = {name: array for name, array in constants.items() if name in read}
        return Graph(tuple(inputs), tuple(outputs), tuple(nodes), kept, name)

    def _node(self, draft: _Draft) -> Node:
        attributes = decode({"dict": draft.attributes}, list(self._arrays.held), _no_graph)
        inputs = draft.inputs
        if _hangs_on_batch(draft.attributes):
            attributes["batched"] = True
            inputs = (*inputs, _BATCH)
        return Node(draft.op, inputs, draft.outputs, attributes, draft.name, draft.kind)


class _Writer:
    """Writes down one trace."""

    def __init__(self, traced: Trace, names: Sequence[str], arrays: Arrays) -> None:
        self._trace = traced
        self._arrays = arrays
        self._names = {id(v): name for v, name in zip(traced.inputs, names, strict=True)}

    def record(self) -> _Record:
        nodes = tuple(self._step(step) for step in self._trace.steps)
        return _Record(nodes, tuple(self._name(value) for value in self._trace.outputs))

    def _name(self, value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, Traced):
            return self._names.setdefault(id(value), f":value{len(self._names)}")
        return f":{self._arrays.add(value)}"

    def _step(self, step: Step) -> _Draft:
        try:
            if step.problem is not None:
                op, values, attributes = self._problem(step)
            else:
                assert step.call is not None
                op, values, attributes = self._numpy(step.call)
            encoded = {k: encode(v, self._arrays, _no_graph) for k, v in attributes.items()}
        except ValueError as error:
            raise ValueError(f"layer {step.layer!r} ({step.kind}): {error}") from None
        inputs = tuple(map(self._name, values))
        outputs = tuple(map(self._name, step.results))
        return _Draft(op, inputs, outputs, encoded, step.layer, step.kind)

    def _problem(self, step: Step) -> tuple[str, list[Any], dict[str, Any]]:
        assert step.problem is not None
        posing = posing_of(step.problem)
        asked = {"algorithm": step.algorithm, "backend": step.backend}
        options = {**posing.options, **{k: v for k, v in asked.items() if v is not None}}
        named = [
            *zip(posing.inputs, step.operands, strict=False),
            *zip(posing.parameters, step.parameters, strict=False),
        ]
        given = {name: value for name, value in named if value is not None}
        attributes = {"function": posing.function, "arrays": tuple(given), "options": options}
        return "functional", list(given.values()), attributes

    def _numpy(self, call: NumpyCall) -> tuple[str, list[Any], dict[str, Any]]:
        function = "astype" if call.function.__name__ == "as_type" else call.function.__name__
        if function not in NUMPY or (function != "astype" and NUMPY[function] is not call.function):
            raise ValueError(f"{call.function!r} cannot be saved: it is not a function of NumPy's")
        values: list[Any] = []
        arguments, options = split((tuple(call.arguments), call.options), _is_array, values)
        attributes = {"function": function, "arguments": arguments, "options": options}
        return "numpy", values, attributes


def _is_array(value: Any) -> bool:
    return isinstance(value, Traced) or is_array(value)


def _parameter(array: Any) -> Any:
    return array if isinstance(array, StoredParameter) else Parameter(array)


def _no_graph(*_: Any) -> Any:
    raise ValueError("a graph cannot be an argument of a call")


# What holds for any batch


class _Differs(Exception):
    """Two records that no one record stands for."""


def _merged(first: _Record, second: _Record, a: int, b: int) -> _Record:
    """Return the record of any batch of those of two."""
    if len(first.nodes) != len(second.nodes) or first.outputs != second.outputs:
        raise _Differs
    nodes = []
    for one, other in zip(first.nodes, second.nodes, strict=True):
        attributes = _joined(one.attributes, other.attributes, a, b)
        if dataclasses.replace(other, attributes=one.attributes) != one:
            raise _Differs
        nodes.append(dataclasses.replace(one, attributes=attributes))
    return _Record(tuple(nodes), first.outputs)


def _joined(one: Json, other: Json, a: int, b: int) -> Json:
    if type(one) is not type(other):
        raise _Differs
    if isinstance(one, dict):
        if one.keys() != other.keys() or ({"array", "scalar"} & one.keys() and one != other):
            raise _Differs
        return {key: _joined(value, other[key], a, b) for key, value in one.items()}
    if isinstance(one, list):
        if len(one) != len(other):
            raise _Differs
        return [_joined(x, y, a, b) for x, y in zip(one, other, strict=True)]
    if one == other:
        return one
    if type(one) is not int:
        raise _Differs
    factor, rest = divmod(other - one, b - a)
    if rest:
        raise _Differs
    return {"batch": [factor, one - factor * a]}


def _at(found: _Record, batch: int) -> _Record:
    """Return the record of one batch."""

    def inner(tree: Json) -> Json:
        if isinstance(tree, list):
            return [inner(item) for item in tree]
        if not isinstance(tree, dict):
            return tree
        if tree.keys() == {"batch"} and isinstance(tree["batch"], list):
            factor, offset = tree["batch"]
            return factor * batch + offset
        return {key: inner(value) for key, value in tree.items()}

    nodes = (dataclasses.replace(n, attributes=inner(n.attributes)) for n in found.nodes)
    return _Record(tuple(nodes), found.outputs)


def _hangs_on_batch(tree: Json) -> bool:
    if isinstance(tree, dict):
        return tree.keys() == {"batch"} or any(map(_hangs_on_batch, tree.values()))
    return isinstance(tree, list) and any(map(_hangs_on_batch, tree))


def _closed(port: Port) -> Port:
    return dataclasses.replace(
        port, shape=tuple(n if isinstance(n, int) else 1 for n in port.shape)
    )


# The same problems


def _check(graph: Graph, function: Callable[..., Any], specs: Any) -> None:
    """Refuse a graph that does not pose the same problems that the function does.

    Raises
    ------
    ValueError
        With the first layer that differs.
    """
    names = [port.name for port in graph.inputs]

    def run(*values: Any) -> tuple[Any, ...]:
        return tuple(graph.run(dict(zip(names, values, strict=True))))

    ours, theirs = (
        [op for op in lower(trace(f, specs)).ops if isinstance(op, Solve)] for f in (run, function)
    )
    for own, wanted in zip(ours, theirs, strict=True):
        same = (own.problem, own.algorithm, own.backend) == (
            wanted.problem, wanted.algorithm, wanted.backend,
        )  # fmt: skip
        if not same:
            raise ValueError(f"layer {wanted.layer!r} ({wanted.kind}) cannot be saved as it is")
