"""Convolutions, pools and resizing."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.formats.onnx.call import Call, Unsupported, translates
from fastconv.network import Node


def _window(call: Call, *, dilation: bool = True) -> dict[str, Any]:
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
            raise Unsupported("negative pads")
    elif automatic not in ("NOTSET", "VALID"):
        raise Unsupported(f"auto_pad {automatic}")
    options = {"stride": tuple(call.get("strides", (1,))), "padding": padding}
    dilations = tuple(call.get("dilations", (1,)))
    if dilation:
        options["dilation"] = dilations
    elif any(d != 1 for d in dilations):
        raise Unsupported("dilations")
    return options


@translates("Conv")
def conv(call: Call) -> list[Node]:
    return call.node("conv", **_window(call), groups=call.get("group", 1))


@translates("ConvTranspose")
def conv_transpose(call: Call) -> list[Node]:
    options = _window(call)
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
        **_window(call),
        ceil_mode=bool(call.get("ceil_mode", 0)),
        **extra,
    )


@translates("AveragePool")
def average_pool(call: Call) -> list[Node]:
    return call.node(
        "average_pool",
        kernel_size=tuple(call.get("kernel_shape")),
        **_window(call, dilation=False),
        ceil_mode=bool(call.get("ceil_mode", 0)),
        count_include_pad=bool(call.get("count_include_pad", 0)),
    )


@translates("LpPool")
def lp_pool(call: Call) -> list[Node]:
    return call.node(
        "lp_pool",
        norm_type=call.get("p", 2),
        kernel_size=tuple(call.get("kernel_shape")),
        **_window(call, dilation=False),
        ceil_mode=bool(call.get("ceil_mode", 0)),
    )


@translates("GlobalAveragePool")
def global_average(call: Call) -> list[Node]:
    return call.node("global_avg_pool")


@translates("GlobalMaxPool")
def global_max(call: Call) -> list[Node]:
    return call.node("global_max_pool")


@translates("GlobalLpPool")
def global_lp(call: Call) -> list[Node]:
    return call.node("global_lp_pool", p=call.get("p", 2))


@translates("MaxUnpool")
def max_unpool(call: Call) -> list[Node]:
    options = _window(call, dilation=False)
    return call.node("max_unpool_flat", kernel_size=tuple(call.get("kernel_shape")), **options)


# (mode, coordinates, rounding) -> interpolate's mode and align_corners, where they mean the same.
_RESIZES: dict[tuple[str, str], tuple[str, bool | None]] = {
    ("nearest", "asymmetric"): ("nearest", None),
    ("linear", "half_pixel"): ("linear", False),
    ("linear", "pytorch_half_pixel"): ("linear", False),
    ("linear", "align_corners"): ("linear", True),
    ("cubic", "half_pixel"): ("cubic", False),
    ("cubic", "align_corners"): ("cubic", True),
}


@translates("Resize", "Upsample")
def resize(call: Call) -> list[Node]:
    mode = call.get("mode", "nearest")
    if call.op == "Upsample" or call.opset < 11:
        coordinates, rounding = "asymmetric", "floor"
    else:
        coordinates = call.get("coordinate_transformation_mode", "half_pixel")
        rounding = call.get("nearest_mode", "round_prefer_floor")
    if (mode, coordinates) not in _RESIZES or (mode == "nearest" and rounding != "floor"):
        detail = f" {rounding}" if mode == "nearest" else ""
        raise Unsupported(f"mode {mode}{detail} with coordinates {coordinates}")
    if mode == "cubic" and call.get("cubic_coeff_a", -0.75) != -0.75:
        raise Unsupported("cubic_coeff_a other than -0.75")
    for attribute in ("exclude_outside", "antialias", "axes", "keep_aspect_ratio_policy"):
        if call.get(attribute) not in (None, 0, "stretch"):
            raise Unsupported(f"attribute {attribute}")
    scales, sizes = _scales(call)
    function, corners = _RESIZES[mode, coordinates]
    return call.node(
        "resize",
        (call.input(0), scales, sizes),
        mode=function,
        align_corners=corners,
        torch_half_pixel=coordinates == "pytorch_half_pixel",
    )


def _scales(call: Call) -> tuple[str, str]:
    """Give the names of the scales and of the sizes; one of them is ""."""
    if call.op == "Upsample" and "scales" in call.attributes:
        return call.keep("scales", np.array(call.get("scales"), np.float32)), ""
    if call.op == "Upsample" or call.opset < 11:
        return call.input(1), ""
    sizes = call.input(3)
    return ("" if sizes else call.input(2)), sizes


@translates("DepthToSpace")
def depth_to_space(call: Call) -> list[Node]:
    mode = call.get("mode", "DCR")
    return call.node("depth_to_space", block=call.get("blocksize"), column_first=mode == "CRD")


@translates("SpaceToDepth")
def space_to_depth(call: Call) -> list[Node]:
    mode = call.get("mode", "DCR")
    return call.node("space_to_depth", block=call.get("blocksize"), column_first=mode == "CRD")
