"""One ONNX node on its way to graph nodes: what a translation reads, and how it answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastconv.dispatch import Parameter
from fastconv.dispatch.stored import StoredParameter
from fastconv.formats.translations import into
from fastconv.network import Graph, Node

Subgraph = Callable[[Any], tuple[Graph, tuple[str, ...]]]


class Unsupported(Exception):
    """Why a node cannot be translated."""


@dataclasses.dataclass
class Call:
    """An ONNX node: names of inputs ("" where absent) and outputs, attributes, opset.

    ``dtypes`` holds those values' dtypes that are declared; ``subgraph`` translates a graph that
    is an attribute, and tells what it captures; ``reference`` gives the node as a function that
    onnx's reference runs. ``graph`` is the ``onnx.GraphProto`` that it is in; ``notes`` is shared
    by all nodes of a model, for what their translations work out once.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int
    constants: dict[str, Any]
    dtypes: Mapping[str, np.dtype[Any]]
    subgraph: Subgraph
    reference: Callable[[], Callable[..., Any]]
    graph: Any = None
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def get(self, attribute: str, default: Any = None) -> Any:
        """Return an attribute, or its default."""
        return self.attributes.get(attribute, default)

    def flag(self, attribute: str, default: int = 0) -> bool:
        """Return an attribute that is 0 or 1."""
        return bool(self.attributes.get(attribute, default))

    def axes(self, attribute: str = "axes") -> tuple[int, ...] | None:
        """Return an attribute of several ints; None where it is absent."""
        found = self.attributes.get(attribute)
        return None if found is None else tuple(found)

    def input(self, place: int) -> str:
        """Return an input's name; "" where it is absent."""
        return self.inputs[place] if place < len(self.inputs) else ""

    def constant(self, place: int) -> Any:
        """Return an input's value where it is known beforehand: an array, or one in a file."""
        found = self.constants.get(self.input(place))
        return found if found is None or isinstance(found, StoredParameter) else np.asarray(found)

    def dtype(self, place: int) -> np.dtype[Any] | None:
        """Return an input's dtype where it is known beforehand."""
        found = self.constant(place)
        return self.dtypes.get(self.input(place)) if found is None else np.dtype(found.dtype)

    def require(self, place: int, what: str) -> np.ndarray[Any, Any]:
        """Return an input's value, which must be known beforehand."""
        found = self.constant(place)
        if found is None:
            raise Unsupported(f"{what} is computed at run time")
        return np.asarray(found)

    def keep(self, suffix: str, value: Any) -> str:
        """Keep a constant of this node's own, and give its name."""
        name = f"{self.name}:{self.outputs[0]}:{suffix}"
        self.constants[name] = value if isinstance(value, StoredParameter) else Parameter(value)
        return name

    def turned(self, place: int, value: Any) -> str:
        """Keep a constant input's transpose, one for all nodes that want it, and give its name."""
        name = f"{self.input(place)}:turned"
        if name not in self.constants:
            turned = value.T
            held = turned if isinstance(turned, StoredParameter) else Parameter(turned)
            self.constants[name] = held
        return name

    def node(self, op: str, inputs: tuple[str, ...] | None = None, **attributes: Any) -> list[Node]:
        """Answer with one graph node that gives this node's outputs."""
        taken = self.inputs if inputs is None else inputs
        return [Node(op, taken, self.outputs, attributes, self.name or self.outputs[0])]


Translation = Callable[[Call], list[Node]]
TRANSLATIONS: dict[str, Translation] = {}
# Of other domains, by "domain:operator".
FOREIGN: dict[str, Translation] = {}

# Registers the translation of operators of the standard domain.
translates = into(TRANSLATIONS)
translates_foreign = into(FOREIGN)
