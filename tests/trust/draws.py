"""Calls of the functional API drawn at random: every operation, small, with degenerate sizes."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import ml_dtypes
import numpy as np

from fastconv.problem import ACTIVATIONS
from tests.trust.calls import Array, Call

Rng = np.random.Generator
# Multiply-accumulates, and cells of an array, that one drawn problem may have.
MOST_MACS, MOST_CELLS = 4_000_000, 60_000
FLOATS = (*["float32"] * 6, *["float64"] * 3, *["float16"] * 2, *["bfloat16"] * 2)
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
COMPLEX = ("complex64", "complex128")
NUMBERS = (*FLOATS, *FLOATS, *INTEGERS, *COMPLEX, *COMPLEX)
REAL = (*FLOATS, *INTEGERS)
LAST = {1: "NWC", 2: "NHWC", 3: "NDHWC"}


class Refused(Exception):
    """A drawn problem that is too large, or that no call may pose."""


def pick(rng: Rng, *choices: Any) -> Any:
    """Return one of the arguments."""
    return choices[int(rng.integers(len(choices)))]


def dtype_of(name: str) -> np.dtype[Any]:
    """Return a dtype by its name, also the one that NumPy has not."""
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def filled(rng: Rng, shape: Any, dtype: str, whole: bool, limit: int = 3) -> Array:
    """Fill an array: integers of up to ``limit``, or values of unit variance."""
    kind = dtype_of(dtype)
    if prod(shape) > MOST_CELLS:
        raise Refused
    if whole or kind.kind in "iu":
        low = 0 if kind.kind == "u" else -limit
        real = rng.integers(low, limit + 1, shape)
        return np.asarray(
            real + 1j * rng.integers(low, limit + 1, shape) if kind.kind == "c" else real
        ).astype(kind)
    real = rng.standard_normal(shape)
    if kind.kind == "c":
        return np.asarray(real + 1j * rng.standard_normal(shape)).astype(kind)
    return np.asarray(real).astype(kind)


def image_shape(batch: int, channels: int, size: tuple[int, ...], last: bool) -> tuple[int, ...]:
    """Return a batch's shape in one of the two layouts."""
    return (batch, *size, channels) if last else (batch, channels, *size)


def laid_out(rng: Rng, n: int, options: dict[str, Any]) -> bool:
    """Draw a layout; tell whether channels are last."""
    last = bool(rng.random() < 0.4)
    if last:
        options["layout"] = pick(rng, LAST[n], "NHWC")
    return last


def activation_of(rng: Rng, dtype: str) -> Any:
    """Draw an epilogue's activation, or none."""
    if dtype in COMPLEX or rng.random() < 0.5:
        return None
    if dtype in INTEGERS or rng.random() < 0.4:
        return pick(rng, "relu", "relu6")
    parameters = {"leaky_relu": (0.1,), "elu": (1.5,), "hardtanh": (-0.5, 1.25)}
    name = pick(rng, *ACTIVATIONS)
    given = parameters.get(name, ())
    return (name, *given) if given else name


def some_size(rng: Rng, n: int) -> tuple[int, ...]:
    """Draw a spatial size: ones, primes, what is not a multiple of anything."""
    most = (90, 24, 9)[n - 1]
    return tuple(
        int(pick(rng, 1, 2, 3, 7, 8, rng.integers(1, most), rng.integers(1, most), most))
        for _ in range(n)
    )


def windows(rng: Rng, n: int, large: bool = False) -> dict[str, Any]:
    """Draw a kernel, stride and dilation for ``n`` dimensions."""
    most = ((40, 21, 7) if large else (9, 7, 3))[n - 1]
    kernel = tuple(int(pick(rng, 1, 2, 3, 3, 3, rng.integers(1, most + 1))) for _ in range(n))
    if rng.random() < 0.4:
        kernel = (kernel[0],) * n if n < 3 else kernel
    if rng.random() < 0.5:
        return {"kernel": kernel, "stride": (1,) * n, "dilation": (1,) * n}
    return {
        "kernel": kernel,
        "stride": tuple(int(pick(rng, 1, 1, 2, 3, 5)) for _ in range(n)),
        "dilation": tuple(int(pick(rng, 1, 1, 1, 2, 3)) for _ in range(n)),
    }  # fmt: skip


