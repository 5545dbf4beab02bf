"""Models that onnxruntime wrote with images in blocks of channels (its NCHWc layout).

Such a file is made for one machine: filters are stored in blocks of 16 or 8 output channels, as its
vectors are long, and the file does not say which. Here images stay channels first, with as many
channels as the file's filters have, and filters are put back in order.
"""

from __future__ import annotations

import dataclasses
import platform
from typing import Any

import numpy as np

from fastconv.formats.onnx.call import TRANSLATIONS, Call, Unsupported, translates_foreign
from fastconv.formats.onnx.chain import Chain
from fastconv.formats.onnx.windows import window
from fastconv.machine import available_isas
from fastconv.network import Node
from fastconv.network.resizing import Way

DOMAIN = "com.microsoft.nchwc"
_SMALL, _LARGE = 8, 16


def _own(*names: str) -> list[str]:
    return [f"{DOMAIN}:{name}" for name in names]


@translates_foreign(*_own("Conv"))
def conv(call: Call) -> list[Node]:
    weight = call.require(1, "the filter")
    if weight.ndim != 4:
        raise Unsupported(f"filters of {weight.ndim} dimensions")
    groups = call.get("group", 1)
    filters = call.keep("filter", in_order(weight, groups, block_of(call)))
    options = {**window(call), "groups": groups}
    chain = Chain(call).then("conv", filters, call.input(2), **options)
    if call.input(3):
        chain.then("add", call.input(3))
    return chain.activated(call.get("activation", ""), call.get("activation_params", ())).end()


def in_order(weight: Any, groups: int, block: int) -> Any:
    """Return a filter as (out, in, height, width) that is stored in blocks of channels.

    Stored are blocks of output channels, in each of them blocks of input channels, the window's
    rows and columns, then the input channels of a block and the output channels of a block. Where
    the input has less channels than a block, or each channel is a group, they are not in blocks.
    """
    outer, inner, rows, columns = weight.shape
    if outer % block:
        raise Unsupported(f"filters of {outer} output channels in blocks of {block}")
    if inner % block or (groups > 1 and inner == 1):
        plain = weight.reshape(outer // block, inner, rows, columns, block)
        return np.ascontiguousarray(plain.transpose(0, 4, 1, 2, 3)).reshape(weight.shape)
    blocked = weight.reshape(outer // block, inner // block, rows, columns, block, block)
    return np.ascontiguousarray(blocked.transpose(0, 5, 1, 4, 2, 3)).reshape(weight.shape)


def block_of(call: Call) -> int:
    """Return how many channels a block of the model has, worked out once for all its nodes."""
    if "block" not in call.notes:
        call.notes["block"] = _from_model(call) or _from_machine()
    return int(call.notes["block"])


def _from_model(call: Call) -> int | None:
    """Return the size of blocks where the sizes of filters leave one alone; else None."""
    nodes = [node for node in call.graph.node if node.domain == DOMAIN]
    made_by = {name: node for node in call.graph.node for name in node.output}
    for node in nodes:
        if node.op_type != "Conv" or node.input[1] not in call.constants:
            continue
        outer, inner = call.constants[node.input[1]].shape[:2]
        if outer % _LARGE or (inner > _LARGE and inner % _LARGE):
            return _SMALL
    for node in nodes:
        if node.op_type != "ReorderOutput":
            continue
        kept = next((a.i for a in node.attribute if a.name == "channels"), 0)
        source = made_by.get(node.input[0])
        while source is not None and not (source.domain == DOMAIN and source.op_type == "Conv"):
            source = made_by.get(source.input[0]) if source.input else None
        filters = None if source is None else call.constants.get(source.input[1])
        # Channels are added up to a whole block.
        if filters is not None and filters.shape[0] - kept >= _SMALL:
            return _LARGE
    return None


def _from_machine() -> int:
    """Return the size of the blocks that onnxruntime takes on this machine."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return _LARGE
    return _LARGE if "avx512" in available_isas() else _SMALL


@translates_foreign(*_own("ReorderInput"))
def reorder_input(call: Call) -> list[Node]:
    chain = Chain(call)
    if call.flag("channels_last"):
        chain.then("channels_first")
    return chain.then("pad_channels", multiple=block_of(call)).end()


@translates_foreign(*_own("ReorderOutput"))
def reorder_output(call: Call) -> list[Node]:
    chain = Chain(call).then("first_channels", count=call.get("channels"))
    return (chain.then("channels_last") if call.flag("channels_last") else chain).end()


@translates_foreign(*_own("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"))
def pool(call: Call) -> list[Node]:
    return TRANSLATIONS[call.op](dataclasses.replace(call, outputs=call.outputs[:1]))


@translates_foreign(*_own("Upsample"))
def upsample(call: Call) -> list[Node]:
    mode = call.get("mode", "nearest")
    coordinates = call.get("coordinate_transformation_mode", "asymmetric")
    if mode not in ("nearest", "linear"):
        raise Unsupported(f"mode {mode}")
    way = Way(
        mode=mode, coordinates=coordinates, rounding="floor", cubic_a=-0.75, exclude_outside=False,
        extrapolation=0.0, antialias=False, policy="stretch",
    )  # fmt: skip
    scales = call.keep("scales", np.asarray(call.get("scales"), np.float32))
    return call.node("resize", (call.input(0), "", scales), way=way, axes=None)
