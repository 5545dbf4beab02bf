"""Resizing images: Resize in all its modes, Upsample, and what grids do not need."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.formats.onnx.call import Call, Unsupported, translates
from fastconv.network import Node
from fastconv.network.resizing import Way

_COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
    "tf_half_pixel_for_nn", "tf_crop_and_resize",
)  # fmt: skip
_ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@translates("Upsample")
def upsample(call: Call) -> list[Node]:
    """Return scales as the input of opset 9, or the attributes of 7 and of 1."""
    mode = {"bilinear": "linear"}.get(call.get("mode", "nearest"), call.get("mode", "nearest"))
    if call.opset >= 9:
        scales = call.input(1)
    elif "scales" in call.attributes:
        scales = call.keep("scales", np.array(call.get("scales"), np.float32))
    else:
        factors = [1.0, 1.0, call.get("height_scale"), call.get("width_scale")]
        scales = call.keep("scales", np.array(factors, np.float32))
    return _resize(call, (call.input(0), "", scales), mode, "asymmetric", "floor")


@translates("Resize")
def resize(call: Call) -> list[Node]:
    mode = call.get("mode", "nearest")
    if call.opset < 11:
        return _resize(call, (call.input(0), "", call.input(1)), mode, "asymmetric", "floor")
    coordinates = call.get("coordinate_transformation_mode", "half_pixel")
    rounding = call.get("nearest_mode", "round_prefer_floor")
    return _resize(call, call.inputs, mode, coordinates, rounding)


def _resize(
    call: Call, inputs: tuple[str, ...], mode: str, coordinates: str, rounding: str
) -> list[Node]:
    if mode not in ("nearest", "linear", "cubic"):
        raise Unsupported(f"mode {mode}")
    if coordinates not in _COORDINATES or rounding not in _ROUNDINGS:
        raise Unsupported(f"coordinates {coordinates}, {rounding}")
    if len(inputs) == 4 and inputs[2] and inputs[3]:
        found: Any = call.constant(2)
        if found is not None and found.size:
            raise Unsupported("factors and sizes")
    way = Way(
        mode=mode,
        coordinates=coordinates,
        rounding=rounding,
        cubic_a=call.get("cubic_coeff_a", -0.75),
        exclude_outside=call.flag("exclude_outside"),
        extrapolation=call.get("extrapolation_value", 0.0),
        antialias=call.flag("antialias"),
        policy=call.get("keep_aspect_ratio_policy", "stretch"),
    )
    return call.node("resize", inputs, way=way, axes=call.axes())
