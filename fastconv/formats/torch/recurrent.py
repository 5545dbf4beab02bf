"""Recurrent layers."""

from __future__ import annotations

from typing import Any

from fastconv.formats.torch.call import Call, Unsupported, translates

_KINDS = {"lstm": "lstm", "gru": "gru", "rnn_tanh": "rnn", "rnn_relu": "rnn"}


def is_taken_apart(target: Any, arguments: Any) -> bool:
    """Return whether torch is to take a call apart: that of an LSTM whose output is projected."""
    if getattr(target, "_schema", None) is None or target._schema.name != "aten::lstm":
        return False
    if target._schema.overload_name != "input":
        return False
    parameters, has_biases = arguments[2], arguments[3]
    return len(parameters) % (5 if has_biases else 3) == 0 and _is_projected(parameters, has_biases)


def _is_projected(parameters: Any, has_biases: bool) -> bool:
    """Return whether the last weight of the first direction is a matrix that projects."""
    place = 4 if has_biases else 2
    last = parameters[place].meta["val"] if len(parameters) > place else None
    first = parameters[0].meta["val"]
    return last is not None and last.ndim == 2 and last.shape[0] < first.shape[0]


@translates(*_KINDS)
def recurrent(call: Call) -> None:
    if call.overload != "input":
        raise Unsupported("packed sequences: pass padded ones, without pack_padded_sequence")
    if call.get("train") and call.get("dropout"):
        raise Unsupported("training; call .eval() on the module")
    if not call.fake("input").dtype.is_floating_point:
        raise Unsupported("of integers")
    kind, given = _KINDS[call.op], call.arguments
    if is_taken_apart(call.node.target, (None, None, given["params"], given["has_biases"])):
        raise Unsupported("an output that is projected (proj_size)")
    states = given["hx"] if kind == "lstm" else [given["hx"]]
    inputs = [call.value("input"), *map(call.builder.name_of, states)]
    inputs += [""] * (3 - len(inputs))
    inputs += map(call.builder.name_of, given["params"])
    options: dict[str, Any] = {} if kind != "rnn" else {"activations": (call.op[4:],)}
    call.several(
        "recurrent_layers",
        inputs,
        3 if kind == "lstm" else 2,
        kind=kind,
        num_layers=int(call.get("num_layers")),
        bidirectional=bool(call.get("bidirectional")),
        batch_first=bool(call.get("batch_first")),
        **options,
    )
