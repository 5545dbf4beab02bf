"""Plain calls on plain arrays: the cases of the suites functional and overhead."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from typing import Any

from benchmarks.cases import Case, Shape, layers

if importlib.util.find_spec("ml_dtypes"):
    # NumPy knows the name bfloat16 from then on.
    import ml_dtypes  # noqa: F401


def _conv(
    name: str, shape: Shape, weight: Shape, op: str = "conv2d", bias: bool = True, **more: Any
) -> Case:
    """Return a case of a convolution; what is not a field of a case is an option of the call."""
    fields = {key: more.pop(key) for key in ("dtype", "group", "last", "quick") if key in more}
    case = Case(name, op, shape, weight, more, **fields)
    return dataclasses.replace(case, extra={"bias": (case.out_channels,)} if bias else {})


# Of single filters image and signal libraries have plain calls, but these add no bias.
_SMALL = (
    _conv("8.8x8", (1, 8, 8, 8), (8, 8, 3, 3), padding=1, quick=True),
    _conv("16.8x8", (1, 16, 8, 8), (16, 16, 3, 3), padding=1),
    _conv("96-24.7x7.1x1", (1, 96, 7, 7), (24, 96, 1, 1), quick=True),
    _conv("256.4x4", (1, 256, 4, 4), (256, 256, 3, 3), padding=1, quick=True),
    _conv("3-16.32x32", (1, 3, 32, 32), (16, 3, 3, 3), padding=1, quick=True),
    _conv("32.16x16", (1, 32, 16, 16), (32, 32, 3, 3), padding=1),
    _conv("filter5.32x32", (1, 1, 32, 32), (1, 1, 5, 5), bias=False, padding=2, quick=True),
    _conv("64.4x4.1x1", (1, 64, 4, 4), (64, 64, 1, 1)),
    _conv("dw8.8x8", (1, 8, 8, 8), (8, 1, 3, 3), padding=1, groups=8, quick=True),
    _conv("8.8x8.n8", (8, 8, 8, 8), (8, 8, 3, 3), padding=1),
    _conv("128.8x8", (1, 128, 8, 8), (128, 128, 3, 3), padding=1),
    _conv("64-128.8x8.s2", (1, 64, 8, 8), (128, 64, 3, 3), padding=1, stride=2),
    _conv("512-128.1x1.1x1", (1, 512, 1, 1), (128, 512, 1, 1), quick=True),
    _conv("dw32.16x16", (1, 32, 16, 16), (32, 1, 3, 3), padding=1, groups=32),
    _conv("6-16.14x14.5x5", (1, 6, 14, 14), (16, 6, 5, 5)),
    _conv("24.14x14.g4", (1, 24, 14, 14), (24, 6, 3, 3), padding=1, groups=4),
    _conv("1024-256.4x4.1x1", (1, 1024, 4, 4), (256, 1024, 1, 1)),
)

_BATCH = (8, 8, 8, 8)
_ROW = (1, 64)
_IMAGE = (1, 64, 56, 56)


def _other(name: str, op: str, shape: Shape, weight: Shape | None = None, **more: Any) -> Case:
    extra = more.pop("extra", {})
    quick = more.pop("quick", False)
    return Case(name, op, shape, weight, more, extra=extra, quick=quick)


def _pair(op: str, small: Shape, middle: Shape, **options: Any) -> tuple[Case, Case]:
    """Return the same call on a small array and on a larger one; a quick run takes the small."""
    return (
        _other(f"{op}.small", op, small, quick=True, **options),
        _other(f"{op}.mid", op, middle, **options),
    )


def _norms() -> tuple[Case, ...]:
    def affine(*size: int) -> dict[str, Shape]:
        return {"weight": size, "bias": size}

    def running(size: int) -> dict[str, Shape]:
        return {"running_mean": (size,), "running_var": (size,), **affine(size)}

    return (
        _other("batch_norm.small", "batch_norm", _BATCH, extra=running(8), quick=True),
        _other("batch_norm.mid", "batch_norm", _IMAGE, extra=running(64)),
        _other("layer_norm.small", "layer_norm", _ROW, normalized_shape=(64,),
               extra=affine(64), quick=True),
        _other("layer_norm.mid", "layer_norm", (1, 196, 768), normalized_shape=(768,),
               extra=affine(768)),
        _other("group_norm.small", "group_norm", _BATCH, num_groups=2, extra=affine(8), quick=True),
        _other("group_norm.mid", "group_norm", _IMAGE, num_groups=8, extra=affine(64)),
        _other("instance_norm.small", "instance_norm", _BATCH, extra=affine(8), quick=True),
        _other("instance_norm.mid", "instance_norm", _IMAGE, extra=affine(64)),
    )  # fmt: skip


_OTHERS = (
    _other("linear.small", "linear", _ROW, (64, 64), extra={"bias": (64,)}, quick=True),
    _other("linear.mid", "linear", (32, 1024), (1000, 1024), extra={"bias": (1000,)}),
    _other("linear.one", "linear", (1, 2048), (1000, 2048), extra={"bias": (1000,)}),
    *_pair("relu", _BATCH, _IMAGE),
    *_pair("gelu", _ROW, (1, 196, 768)),
    *_pair("sigmoid", _ROW, _IMAGE),
    *_pair("softmax", _ROW, (12, 196, 196), dim=-1),
    *_pair("log_softmax", _ROW, (64, 1000), dim=-1),
    *_pair("max_pool2d", _BATCH, _IMAGE, kernel_size=2),
    _other("max_pool2d.3s2", "max_pool2d", _IMAGE, kernel_size=3, stride=2, padding=1),
    *_pair("avg_pool2d", _BATCH, _IMAGE, kernel_size=2),
    *_pair("adaptive_avg_pool2d", _BATCH, (1, 512, 7, 7), output_size=1),
    _other("adaptive_avg_pool2d.7", "adaptive_avg_pool2d", _IMAGE, output_size=7),
    *_norms(),
    _conv("conv_transpose2d.small", (1, 8, 8, 8), (8, 8, 2, 2), "conv_transpose2d", stride=2,
          quick=True),
    _conv("conv_transpose2d.mid", (1, 64, 28, 28), (64, 32, 4, 4), "conv_transpose2d", stride=2,
          padding=1),
    _conv("conv_transpose1d.small", (1, 8, 64), (8, 8, 4), "conv_transpose1d", stride=2,
          padding=1, quick=True),
    _conv("conv_transpose1d.mid", (1, 64, 500), (64, 32, 16), "conv_transpose1d", stride=8,
          padding=4),
    _conv("conv1d.small", (1, 8, 64), (8, 8, 3), "conv1d", padding=1, quick=True),
    _conv("conv1d.mid", (1, 64, 2000), (64, 64, 9), "conv1d", padding=4),
    _conv("conv1d.filter31", (1, 1, 10000), (1, 1, 31), "conv1d", bias=False),
    _conv("conv2d.filter9", (1, 1, 256, 256), (1, 1, 9, 9), bias=False, padding=4),
    _conv("conv2d.g4", (1, 64, 56, 56), (64, 16, 3, 3), padding=1, groups=4),
    _conv("conv3d.small", (1, 4, 8, 8, 8), (8, 4, 3, 3, 3), "conv3d", padding=1, quick=True),
    _conv("conv3d.mid", (1, 16, 8, 28, 28), (16, 16, 3, 3, 3), "conv3d", padding=1),
    *(
        _other(f"interpolate.{mode}.{size}", "interpolate", shape, scale_factor=2, mode=mode,
               quick=size == "small")
        for mode in ("nearest", "bilinear")
        for size, shape in (("small", _BATCH), ("mid", (1, 64, 28, 28)))
    ),
    *_pair("pad", _BATCH, _IMAGE, pad=(1, 1, 1, 1)),
    *_pair("unfold", _BATCH, (1, 32, 56, 56), kernel_size=3, padding=1),
    _other("fold.small", "fold", (8, 72, 64), output_size=8, kernel_size=3, padding=1, quick=True),
    _other("fold.mid", "fold", (1, 288, 3136), output_size=56, kernel_size=3, padding=1),
    *_pair("pixel_shuffle", _BATCH, _IMAGE, upscale_factor=2),
    _other("prelu.small", "prelu", _BATCH, extra={"weight": (8,)}, quick=True),
    _other("prelu.mid", "prelu", _IMAGE, extra={"weight": (64,)}),
)  # fmt: skip

_TYPED = tuple(
    _conv(f"{name}.{dtype}", shape, weight, padding=weight[-1] // 2, dtype=dtype,
          quick=name == "8.8x8")
    for dtype in ("float64", "float16", "bfloat16")
    for name, shape, weight in (
        ("8.8x8", (1, 8, 8, 8), (8, 8, 3, 3)),
        ("64.28x28", (1, 64, 28, 28), (64, 64, 3, 3)),
        ("64-256.28x28.1x1", (1, 64, 28, 28), (256, 64, 1, 1)),
    )
)  # fmt: skip

_LAST = (
    _conv("8.8x8.nhwc", (1, 8, 8, 8), (8, 8, 3, 3), padding=1, last=True, quick=True),
    _conv("64.56x56.nhwc", _IMAGE, (64, 64, 3, 3), padding=1, last=True),
    _conv("64-256.56x56.1x1.nhwc", _IMAGE, (256, 64, 1, 1), last=True),
    _conv("dw32.112x112.nhwc", (1, 32, 112, 112), (32, 1, 3, 3), padding=1, groups=32, last=True),
    _conv("3-64.224x224.7x7.nhwc", (1, 3, 224, 224), (64, 3, 7, 7), padding=3, stride=2,
          last=True),
)  # fmt: skip


@functools.cache
def cases() -> tuple[Case, ...]:
    """Return the cases of functional; those in bfloat16 only where NumPy can have it."""
    rows = [dataclasses.replace(c, extra={"bias": (c.out_channels,)}) for c in layers()]
    typed = [c for c in _TYPED if c.dtype != "bfloat16" or importlib.util.find_spec("ml_dtypes")]
    groups = {
        "layers": rows,
        "small": _SMALL,
        "other functions": _OTHERS,
        "dtypes": typed,
        "channels last": _LAST,
    }
    return tuple(dataclasses.replace(c, group=g) for g, found in groups.items() for c in found)


# Calls a run, since one alone takes hardly longer than the clock is read.
_CALLS = 32


def _tiny() -> tuple[Case, ...]:
    """Return calls on so little data that all of their time is what surrounds a kernel.

    Two outputs each: an error is relative to their deviation, which one alone does not have.
    """
    one = {"running_mean": (1,), "running_var": (1,), "weight": (1,), "bias": (1,)}
    conv = _conv("conv2d", (1, 1, 1, 2), (1, 1, 1, 1), quick=True)
    cases = (
        conv,
        _other("linear", "linear", (1, 2), (2, 2), extra={"bias": (2,)}, quick=True),
        _other("relu", "relu", (1, 2), quick=True),
        _other("max_pool2d", "max_pool2d", (1, 1, 2, 4), kernel_size=2),
        _other("softmax", "softmax", (1, 2), dim=-1),
        _other("batch_norm", "batch_norm", (1, 1, 1, 2), extra=one),
        dataclasses.replace(conv, name="nn.Conv2d", form="module"),
        dataclasses.replace(conv, name="Network", form="network"),
    )
    return tuple(dataclasses.replace(case, calls=_CALLS) for case in cases)


OVERHEAD = _tiny()
