"""Operators that read images between cells, and those of regions."""

from __future__ import annotations

from fastconv.formats.onnx.call import Call, Unsupported, translates
from fastconv.formats.onnx.windows import window
from fastconv.network import Node

_MODES = {
    "bilinear": "linear", "linear": "linear", "nearest": "nearest", "bicubic": "cubic",
    "cubic": "cubic",
}  # fmt: skip


@translates("GridSample")
def grid_sample(call: Call) -> list[Node]:
    mode, padding = call.get("mode", "linear"), call.get("padding_mode", "zeros")
    if mode not in _MODES or padding not in ("zeros", "border", "reflection"):
        raise Unsupported(f"mode {mode}, padding {padding}")
    corners = call.flag("align_corners")
    return call.node("grid_sample", mode=_MODES[mode], padding=padding, align_corners=corners)


@translates("AffineGrid")
def affine_grid(call: Call) -> list[Node]:
    return call.node("affine_grid", align_corners=call.flag("align_corners"))


@translates("DeformConv")
def deform_conv(call: Call) -> list[Node]:
    options = window(call)
    if isinstance(options["padding"], str):
        raise Unsupported("auto_pad")
    groups = {"groups": call.get("group", 1), "offset_groups": call.get("offset_group", 1)}
    return call.node("deform_conv", **options, **groups)


@translates("RoiAlign")
def roi_align(call: Call) -> list[Node]:
    given = call.get("coordinate_transformation_mode", "half_pixel")
    return call.node(
        "roi_align",
        size=(call.get("output_height", 1), call.get("output_width", 1)),
        ratio=call.get("sampling_ratio", 0),
        scale=call.get("spatial_scale", 1.0),
        half_pixel=call.opset >= 16 and given == "half_pixel",
        largest=call.get("mode", "avg") == "max",
    )


@translates("MaxRoiPool")
def max_roi_pool(call: Call) -> list[Node]:
    size = tuple(call.get("pooled_shape"))
    return call.node("max_roi_pool", size=size, scale=call.get("spatial_scale", 1.0))


@translates("NonMaxSuppression")
def non_max_suppression(call: Call) -> list[Node]:
    return call.node("non_max_suppression", centers=call.flag("center_point_box"))


@translates("Col2Im")
def columns_to_image(call: Call) -> list[Node]:
    return call.node(
        "columns_to_image",
        dilation=call.axes("dilations") or (1,),
        padding=call.axes("pads") or (),
        stride=call.axes("strides") or (1,),
    )
