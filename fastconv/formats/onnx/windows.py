"""Convolutions and pools; pixels to channels and back."""

from __future__ import annotations

from typing import Any

from fastconv.formats.onnx.call import Call, Unsupported, translates
from fastconv.network import Node


def window(call: Call) -> dict[str, Any]:
    """Read what windows have in common; the rank is the input's, known when it runs."""
    padding: Any = 0
    automatic = call.get("auto_pad", "NOTSET")
    if automatic == "SAME_UPPER":
        padding = "same"
    elif automatic == "SAME_LOWER":
        padding = "same_lower"
    elif automatic == "NOTSET" and call.get("pads"):
        pads = call.get("pads")
        half = len(pads) // 2
        padding = tuple(zip(pads[:half], pads[half:], strict=True))
        if min(pads) < 0:
            raise ValueError(f"pads must not be negative, but got {list(pads)}")
    elif automatic not in ("NOTSET", "VALID"):
        raise Unsupported(f"auto_pad {automatic}")
    if len(call.get("kernel_shape") or (1,)) > 3:
        raise Unsupported("more than 3 spatial dimensions")
    return {
        "stride": tuple(call.get("strides", (1,))),
        "padding": padding,
        "dilation": tuple(call.get("dilations", (1,))),
    }


@translates("Conv")
def conv(call: Call) -> list[Node]:
    return call.node("conv", **window(call), groups=call.get("group", 1))


@translates("ConvTranspose")
def conv_transpose(call: Call) -> list[Node]:
    options = window(call)
    return call.node(
        "conv_transpose",
        **options,
        output_padding=tuple(call.get("output_padding", (0,))),
        groups=call.get("group", 1),
        output_shape=tuple(call.get("output_shape", ())),
    )


@translates("MaxPool")
def max_pool(call: Call) -> list[Node]:
    extra: dict[str, Any] = {}
    if len(call.outputs) > 1:
        extra["column_major"] = bool(call.get("storage_order", 0))
    return call.node(
        "max_pool_flat" if len(call.outputs) > 1 else "max_pool",
        kernel_size=tuple(call.get("kernel_shape")),
        **window(call),
        ceil_mode=bool(call.get("ceil_mode", 0)),
        **extra,
    )


@translates("AveragePool")
def average_pool(call: Call) -> list[Node]:
    return call.node(
        "average_pool",
        kernel_size=tuple(call.get("kernel_shape")),
        **window(call),
        ceil_mode=bool(call.get("ceil_mode", 0)),
        count_include_pad=bool(call.get("count_include_pad", 0)),
    )


@translates("LpPool")
def lp_pool(call: Call) -> list[Node]:
    return call.node(
        "lp_pool",
        norm_type=call.get("p", 2),
        kernel_size=tuple(call.get("kernel_shape")),
        **window(call),
        ceil_mode=bool(call.get("ceil_mode", 0)),
    )


@translates("MaxUnpool")
def max_unpool(call: Call) -> list[Node]:
    options = window(call)
    del options["dilation"]
    return call.node("max_unpool_flat", kernel_size=tuple(call.get("kernel_shape")), **options)


@translates("DepthToSpace")
def depth_to_space(call: Call) -> list[Node]:
    mode = call.get("mode", "DCR")
    return call.node("depth_to_space", block=call.get("blocksize"), column_first=mode == "CRD")


@translates("SpaceToDepth")
def space_to_depth(call: Call) -> list[Node]:
    mode = call.get("mode", "DCR")
    return call.node("space_to_depth", block=call.get("blocksize"), column_first=mode == "CRD")
