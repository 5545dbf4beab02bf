"""A network as a graph: nodes in order, constants, and the values between them, by name.

A node names an operation of `operations`; shapes are not stored, so that one graph serves any
batch and any image size. Constants are `Parameter`s or `StoredParameter`s: what is packed from them
is kept a shape (but for strings, which are plain arrays).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastconv.dispatch.parameter import Parameter
from fastconv.dispatch.stored import StoredParameter
from fastconv.forks import cached_property
from fastconv.network.errors import raise_of_node
from fastconv.network.limits import SMALL, memory_limit, owned, signature, try_on_shapes
from fastconv.network.operations import operation
from fastconv.network.tolerance import allow_precision, share_out, trace_of
from fastconv.network.trace import Traced, scopes

_MOST_TRIED = 4096
# Operations whose results are no larger than what they are given.
_HARMLESS = frozenset(
    ("cast", "concat", "identity", "reshape", "shape", "size", "slice", "split", "squeeze",
     "transpose", "unsqueeze")
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Port:
    """A network's input or output: its name, its dtype, its shape with names for open sizes.

    ``any_rank``: the shape is not known at all. ``kind`` is ONNX's name of a type that is no
    tensor, such as "seq(tensor(float))": its values are taken as they are.
    """

    name: str
    shape: tuple[int | str | None, ...]
    dtype: str
    any_rank: bool = False
    kind: str = ""


@dataclasses.dataclass(frozen=True)
class Node:
    """One operation: inputs by position ("" is an absent one), then keyword attributes.

    ``kind`` is what summaries call it; where it is empty, the operation's name.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    name: str = ""
    kind: str = ""


@dataclasses.dataclass(frozen=True)
class Graph:
    """Nodes in an order in which each comes after those that it reads from.

    ``rtol`` is an error bound for the whole, and ``precision`` what products may be rounded to: see
    `Network.within` and `Network.with_precision`.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Any]
    name: str = ""
    rtol: float | None = None
    precision: str | None = None
    _tried: set[Any] = dataclasses.field(default_factory=set, init=False, repr=False, compare=False)
    # What nodes on constants alone gave when the graph was traced before, by place.
    _known: dict[int, Any] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    _last: dict[Any, dict[int, list[str]]] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        known = {port.name for port in self.inputs} | set(self.constants)
        for node in self.nodes:
            missing = [name for name in node.inputs if name and name not in known]
            if missing:
                raise ValueError(
                    f"node {node.name!r} ({node.op}) reads {', '.join(map(repr, missing))}, which "
                    f"no input, constant or earlier node gives"
                )
            known.update(node.outputs)
        absent = [port.name for port in self.outputs if port.name not in known]
        if absent:
            raise ValueError(f"outputs {', '.join(map(repr, absent))} are given by no node")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tried": set(), "_known": {}, "_last": {}}

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Nodes that no operation of this package runs, such as "Det (node det1)"."""
        own = (node for node in self.nodes if node.op == "call")
        inner = (
            name
            for node in self.nodes
            for value in node.attributes.values()
            if isinstance(value, Graph)
            for name in value.fallbacks
        )
        return (*(f"{node.attributes['function']} (node {node.name})" for node in own), *inner)

    def run(
        self,
        values: Mapping[str, Any],
        wanted: Sequence[str] | None = None,
        *,
        max_memory: int | None = None,
        watch: Callable[[Node, float], None] | None = None,
    ) -> list[Any]:
        """Run the nodes on arrays (or traced values) by input name; give the ``wanted`` values.

        A value is let go after its last reader. What would take more than ``max_memory`` bytes
        (None: the memory that this process may use) besides inputs and constants is refused before
        it is computed. ``watch`` is told of each node that ran, and when it began
        (``time.perf_counter``).
        """
        names = [port.name for port in self.outputs] if wanted is None else list(wanted)
        last = self._last_readers(names)
        held: dict[str, Any] = {**self.constants, **values}
        traced = trace_of(tuple(values.values()))
        begin = 0 if traced is None else len(traced.steps)
        given = owned(values.values())
        with memory_limit(max_memory), np.errstate(all="ignore"), scopes() as enter:
            for place, node in enumerate(self.nodes):
                known = None if traced is None else self._known.get(place)
                if known is not None:
                    held.update(known)
                    continue
                arguments = [held[name] if name else None for name in node.inputs]
                enter(node.name, node.kind or str(node.attributes.get("function", node.op)))
                if traced is not None and place in self._random and not _reads_traced(arguments):
                    raise TypeError(f"{node.op} draws random numbers: it cannot be traced")
                began = 0.0 if watch is None else time.perf_counter()
                results = self._run_node(place, node, arguments, held, given)
                if watch is not None:
                    watch(node, began)
                if traced is not None and place in self._fixed:
                    kept = _frozen(results, arguments)
                    if kept is not None:
                        results = self._known[place] = kept
                held.update(results)
                for name in last.get(place, ()):
                    held.pop(name, None)
        if self.rtol is not None:
            share_out(self.rtol, traced, begin, tuple(values.values()))
        if self.precision is not None:
            allow_precision(self.precision, traced, begin)
        return [_as_result(held[name]) for name in names]

    def _run_node(
        self, place: int, node: Node, arguments: list[Any], held: Mapping[str, Any], given: int
    ) -> dict[str, Any]:
        """Run one node; give its outputs by name.

        It is tried on shapes before it runs on arrays of those sizes for the first time. Whatever
        goes wrong in it is a ValueError or a TypeError with the node's name.
        """
        try:
            function = operation(node.op)
            sizes = None if _is_of_sizes(node, arguments) else signature(arguments)
            if sizes is not None and (place, sizes) not in self._tried:
                try_on_shapes(function, arguments, node.attributes, owned(held.values()) - given)
                if len(self._tried) >= _MOST_TRIED:
                    self._tried.clear()
                self._tried.add((place, sizes))
            return _by_name(node, function(*arguments, **node.attributes))
        except Exception as error:
            raise_of_node(error, node.name, node.op)

    @cached_property
    def _random(self) -> frozenset[int]:
        """The places of nodes that draw random numbers."""
        return frozenset(place for place, node in enumerate(self.nodes) if _is_random(node))

    @cached_property
    def _fixed(self) -> frozenset[int]:
        """The places of nodes that read constants alone, and give the same each time."""
        known, places = set(self.constants), []
        for place, node in enumerate(self.nodes):
            read = [name for name in node.inputs if name]
            inner = any(isinstance(value, Graph) for value in node.attributes.values())
            random = place in self._random
            if read and known.issuperset(read) and not inner and not random:
                places.append(place)
                known.update(node.outputs)
        return frozenset(places)

    def _last_readers(self, kept: Sequence[str]) -> dict[int, list[str]]:
        """Return for each node the values that no later node reads."""
        if (known := self._last.get(tuple(kept))) is not None:
            return known
        readers: dict[str, int] = {}
        for place, node in enumerate(self.nodes):
            for name in (*node.inputs, *node.outputs):
                readers[name] = place
        last: dict[int, list[str]] = {}
        for name, place in readers.items():
            if name not in kept and name not in self.constants:
                last.setdefault(place, []).append(name)
        self._last.clear()
        self._last[tuple(kept)] = last
        return last