def padding_of(rng: Rng, kernel: tuple[int, ...], most: float = 1.0) -> Any:
    """Draw a padding in one of its spellings."""
    n = len(kernel)
    limits = [int(k * most) for k in kernel]
    way = pick(rng, "none", "half", "half", "tuple", "pairs", "same", "valid", "causal")
    if way == "half":
        return tuple(k // 2 for k in kernel)
    if way == "tuple":
        return tuple(int(rng.integers(0, k + 1)) for k in limits)
    if way == "pairs":
        return tuple((int(rng.integers(0, k + 1)), int(rng.integers(0, k + 1))) for k in limits)
    if way == "causal":
        return "causal" if n == 1 and most >= 1 else 0
    return 0 if way == "none" else way


def channels_of(rng: Rng, n: int) -> tuple[int, int, int]:
    """Draw groups, channels a group and outputs a group."""
    way = pick(rng, "few", "few", "many", "grouped", "depthwise", "depthwise", "single")
    if way == "few":
        return 1, int(rng.integers(1, 9)), int(rng.integers(1, 20))
    if way == "many":
        return 1, int(pick(rng, 16, 33, 64, 130, 300)), int(pick(rng, 8, 17, 40, 70))
    if way == "grouped":
        return int(pick(rng, 2, 3, 4, 8)), int(rng.integers(1, 20)), int(rng.integers(1, 20))
    if way == "depthwise":
        return int(pick(rng, 1, 2, 3, 8, 16, 33)), 1, int(pick(rng, 1, 1, 1, 2, 3))
    return 1, 1, int(rng.integers(1, 9))


def conv(rng: Rng) -> Call:
    """Draw a convolution."""
    n = pick(rng, 1, 1, 2, 2, 2, 3)
    groups, per_group, outputs = channels_of(rng, n)
    shape = windows(rng, n, large=per_group == 1)
    if rng.random() < 0.1:
        # Cells a power of two apart, of which a stride skips some: caches make kernels pack them.
        groups, per_group, outputs = (
            1,
            int(pick(rng, 64, 128, 256, 512, 1024)),
            int(rng.integers(1, 9)),
        )
        shape = {"kernel": (1,) * n, "stride": (int(pick(rng, 2, 4)),) * n, "dilation": (1,) * n}
    options: dict[str, Any] = {
        "stride": shape["stride"],
        "dilation": shape["dilation"],
        "groups": groups,
    }
    options["padding"] = padding_of(rng, shape["kernel"])
    options["padding_mode"] = pick(
        rng, "zeros", "zeros", "zeros", "reflect", "replicate", "circular"
    )
    return _convolution(
        rng,
        f"conv{n}d",
        n,
        (groups * per_group, per_group, groups * outputs),
        shape["kernel"],
        options,
    )


def conv_transpose(rng: Rng) -> Call:
    """Draw a transposed convolution."""
    n = pick(rng, 1, 2, 2, 3)
    groups, per_group, outputs = channels_of(rng, n)
    shape = windows(rng, n)
    padding = padding_of(rng, shape["kernel"])
    extra = tuple(
        int(rng.integers(0, max(s, d)))
        for s, d in zip(shape["stride"], shape["dilation"], strict=True)
    )
    options = {
        "stride": shape["stride"], "dilation": shape["dilation"], "groups": groups,
        "padding": 0 if padding in ("same", "causal") else padding, "output_padding": extra,
    }  # fmt: skip
    return _convolution(
        rng,
        f"conv_transpose{n}d",
        n,
        (groups * per_group, outputs, groups * per_group),
        shape["kernel"],
        options,
    )


def _convolution(
    rng: Rng,
    function: str,
    n: int,
    channels: tuple[int, int, int],
    kernel: tuple[int, ...],
    options: dict[str, Any],
) -> Call:
    dtype, whole = pick(rng, *NUMBERS), bool(rng.random() < 0.5)
    last = laid_out(rng, n, options)
    batch = int(pick(rng, 1, 1, 1, 2, 3, 5, 0))
    inner, second, first = channels
    weight_shape = (first, second, *kernel)
    outputs = second * options["groups"] if "output_padding" in options else first
    arrays = {
        "input": filled(rng, image_shape(batch, inner, some_size(rng, n), last), dtype, whole),
        "weight": filled(rng, weight_shape, dtype, whole),
    }
    outer = (
        not whole
        and n == 2
        and second == 1
        and min(kernel) > 1
        and dtype in ("float32", "float64")
        and "output_padding" not in options
        and rng.random() < 0.6
    )
    if outer:
        lines = [rng.standard_normal((first, k)) for k in kernel]
        arrays["weight"] = np.einsum("oi,oj->oij", *lines)[:, None].astype(dtype)
    if rng.random() < 0.5:
        arrays["bias"] = filled(rng, (outputs,), dtype, whole)
    options["activation"] = activation_of(rng, dtype)
    # Whatever its bound is, an algorithm that is asked for serves.
    call = Call(function, arrays, options | {"rtol": 10.0}, whole, outer)
    problem = call.problem()
    if problem.macs > MOST_MACS or prod(problem.output_shape) > MOST_CELLS:
        raise Refused
    if rng.random() < 0.3:
        result = problem.output_dtype.name
        call.arrays["residual"] = filled(rng, problem.output_shape, result, whole)
    return call


def linear(rng: Rng) -> Call:
    """Draw a fully connected layer."""
    dtype, whole = pick(rng, *NUMBERS), bool(rng.random() < 0.5)
    rows = pick(
        rng, (), (1,), (0,), (3,), (int(rng.integers(1, 70)),), (2, int(rng.integers(1, 9)))
    )
    inner, outer = (int(pick(rng, 1, 2, 16, 17, rng.integers(1, 200))) for _ in range(2))
    weight = filled(rng, (outer, inner), dtype, whole)
    arrays = {"input": filled(rng, (*rows, inner), dtype, whole), "weight": weight}
    if rng.random() < 0.5:
        arrays["bias"] = filled(rng, (outer,), dtype, whole)
    return Call("linear", arrays, {"activation": activation_of(rng, dtype)}, whole)


def pool(rng: Rng) -> Call:
    """Draw a pool over windows."""
    n, kind = pick(rng, 1, 2, 2, 3), pick(rng, "max", "max", "avg", "avg", "lp", "weighted")
    shape = windows(rng, n, large=bool(rng.random() < 0.3))
    options: dict[str, Any] = {
        "kernel_size": shape["kernel"],
        "padding": padding_of(rng, shape["kernel"], 0.5),
    }
    if rng.random() < 0.7:
        options["stride"] = shape["stride"]
    options["ceil_mode"] = bool(rng.random() < 0.3)
    if kind == "max":
        options["dilation"] = shape["dilation"]
        options["return_indices"] = bool(rng.random() < 0.3)
    if kind in ("avg", "weighted"):
        options["count_include_pad"] = bool(rng.random() < 0.5)
    if kind == "avg" and n > 1 and rng.random() < 0.2:
        options["divisor_override"] = int(rng.integers(1, 9))
    if kind == "lp":
        options["norm_type"] = pick(rng, 1, 2, 3, 2.5, 0.5, float("inf"))
    arrays = {"input": _image(rng, n, pick(rng, *(REAL if kind == "max" else FLOATS)), options)}
    if kind == "weighted":
        options["weights"] = pick(rng, "gaussian", "inverse_distance", "given")
        if options["weights"] == "given":
            del options["weights"]
            arrays["weights"] = rng.random(shape["kernel"]) + 0.01
    return _pooled(Call(f"{kind}_pool{n}d", arrays, options), rng)


def adaptive_pool(rng: Rng) -> Call:
    """Draw a pool to a given size, or over everything."""
    n, kind = pick(rng, 1, 2, 2, 3), pick(rng, "max", "avg")
    options: dict[str, Any] = {}
    if rng.random() < 0.4:
        kind = pick(rng, "max", "avg", "lp")
        if kind == "lp":
            options["p"] = pick(rng, 1, 2, 3, float("inf"))
        function = f"global_{kind}_pool"
    else:
        options["output_size"] = tuple(int(rng.integers(1, 9)) for _ in range(n))
        function = f"adaptive_{kind}_pool{n}d"
        if kind == "max":
            options["return_indices"] = bool(rng.random() < 0.3)
    arrays = {"input": _image(rng, n, pick(rng, *(REAL if kind == "max" else FLOATS)), options)}
    return _pooled(Call(function, arrays, options), rng)


def _image(rng: Rng, n: int, dtype: str, options: dict[str, Any]) -> Array:
    last = laid_out(rng, n, options)
    batch, channels = int(pick(rng, 1, 1, 2, 3, 0)), int(pick(rng, 1, 2, 3, 8, 17, 40))
    shape = image_shape(batch, channels, some_size(rng, n), last)
    return filled(rng, shape, dtype, bool(rng.random() < 0.3), 120)


def _pooled(call: Call, rng: Rng) -> Call:
    if prod(call.problem().output_shape) > MOST_CELLS:
        raise Refused
    return call


def unpool(rng: Rng) -> Call:
    """Draw the inverse of a max pool, with the places that a pool gives."""
    n = pick(rng, 1, 2, 2, 3)
    options: dict[str, Any] = {
        "kernel_size": int(rng.integers(1, 4)),
        "stride": int(rng.integers(1, 4)),
    }
    x = _image(rng, n, pick(rng, *REAL), options)
    pooled = Call(f"max_pool{n}d", {"input": x}, options | {"return_indices": True})
    pooled.problem()
    values, places = pooled.run(backend="reference")
    size = x.shape[1:-1] if "layout" in options else x.shape[2:]
    arrays = {"input": values, "indices": places}
    return _pooled(Call(f"max_unpool{n}d", arrays, options | {"output_size": size}), rng)


def activation(rng: Rng) -> Call:
    """Draw an activation, PReLU or softmax."""
    way = pick(rng, "plain", "plain", "plain", "prelu", "softmax", "log_softmax")
    shape = (
        int(pick(rng, 1, 2, 3, 0)),
        *(int(pick(rng, 1, 2, 5, 16, 33, rng.integers(1, 40))) for _ in range(pick(rng, 1, 2, 3))),
    )
    dtype = pick(rng, *FLOATS)
    if way == "plain":
        name = pick(rng, *ACTIVATIONS)
        if name in ("relu", "relu6"):
            dtype = pick(rng, *REAL)
        options: dict[str, Any] = {
            "gelu": {"approximate": pick(rng, "none", "tanh")},
            "leaky_relu": {"negative_slope": 0.2},
        }.get(name, {})
        return Call(name, {"input": _spread(rng, shape, dtype)}, options)
    x = _spread(rng, shape, dtype)
    if way != "prelu":
        return Call(way, {"input": x}, {"dim": int(rng.integers(-len(shape), len(shape)))})
    last = bool(rng.random() < 0.4)
    channels = shape[-1] if last else shape[1]
    weight = filled(rng, (int(pick(rng, 1, channels)),), dtype, False)
    return Call("prelu", {"input": x, "weight": weight}, {"layout": "NHWC"} if last else {})


def _spread(rng: Rng, shape: tuple[int, ...], dtype: str) -> Array:
    x = filled(rng, shape, dtype, False, 120)
    return x if x.dtype.kind in "iu" else np.asarray(x.astype("f8") * 3).astype(x.dtype)


def norm(rng: Rng) -> Call:
    """Draw a normalisation."""
    n, options = pick(rng, 1, 2, 3), dict[str, Any]()
    dtype = pick(rng, *FLOATS)
    kind = pick(rng, "batch", "batch", "instance", "group", "group", "layer", "local_response")
    x = _image(rng, n, dtype, options)
    x = np.asarray(x.astype("f8") + 1).astype(x.dtype)
    last = "layout" in options
    channels = x.shape[-1] if last else x.shape[1]
    sizes: Any = (channels,)
    if kind == "local_response":
        options["size"] = int(rng.integers(1, 8))
    elif kind == "group":
        options["num_groups"] = int(
            pick(rng, *[g for g in range(1, channels + 1) if channels % g == 0])
        )
    elif kind == "layer":
        options.pop("layout", None)
        sizes = x.shape[-int(rng.integers(1, x.ndim)) :]
        options["normalized_shape"] = sizes
    arrays = {"input": x}
    if kind == "batch":
        arrays["running_mean"] = filled(rng, sizes, dtype, False)
        arrays["running_var"] = (rng.random(sizes) + 0.5).astype(x.dtype)
    if kind != "local_response" and rng.random() < 0.7:
        arrays["weight"], arrays["bias"] = (filled(rng, sizes, dtype, False) for _ in range(2))
    return Call(f"{kind}_norm", arrays, options)


def pad(rng: Rng) -> Call:
    """Draw a padding."""
    n, options = pick(rng, 1, 2, 2, 3), dict[str, Any]()
    x = _image(rng, n, pick(rng, *NUMBERS), options)
    mode = pick(rng, "constant", "constant", "reflect", "replicate", "circular")
    low = -2 if rng.random() < 0.3 else 0
    options |= {"mode": mode, "pad": tuple(int(rng.integers(low, 6)) for _ in range(2 * n))}
    if mode == "constant" and rng.random() < 0.5:
        options["value"] = int(rng.integers(0, 9))
    return _pooled(Call("pad", {"input": x}, options), rng)


def interpolate(rng: Rng) -> Call:
    """Draw a resizing."""
    n, options = pick(rng, 1, 2, 2, 3), dict[str, Any]()
    kinds = ["nearest", "nearest-exact", "area", ("linear", "bilinear", "trilinear")[n - 1]]
    mode = pick(rng, *kinds, *["bicubic", "bilinear"] * (n == 2))
    options["mode"] = mode
    x = _image(rng, n, pick(rng, *(NUMBERS if "nearest" in mode else FLOATS)), options)
    if rng.random() < 0.5:
        options["size"] = tuple(int(rng.integers(1, 20)) for _ in range(n))
    else:
        options["scale_factor"] = float(pick(rng, 2, 3, 0.5, 1.7, 0.31))
    if "linear" in mode or mode == "bicubic":
        options["align_corners"] = bool(rng.random() < 0.4)
        options["antialias"] = mode in ("bilinear", "bicubic") and bool(rng.random() < 0.3)
    return _pooled(Call("interpolate", {"input": x}, options), rng)


def shuffle(rng: Rng) -> Call:
    """Draw a pixel shuffle, or its inverse."""
    options: dict[str, Any] = {}
    last, r = laid_out(rng, 2, options), int(rng.integers(1, 5))
    batch, channels, (h, w) = int(pick(rng, 1, 2, 0)), int(rng.integers(1, 5)), some_size(rng, 2)
    inverse = bool(rng.random() < 0.5)
    size, c = ((h * r, w * r), channels) if inverse else ((h, w), channels * r * r)
    x = filled(rng, image_shape(batch, c, size, last), pick(rng, *NUMBERS), False, 100)
    if inverse:
        return Call("pixel_unshuffle", {"input": x}, options | {"downscale_factor": r})
    return Call("pixel_shuffle", {"input": x}, options | {"upscale_factor": r})


def unfold(rng: Rng) -> Call:
    """Draw windows as columns, or columns to an image."""
    shape, options = windows(rng, 2), dict[str, Any]()
    padding = padding_of(rng, shape["kernel"])
    dtype = pick(rng, *NUMBERS)
    options |= {
        "kernel_size": shape["kernel"],
        "stride": shape["stride"],
        "dilation": shape["dilation"],
    }
    options["padding"] = padding
    x = _image(rng, 2, dtype, options)
    call = _pooled(Call("unfold", {"input": x}, options), rng)
    if rng.random() < 0.5:
        return call
    whole = bool(rng.random() < 0.5)
    columns = filled(rng, call.problem().output_shape, dtype, whole)
    size = x.shape[1:3] if "layout" in options else x.shape[2:]
    return Call("fold", {"input": columns}, options | {"output_size": size}, whole)


# Weighted by how many algorithms there are.
OPERATIONS: tuple[Callable[[Rng], Call], ...] = (
    *[conv] * 12, *[conv_transpose] * 3, linear, linear, *[pool] * 5, adaptive_pool, adaptive_pool,
    unpool, activation, activation, norm, norm, norm, pad, interpolate, interpolate, shuffle,
    unfold, unfold,
)  # fmt: skip


def drawn(rng: Rng) -> Call:
    """Draw a call that may be made."""
    while True:
        try:
            call = pick(rng, *OPERATIONS)(rng)
            call.problem()
        except (Refused, ValueError):
            continue
        return call
