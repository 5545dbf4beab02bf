"""Convolutions, pools, resizing, padding."""

from __future__ import annotations

from typing import Any

from fastconv.formats.torch.call import (
    Call,
    is_node,
    lengths_or_none,
    refuse_integers,
    translates,
)


@translates("conv1d", "conv2d", "conv3d")
def conv(call: Call) -> None:
    refuse_integers(call)
    padding = call.get("padding")
    call.answer(
        call.op,
        (call.value("input"), call.value("weight"), call.value("bias")),
        stride=tuple(call.get("stride")),
        padding=padding if isinstance(padding, str) else tuple(padding),
        dilation=tuple(call.get("dilation")),
        groups=call.get("groups"),
    )


@translates("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def conv_transpose(call: Call) -> None:
    _transposed(call, call.op)


@translates("convolution")
def convolution(call: Call) -> None:
    refuse_integers(call)
    n = len(call.get("stride"))
    if call.get("transposed"):
        _transposed(call, f"conv_transpose{n}d")
        return
    call.answer(
        f"conv{n}d",
        (call.value("input"), call.value("weight"), call.value("bias")),
        **{key: tuple(call.get(key)) for key in ("stride", "padding", "dilation")},
        groups=call.get("groups"),
    )


def _transposed(call: Call, op: str) -> None:
    refuse_integers(call)
    call.answer(
        op,
        (call.value("input"), call.value("weight"), call.value("bias")),
        **{key: tuple(call.get(key)) for key in ("stride", "padding", "output_padding")},
        groups=call.get("groups"),
        dilation=tuple(call.get("dilation")),
    )


def _window(call: Call) -> dict[str, Any]:
    """Read a pool's window; torch writes its own size as the stride that is left out."""
    kernel = tuple(call.get("kernel_size"))
    return {
        "kernel_size": kernel,
        "stride": tuple(call.get("stride", ())) or kernel,
        "padding": tuple(call.get("padding")),
        "ceil_mode": bool(call.get("ceil_mode")),
    }


@translates("max_pool1d", "max_pool2d", "max_pool3d")
def max_pool(call: Call) -> None:
    call.answer(call.op, dilation=tuple(call.get("dilation")), **_window(call))


@translates("max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices")
def max_pool_with_indices(call: Call) -> None:
    op = call.op.removesuffix("_with_indices")
    options = {"dilation": tuple(call.get("dilation")), **_window(call)}
    _with_indices(call, op, options)


def _with_indices(call: Call, op: str, options: dict[str, Any]) -> None:
    """Ask for the indices only where they are read."""
    if not call.reads(1):
        call.several(op, (call.value("self"),), 1, **options)
    else:
        call.several(op, (call.value("self"),), 2, return_indices=True, **options)


@translates("avg_pool1d", "avg_pool2d", "avg_pool3d")
def avg_pool(call: Call) -> None:
    options = _window(call)
    if call.op != "avg_pool1d":
        options["divisor_override"] = call.get("divisor_override")
    call.answer(call.op, count_include_pad=bool(call.get("count_include_pad")), **options)


@translates(
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
)  # fmt: skip
def adaptive_avg_pool(call: Call) -> None:
    call.answer(call.op.removeprefix("_"), output_size=tuple(call.get("output_size")))


@translates("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive_max_pool(call: Call) -> None:
    _with_indices(call, call.op, {"output_size": tuple(call.get("output_size"))})


@translates("max_unpool2d", "max_unpool3d")
def max_unpool(call: Call) -> None:
    # The window only says how large the output is, which is given.
    sizes = call.arguments["output_size"]
    inputs = (call.value("self"), call.value("indices"))
    given = lengths_or_none(call.fake().shape[-len(sizes) :])
    if given is not None and not call.builder.is_open(sizes):
        size = tuple(call.builder.settled(sizes))
        stride = tuple(max(1, -(-s // g)) for s, g in zip(size, given, strict=True))
        if all(abs(g * k - s) < k for s, g, k in zip(size, given, stride, strict=True)):
            call.answer(call.op, inputs, kernel_size=stride, stride=stride, output_size=size)
            return
    call.answer("unpool_to", (*inputs, call.sizes(sizes)))


# ATen's name -> (mode, whether it takes align_corners, antialias)
_RESIZES = {
    "upsample_nearest": ("nearest", False, False),
    "_upsample_nearest_exact": ("nearest-exact", False, False),
    "upsample_linear1d": ("linear", True, False),
    "upsample_bilinear2d": ("bilinear", True, False),
    "upsample_trilinear3d": ("trilinear", True, False),
    "upsample_bicubic2d": ("bicubic", True, False),
    "_upsample_bilinear2d_aa": ("bilinear", True, True),
    "_upsample_bicubic2d_aa": ("bicubic", True, True),
}


@translates(
    *(f"{kind}{n}d" for kind in ("upsample_nearest", "_upsample_nearest_exact") for n in (1, 2, 3)),
    *(name for name in _RESIZES if "nearest" not in name),
)
def resize(call: Call) -> None:
    key = call.op if call.op in _RESIZES else call.op[:-2]
    mode, corners, antialias = _RESIZES[key]
    first = "self" if "self" in call.arguments else "input"
    options: dict[str, Any] = {"mode": mode, "antialias": antialias}
    if corners:
        options["align_corners"] = bool(call.get("align_corners"))
    value = call.value(first)
    factors = _factors(call)
    size: Any = call.arguments.get("output_size")
    if factors is not None:
        call.answer("interpolate", (value,), scale_factor=factors, **options)
    elif any(map(is_node, size)):
        call.answer("interpolate_to", (value, call.sizes(size)), **options)
    else:
        call.answer("interpolate", (value,), size=tuple(size), **options)


def _factors(call: Call) -> tuple[float, ...] | None:
    """Return the factors, under the names of either overload."""
    if "scale_factors" in call.arguments:
        given = call.get("scale_factors")
        return None if given is None else tuple(given)
    names = [
        name for name in ("scales_d", "scales_h", "scales_w", "scales") if name in call.arguments
    ]
    factors = tuple(call.get(name) for name in names)
    return None if any(f is None for f in factors) or not factors else factors


@translates("pixel_shuffle")
def pixel_shuffle(call: Call) -> None:
    call.answer("pixel_shuffle", upscale_factor=call.get("upscale_factor"))


@translates("pixel_unshuffle")
def pixel_unshuffle(call: Call) -> None:
    call.answer("pixel_unshuffle", downscale_factor=call.get("downscale_factor"))


@translates("pad")
def pad(call: Call) -> None:
    _pad(call, call.arguments["pad"], call.get("mode"), call.get("value"))


@translates("constant_pad_nd")
def constant_pad(call: Call) -> None:
    _pad(call, call.arguments["pad"], "constant", call.get("value"))


@translates(*(f"{mode}_pad{n}d" for mode in ("reflection", "replication") for n in (1, 2, 3)))
def border_pad(call: Call) -> None:
    mode = "reflect" if call.op.startswith("reflection") else "replicate"
    _pad(call, call.arguments["padding"], mode, None)


def _pad(call: Call, pads: Any, mode: str, value: Any) -> None:
    options = {} if value is None else {"value": value}
    if call.builder.is_open(pads):
        call.answer("pad_by", (call.value("self"), call.sizes(pads)), mode=mode, **options)
    else:
        call.answer("pad", pad=tuple(call.builder.settled(pads)), mode=mode, **options)


@translates("im2col")
def unfold(call: Call) -> None:
    names = ("kernel_size", "dilation", "padding", "stride")
    call.answer("unfold", **{name: tuple(call.get(name)) for name in names})


@translates("col2im")
def fold(call: Call) -> None:
    names = ("kernel_size", "dilation", "padding", "stride")
    options = {name: tuple(call.get(name)) for name in names}
    size = call.arguments["output_size"]
    if call.builder.is_open(size):
        call.answer("fold_to", (call.value("self"), call.sizes(size)), **options)
    else:
        call.answer("fold", output_size=tuple(call.builder.settled(size)), **options)


_SAMPLED = (("linear", "nearest", "cubic"), ("zeros", "border", "reflection"))


@translates("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def grid_sample(call: Call) -> None:
    names = ("interpolation_mode", "padding_mode")
    mode, padding = (
        kinds[int(call.get(name))] for name, kinds in zip(names, _SAMPLED, strict=True)
    )
    inputs = (call.value("input"), call.value("grid"))
    corners = bool(call.get("align_corners"))
    call.answer("sample_by_grid", inputs, mode=mode, padding=padding, align_corners=corners)
