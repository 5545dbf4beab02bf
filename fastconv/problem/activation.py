"""Activations by name, with their parameters, as an epilogue or on their own."""

from __future__ import annotations

from typing import Any

from fastconv.problem.record import record
from fastconv.problem.values import is_sequence, items_of, number, shown

# name -> (parameter names, torch's defaults)
ACTIVATIONS: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "relu": ((), ()),
    "relu6": ((), ()),
    "leaky_relu": (("negative_slope",), (0.01,)),
    "elu": (("alpha",), (1.0,)),
    "selu": ((), ()),
    "celu": (("alpha",), (1.0,)),
    "gelu": (("tanh",), (0.0,)),
    "silu": ((), ()),
    "mish": ((), ()),
    "hardswish": (("scale", "shift"), (1.0, 0.0)),
    "hardsigmoid": ((), ()),
    "hardtanh": (("min_val", "max_val"), (-1.0, 1.0)),
    "sigmoid": ((), ()),
    "tanh": ((), ()),
    "softplus": (("beta", "threshold"), (1.0, 20.0)),
    "softsign": ((), ()),
}
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
        names, defaults = ACTIVATIONS[name]
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
