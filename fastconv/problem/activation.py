"""Activations by name, with their parameters, as an epilogue or on their own."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastconv.problem.record import record
from fastconv.problem.values import is_sequence, items_of, number, shown


class Row(NamedTuple):
    """What callers know of an activation.

    ``parameters`` are its names, ``defaults`` torch's. ``onnx`` and ``torch`` are the operators
    that mean it and no more: they take no parameters.
    """

    parameters: tuple[str, ...] = ()
    defaults: tuple[float, ...] = ()
    onnx: str | None = None
    torch: str | None = None


ACTIVATIONS: dict[str, Row] = {
    "relu": Row(onnx="Relu", torch="relu"),
    "relu6": Row(torch="relu6"),
    "leaky_relu": Row(("negative_slope",), (0.01,)),
    "elu": Row(("alpha",), (1.0,)),
    "selu": Row(torch="selu"),
    "celu": Row(("alpha",), (1.0,)),
    "gelu": Row(("tanh",), (0.0,)),
    "silu": Row(torch="silu"),
    "mish": Row(onnx="Mish", torch="mish"),
    "hardswish": Row(("scale", "shift"), (1.0, 0.0), onnx="HardSwish", torch="hardswish"),
    "hardsigmoid": Row(torch="hardsigmoid"),
    "hardtanh": Row(("min_val", "max_val"), (-1.0, 1.0)),
    "sigmoid": Row(onnx="Sigmoid", torch="sigmoid"),
    "tanh": Row(onnx="Tanh", torch="tanh"),
    "softplus": Row(("beta", "threshold"), (1.0, 20.0)),
    "softsign": Row(onnx="Softsign"),
}
# By the names of operators.
BY_ONNX = {row.onnx: name for name, row in ACTIVATIONS.items() if row.onnx is not None}
BY_TORCH = {row.torch: name for name, row in ACTIVATIONS.items() if row.torch is not None}
# gelu's torch argument ``approximate``, as its one parameter
APPROXIMATE = {"none": 0.0, "tanh": 1.0}


@record(frozen=True)
class Activation:
    """An elementwise function: its name and parameters, in the order of ``ACTIVATIONS``."""

    name: str
    parameters: tuple[float, ...] = ()

    @classmethod
    def of(cls, value: Any) -> Activation | None:
        """Read None, a name, or (name, parameter, ...) as callers write it."""
        if value is None or isinstance(value, Activation):
            return value
        items = items_of(value, "activation") if is_sequence(value) else [value]
        name, *given = items or [value]
        if not isinstance(name, str):
            raise TypeError(
                f"activation must be a name, or a name and its parameters, not {shown(value)}"
            )
        if name not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(ACTIVATIONS)}, but got {shown(name)}"
            )
        names, defaults, *_ = ACTIVATIONS[name]
        if len(given) > len(names):
            raise ValueError(f"activation {name} takes {len(names)} parameters, got {len(given)}")
        if name == "gelu":
            read = [_approximate(item) for item in given]
        else:
            read = [number(item, f"activation {name}'s {names[i]}") for i, item in enumerate(given)]
        parameters = tuple(read) + defaults[len(read) :]
        _check(name, parameters)
        return cls(name, parameters)

    def __str__(self) -> str:
        if not self.parameters or (self.name, self.parameters) == ("hardswish", (1.0, 0.0)):
            return self.name
        return f"{self.name}({', '.join(f'{p:g}' for p in self.parameters)})"


def _approximate(value: Any) -> float:
    if isinstance(value, str) and value in APPROXIMATE:
        return APPROXIMATE[value]
    if isinstance(value, (int, float)) and value in (0, 1):
        return float(value)
    raise ValueError(f"approximate argument must be either none or tanh, but got {shown(value)}")


def _check(name: str, parameters: tuple[float, ...]) -> None:
    if name == "hardtanh" and parameters[0] > parameters[1]:
        raise ValueError(
            f"min_val cannot be greater than max_val, but got {parameters[0]} and {parameters[1]}"
        )
    if name == "celu" and parameters[0] == 0:
        raise ValueError("alpha cannot be 0 for CELU")
