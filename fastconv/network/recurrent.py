"""Layers over sequences as foreign formats have them: recurrent, or convolving with a state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.functional.recurrent import layers
from fastconv.problem.recurrent import GATES, PARAMETERS


def recurrent(
    value: Any, lengths: Any = None, initial_h: Any = None, initial_c: Any = None,
    *parameters: Any, kind: str, batch_first: bool = False, **options: Any,
) -> Any:  # fmt: skip
    """Run a layer with the `PARAMETERS` of each direction; results have ONNX's axes."""
    each = len(PARAMETERS)
    named: dict[str, Any] = {
        f"{name}{'_reverse' if d else ''}": parameters[d * each + i]
        for d in range(len(parameters) // each)
        for i, name in enumerate(PARAMETERS)
        if parameters[d * each + i] is not None
    }
    named |= {"initial_h": initial_h, "lengths": lengths, "gate_order": "onnx"}
    if kind == "lstm":
        named["initial_c"] = initial_c
    elif kind == "rnn":
        del named["gate_order"]
    layouts = ("BTH", "BDH") if batch_first else ("TDBH", "DBH")
    output, *states = getattr(functional, kind)(
        value, **named, **options, layout=layouts[0], state_layout=layouts[1]
    )
    if batch_first:
        hidden = states[0].shape[-1]
        output = output.reshape((*output.shape[:2], output.shape[2] // hidden, hidden))
    return (output, *states)


def recurrent_stacked(
    value: Any, weight: Any, state_weight: Any, bias: Any = None, lengths: Any = None,
    initial_h: Any = None, initial_c: Any = None, peepholes: Any = None, **options: Any,
) -> Any:  # fmt: skip
    """Run a layer whose parameters hold all directions one after the other, as ONNX has them."""
    split = split_parameters(options["kind"], weight, state_weight, bias, peepholes)
    return recurrent(value, lengths, initial_h, initial_c, *split, **options)


def split_parameters(
    kind: str, weight: Any, state_weight: Any, bias: Any, peepholes: Any
) -> list[Any]:
    """Return the `PARAMETERS` of each direction.

    Raises
    ------
    ValueError
        Where they are not of as many directions each, or a bias has not both halves.
    """
    directions = weight.shape[0] if len(weight.shape) == 3 else 0
    given = [p for p in (state_weight, bias, peepholes) if p is not None]
    if directions not in (1, 2) or any(p.shape[:1] != (directions,) for p in given):
        shapes = [list(p.shape) for p in (weight, *given)]
        raise ValueError(f"weights of {kind} must begin with 1 or 2 directions, but got {shapes}")
    if bias is not None and (len(bias.shape) != 2 or bias.shape[1] % (2 * len(GATES[kind]))):
        raise ValueError(
            f"the bias of {kind} must have shape (directions, {2 * len(GATES[kind])} * "
            f"hidden_size), but got {list(bias.shape)}"
        )
    found: list[Any] = []
    for d in range(directions):
        halves = [None, None]
        if bias is not None:
            half = bias.shape[1] // 2
            halves = [bias[d, :half], bias[d, half:]]
        own = None if peepholes is None else peepholes[d]
        found += [weight[d], state_weight[d], *halves, own]
    return found


def recurrent_layers(
    value: Any, initial_h: Any, initial_c: Any, *parameters: Any, kind: str, num_layers: int,
    bidirectional: bool, **options: Any,
) -> Any:  # fmt: skip
    """Run torch's layers, whose parameters come one after the other."""
    count = num_layers * (2 if bidirectional else 1)
    each = len(parameters) // count
    own = [parameters[i * each : (i + 1) * each] for i in range(count)]
    return layers(kind, value, own, initial_h, initial_c, num_layers=num_layers, **options)


def causal_conv_with_state(
    value: Any, weight: Any, bias: Any = None, past: Any = None, *, activation: str | None = None
) -> Any:
    """Convolve each channel with what came before, and return the last cells for the next call."""
    batch, channels, length = value.shape
    before = weight.shape[2] - 1
    if past is None:
        past = np.zeros((batch, channels, before), value.dtype)
    whole = np.concatenate((past, value), axis=2) if before else value
    state = whole[:, :, whole.shape[2] - before :]
    if length == 0:
        return value, state
    return functional.conv1d(whole, weight, bias, groups=channels, activation=activation), state


RECURRENT: dict[str, Callable[..., Any]] = {
    "recurrent": recurrent,
    "recurrent_stacked": recurrent_stacked,
    "recurrent_layers": recurrent_layers,
    "causal_conv_with_state": causal_conv_with_state,
}
