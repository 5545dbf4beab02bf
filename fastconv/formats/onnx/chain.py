"""Nodes one after the other: how an operator that does several things at once is written."""

from __future__ import annotations

from typing import Any

from fastconv.backends.manifest.scalar_functions import SELU_ALPHA, SELU_SCALE
from fastconv.formats.onnx.call import Call, Unsupported
from fastconv.network import Node
from fastconv.problem.activation import BY_ONNX

# The names of activations and of their parameters in order, with defaults.
_PLAIN = {**BY_ONNX, "Softplus": "softplus"}
_WITH_PARAMETERS: dict[str, tuple[str, dict[str, float]]] = {
    "LeakyRelu": ("leaky_relu", {"negative_slope": 0.01}),
    "Clip": ("clip", {"low": float("-inf"), "high": float("inf")}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "Elu": ("elu", {"alpha": 1.0}),
    "ThresholdedRelu": ("thresholded_relu", {"alpha": 1.0}),
    "Selu": ("scaled_elu", {"alpha": SELU_ALPHA, "gamma": SELU_SCALE}),
}


class Chain:
    """Nodes of which each reads what the one before returns; the last returns the call's output."""

    def __init__(self, call: Call, value: str | None = None) -> None:
        self._call = call
        self._nodes: list[Node] = []
        self._value = call.input(0) if value is None else value

    def then(self, op: str, *others: str, **attributes: Any) -> Chain:
        """Add an operation on the value so far and on others."""
        call = self._call
        result = f"{call.outputs[0]}:{len(self._nodes)}:{op}"
        name = call.name or call.outputs[0]
        self._nodes.append(Node(op, (self._value, *others), (result,), attributes, name))
        self._value = result
        return self

    def all_of(self, nodes: list[Node]) -> Chain:
        """Add nodes that another translation made of this value; the last one's output goes on."""
        self._nodes += nodes
        self._value = nodes[-1].outputs[0]
        return self

    def beside(self, node: Node) -> Chain:
        """Add a node whose output the next one reads besides the value so far."""
        self._nodes.append(node)
        return self

    def activated(self, name: str, parameters: Any = ()) -> Chain:
        """Add an activation by ONNX's name, with its parameters in order; "" is none."""
        if not name:
            return self
        if name in _PLAIN:
            return self.then(_PLAIN[name])
        if name not in _WITH_PARAMETERS:
            raise Unsupported(f"activation {name}")
        op, defaults = _WITH_PARAMETERS[name]
        given = dict(zip(defaults, map(float, parameters), strict=False))
        return self.then(op, **{**defaults, **given})

    @property
    def value(self) -> str:
        """The name of the value so far."""
        return self._value

    def end(self, output: int = 0) -> list[Node]:
        """Return the nodes, the last of which returns one of the call's outputs."""
        if not self._nodes:
            self.then("identity")
        last = self._nodes[-1]
        outputs = (self._call.outputs[output], *last.outputs[1:])
        return [*self._nodes[:-1], Node(last.op, last.inputs, outputs, last.attributes, last.name)]
