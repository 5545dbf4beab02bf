"""Sequences and optional values."""

from __future__ import annotations

from fastconv.formats.onnx.call import Call, translates
from fastconv.network import Node

_PLAIN = {
    "SequenceAt": "sequence_at",
    "SequenceConstruct": "sequence_of",
    "SequenceEmpty": "sequence_of",
    "SequenceErase": "sequence_erase",
    "SequenceInsert": "sequence_insert",
    "SequenceLength": "sequence_length",
    "Optional": "optional",
    "OptionalGetElement": "optional_element",
    "OptionalHasElement": "optional_has",
}


@translates(*_PLAIN)
def plain(call: Call) -> list[Node]:
    return call.node(_PLAIN[call.op])


@translates("ConcatFromSequence")
def concat_sequence(call: Call) -> list[Node]:
    return call.node("concat_sequence", axis=call.get("axis"), new_axis=call.flag("new_axis"))


@translates("SplitToSequence")
def split_sequence(call: Call) -> list[Node]:
    return call.node("split_sequence", axis=call.get("axis", 0), keepdims=call.flag("keepdims", 1))
