"""Layers over sequences: LSTM, GRU, RNN, and causal convolutions with a state."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.formats.onnx.call import Call, Unsupported, translates
from fastconv.network import Node
from fastconv.network.recurrent import split_parameters
from fastconv.problem.recurrent import FUNCTIONS, PARAMETERS

# Their names in ONNX, where case does not matter.
_NAMES = {name.replace("_", ""): name for name in FUNCTIONS}


def _activations(call: Call) -> tuple[tuple[str | float, ...], ...] | None:
    """Read the functions: each takes as many of the parameters, in order, as it has."""
    given = call.get("activations")
    if given is None:
        return None
    alphas, betas = (list(call.get(f"activation_{name}", ())) for name in ("alpha", "beta"))
    found = []
    for text in given:
        word = text.decode() if isinstance(text, bytes) else str(text)
        name = _NAMES.get(word.lower())
        if name is None:
            raise Unsupported(f"activation {word}")
        count, defaults = FUNCTIONS[name]
        own = [
            (values.pop(0) if values else default)
            for values, default in list(zip((alphas, betas), defaults, strict=True))[:count]
        ]
        found.append((name, *own))
    return tuple(found)


@translates("LSTM", "GRU", "RNN")
def recurrent(call: Call) -> list[Node]:
    """Split constant weights by direction once, here, so that their plans can be kept."""
    kind = call.op.lower()
    options: dict[str, Any] = {
        "kind": kind,
        "direction": call.get("direction", "forward"),
        "batch_first": call.flag("layout"),
        "activations": _activations(call),
        "clip": call.get("clip") or None,
    }
    if kind == "gru":
        options["reset_after"] = call.flag("linear_before_reset")
    x, w, r, b, lengths, h = (call.input(i) for i in range(6))
    c, p = ("", "")
    if kind == "lstm":
        options["input_forget"] = call.flag("input_forget")
        c, p = call.input(6), call.input(7)
    places = [1, 2, 3, *([7] if kind == "lstm" else [])]
    known = [call.constant(i) for i in places]
    if any(value is None and call.input(i) for i, value in zip(places, known, strict=True)):
        return call.node("recurrent_stacked", (x, w, r, b, lengths, h, c, p), **options)
    values = [None if value is None else np.asarray(value) for value in (*known, None)[:4]]
    split = split_parameters(kind, *values)
    names = [
        "" if value is None else call.keep(f"{PARAMETERS[i % len(PARAMETERS)]}{i}", value)
        for i, value in enumerate(split)
    ]
    return call.node("recurrent", (x, lengths, h, c, *names), **options)


@translates("CausalConvWithState")
def causal_conv_with_state(call: Call) -> list[Node]:
    activation = call.get("activation", "none")
    activation = activation.decode() if isinstance(activation, bytes) else activation
    if activation not in ("none", "silu", "swish"):
        raise Unsupported(f"activation {activation}")
    return call.node("causal_conv_with_state", activation=None if activation == "none" else "silu")