def _is_of_sizes(node: Node, arguments: Sequence[Any]) -> bool:
    """Return whether a node only puts some numbers together, as graphs do to compute shapes."""
    return node.op in _HARMLESS and all(
        v is None or (isinstance(v, np.ndarray) and v.size <= SMALL) for v in arguments
    )


def _is_random(node: Node) -> bool:
    return bool(getattr(node.attributes.get("function"), "is_random", False))


def _frozen(results: dict[str, Any], arguments: Sequence[Any]) -> dict[str, Any] | None:
    """Return what a node on constants gave as constants: what is packed of them is kept.

    None: they are arrays made of what is stored in a file, which are not kept.
    """
    if any(isinstance(v, StoredParameter) for v in arguments) and not all(
        isinstance(v, (StoredParameter, Parameter)) for v in results.values()
    ):
        return None
    return {
        name: Parameter(v) if type(v) is np.ndarray and v.dtype.kind == "f" and v.ndim > 1 else v
        for name, v in results.items()
    }


def _reads_traced(arguments: Sequence[Any]) -> bool:
    """Return whether a node reads a traced value: a trace takes what others give for constants."""
    return any(isinstance(value, Traced) for value in arguments)


def _by_name(node: Node, results: Any) -> dict[str, Any]:
    """Return what an operation gave under the names of the node's outputs.

    Raises
    ------
    ValueError
        Where more are named than there are.
    """
    if len(node.outputs) == 1:
        results = (results[0] if isinstance(results, tuple) else results,)
    several = results if isinstance(results, (tuple, list)) else (results,)
    if any(node.outputs[len(several) :]):
        raise ValueError(f"{len(node.outputs)} outputs are named, but it gives {len(several)}")
    return {name: value for name, value in zip(node.outputs, several, strict=False) if name}


def _as_result(value: Any) -> Any:
    """Return NumPy's scalars, and what is stored in a file, as arrays."""
    return np.asarray(value) if isinstance(value, (np.generic, StoredParameter)) else value
