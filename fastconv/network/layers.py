"""What the layers of a network give: programs with other outputs, planned as its own is."""

from __future__ import annotations

import collections
import dataclasses
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from fastconv import forks
from fastconv.forks import cached_property
from fastconv.network.compiled import Shapes
from fastconv.network.graph import Graph
from fastconv.network.trace import Traced, trace
from fastconv.problem.values import is_sequence, items_of, shown

# How many sets of layers are kept, the latest ones.
KEPT_SETS = 8


def _distinct(names: Any) -> tuple[str, ...]:
    if not is_sequence(names):
        raise TypeError(f"names must be names of layers, not {shown(names)}")
    given = list(names) if hasattr(names, "__len__") else items_of(names, "names")
    if not all(isinstance(name, str) for name in given):
        raise TypeError(f"names must be names of layers, not {shown(names)}")
    return tuple(dict.fromkeys(given))


class Layers(Mapping[str, "Layer"]):
    """The layers of a network by name, in the order in which they run.

    A layer is called on the network's inputs and gives its own output. The name of a module that
    holds others stands for the last of what it runs; of several outputs the first is given.
    """

    def __init__(self, network: Any) -> None:
        self._network = network
        self._shapes: collections.OrderedDict[tuple[str, ...], Shapes] = collections.OrderedDict()
        self._lock = forks.lock()

    def outputs_of(self, names: Iterable[str], inputs: Sequence[Any]) -> dict[str, Any]:
        """Return the outputs of several layers by name, from one run.

        Raises
        ------
        KeyError
            For a name that no layer has.
        """
        wanted = (names,) if isinstance(names, str) else _distinct(names)
        for name in wanted:
            self[name]
        if not wanted:
            return {}
        arrays = self._network.checked(inputs)
        return dict(zip(wanted, self._program(wanted).run(arrays), strict=True))

    def _program(self, names: tuple[str, ...]) -> Shapes:
        with self._lock:
            if names not in self._shapes:
                function, limit = self._network.function, self._network.max_memory
                sizes = self._network.open_sizes
                self._shapes[names] = Shapes(_outputs_of(function, names), limit, sizes)
                while len(self._shapes) > KEPT_SETS:
                    self._shapes.popitem(last=False)
            self._shapes.move_to_end(names)
            return self._shapes[names]

    @cached_property
    def _names(self) -> list[str]:
        function = self._network.function
        graph = getattr(function, "graph", None)
        if isinstance(graph, Graph):
            return list(_of_nodes(graph))
        return list(_of_steps(self._network.trace().steps))

    def __getitem__(self, name: str) -> Layer:
        names = self._names
        if name not in names:
            near = difflib.get_close_matches(str(name), names) or names[:3]
            shown = f"; there are {', '.join(map(repr, near))}" if near else ""
            raise KeyError(f"the network has no layer {name!r}{shown}")
        return Layer(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"Layers({', '.join(map(repr, self))})"

    def __reduce__(self) -> Any:
        return Layers, (self._network,)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer: calling it on the network's inputs gives its output."""

    layers: Layers = dataclasses.field(repr=False)
    name: str

    def __call__(self, *inputs: Any) -> Any:
        """Run the network as far as the layer; give the layer's output."""
        return self.layers.outputs_of((self.name,), inputs)[self.name]


def _outputs_of(function: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    """Return the function whose outputs are those of layers."""
    graph = getattr(function, "graph", None)
    if isinstance(graph, Graph):
        return _NodeOutputs(graph, tuple(_of_nodes(graph)[name] for name in names))
    return _StepOutputs(function, names)


@dataclasses.dataclass(frozen=True)
class _NodeOutputs:
    """Values of a graph, as a function of its inputs."""

    graph: Graph
    values: tuple[str, ...]

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        names = [port.name for port in self.graph.inputs]
        return tuple(self.graph.run(dict(zip(names, inputs, strict=True)), self.values))


@dataclasses.dataclass(frozen=True)
class _StepOutputs:
    """What a function's layers give, found in a trace of it."""

    function: Callable[..., Any]
    names: tuple[str, ...]

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        traced = next((v.trace for v in inputs if isinstance(v, Traced)), None)
        if traced is None:
            raise ValueError(_why_not(self.function, inputs))
        before = len(traced.steps)
        self.function(*inputs)
        found = _of_steps(traced.steps[before:])
        return tuple(found[name] for name in self.names)


def _why_not(function: Callable[..., Any], inputs: Sequence[Any]) -> str:
    """Return why layers have no outputs for inputs that the program could not be made for."""
    words = "what its layers give is known from a trace of the network, and it cannot be traced"
    try:
        trace(function, [(value.shape, value.dtype) for value in inputs])
    except Exception as error:
        return f"{words}: {error}"
    return f"{words} for inputs of shapes {', '.join(str(list(v.shape)) for v in inputs)}"


def _of_steps(steps: Sequence[Any]) -> dict[str, Any]:
    return _last((step.layer, step.results[0]) for step in steps)


def _of_nodes(graph: Graph) -> dict[str, str]:
    return _last((node.name, next(filter(None, node.outputs), "")) for node in graph.nodes)


def _last(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return the last value of each name and of the names above it: "a" is above "a.b"."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        parts = name.split(".") if "/" not in name else [name]
        for count in range(1, len(parts) + 1):
            if above := ".".join(parts[:count]):
                found[above] = value
    return found
