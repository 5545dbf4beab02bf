"""What is timed, as data: an operation, its shapes and its options; no framework is imported."""

from __future__ import annotations

import csv
import dataclasses
import functools
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

TABLE = Path(__file__).with_name("layers.csv")
# Suites of plain calls: there fastconv gets plain arrays, and nothing is packed beforehand.
PLAIN = ("functional", "overhead")
CHANNELS_LAST = {1: "NWC", 2: "NHWC", 3: "NDHWC"}
_DEFAULTS = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "output_padding": 0}


@dataclasses.dataclass(frozen=True)
class Case:
    """One call of ``fastconv.<op>``: channels first, weights as torch has them, seeded data.

    ``separable`` makes the weight an outer product, for peers that have a function for such.
    ``quick`` cases are the ones that a quick run takes.

    ``extra`` has the shapes of further arrays, by the name of their argument: a bias follows a
    weight by position, all others go by name. With ``last`` fastconv gets and returns channels
    last. ``form`` is ``"call"``, ``"module"`` (a layer of ``nn``) or ``"network"``; ``calls`` are
    timed as one run. ``group`` is a part of a suite that has a mean of its own.
    """

    name: str
    op: str
    shape: Shape
    weight_shape: Shape | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    dtype: str = "float32"
    separable: bool = False
    quick: bool = False
    extra: Mapping[str, Shape] = dataclasses.field(default_factory=dict)
    last: bool = False
    form: str = "call"
    calls: int = 1
    group: str = ""

    @property
    def ranked(self) -> bool:
        """Whether the operation's name ends with its rank."""
        return self.op[-2:] in ("1d", "2d", "3d")

    @property
    def kind(self) -> str:
        """The operation without its rank: conv, conv_transpose, max_pool, ..."""
        return self.op[:-2] if self.ranked else self.op

    @property
    def n(self) -> int:
        """Spatial dimensions: those after the second where the name does not say."""
        return int(self.op[-2]) if self.ranked else len(self.shape) - 2

    @property
    def channels(self) -> int:
        return self.shape[1]

    @property
    def groups(self) -> int:
        return int(self.options.get("groups", 1))

    @property
    def out_channels(self) -> int:
        if self.weight_shape is None:
            return self.channels
        transposed = self.kind == "conv_transpose"
        return self.weight_shape[1] * self.groups if transposed else self.weight_shape[0]

    @property
    def kernel(self) -> Shape:
        """Window of a convolution or a pool; adaptive pools have none."""
        if self.weight_shape is not None:
            return self.weight_shape[2:]
        return self.each("kernel_size")

    @property
    def depthwise(self) -> bool:
        """Whether every output channel sees one input channel of its own."""
        return self.kind == "conv" and self.groups == self.channels == self.out_channels

    def each(self, name: str) -> Shape:
        """Return an option as an int a spatial dimension; a pool steps by its window."""
        value = self.options.get(name)
        if value is None:
            step = name == "stride" and "kernel_size" in self.options
            value = self.options["kernel_size"] if step else _DEFAULTS[name]
        return tuple(value) if isinstance(value, (tuple, list)) else (value,) * self.n

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """Cells (before, after) a spatial dimension."""
        spans = [d * (k - 1) for d, k in zip(self.each("dilation"), self.kernel, strict=True)]
        padding = self.options.get("padding", 0)
        if padding == "causal":
            return tuple((span, 0) for span in spans)
        if padding == "same":
            return tuple((span // 2, span - span // 2) for span in spans)
        return tuple((p, p) for p in self.each("padding"))

    @property
    def even_pads(self) -> bool:
        """Whether as many cells are added before as after."""
        return all(before == after for before, after in self.pads)

    def operands(self) -> tuple[Array, Array | None]:
        """Draw input and weight: unit variance in, about unit variance out; small integers."""
        rng = np.random.default_rng(0)
        x = _draw(rng, self.shape, self.dtype)
        if self.weight_shape is None:
            return x, None
        if self.separable:
            weight = np.multiply.outer(*(rng.standard_normal(k) for k in self.kernel))
            weight = weight.reshape(self.weight_shape).astype(self.dtype)
        else:
            weight = _draw(rng, self.weight_shape, self.dtype)
        if np.dtype(self.dtype).kind in "iu":
            return x, weight
        fan_in = self.channels // self.groups * prod(self.kernel)
        return x, (weight / np.sqrt(fan_in)).astype(self.dtype)

    def arguments(self) -> tuple[list[Array], dict[str, Array]]:
        """Return the arrays that go by position and those that go by name."""
        x, weight = self.operands()
        rng = np.random.default_rng(1)
        named = {name: _draw(rng, shape, self.dtype) for name, shape in self.extra.items()}
        if "running_var" in named:
            named["running_var"] = np.abs(named["running_var"]) + 1
        if weight is None:
            return [x], named
        first = [named.pop("bias")] if "bias" in named else []
        return [x, weight, *first], named

    def flops(self, outputs: int) -> int:
        """Operations by the definition: 2 a multiply-accumulate, 1 a cell of a pool's window.

        One an output for all else.
        """
        if self.kind == "conv_transpose":
            assert self.weight_shape is not None
            return 2 * prod(self.shape) * prod(self.weight_shape[1:])
        if self.weight_shape is not None:
            return 2 * outputs * prod(self.weight_shape[1:])
        if not self.kind.endswith("pool"):
            return outputs
        return prod(self.shape) if "output_size" in self.options else outputs * prod(self.kernel)

    def bytes(self, outputs: int) -> int:
        """Bytes that must move at least once: input, weight, output."""
        cells = prod(self.shape) + prod(self.weight_shape or (0,)) + outputs
        cells += sum(map(prod, self.extra.values()))
        return cells * np.dtype(self.dtype).itemsize


def _draw(rng: np.random.Generator, shape: Shape, dtype: str) -> Array:
    kind = np.dtype(dtype).kind
    if kind in "iu":
        whole: Array = rng.integers(0 if kind == "u" else -3, 4, shape)
        return whole.astype(dtype)
    real: Array = rng.standard_normal(shape)
    if kind == "c":
        real = (real + 1j * rng.standard_normal(shape)) / np.sqrt(2)
    return real.astype(dtype)


_QUICK_LAYERS = {
    "rn50.conv1", "rn50.2a.1x1", "rn50.2b.3x3", "rn50.3a.3x3s2", "rn50.4b.3x3", "rn50.5b.3x3",
    "vgg.1_1", "mnv2.dw112", "mnv2.dw14", "mnv2.pw", "lenet.1", "fmnist.1", "incep.1x7",
    "resnext.g32",
}  # fmt: skip


@functools.cache
def layers() -> tuple[Case, ...]:
    """Layers of well-known networks: the rows of layers.csv."""
    with TABLE.open() as file:
        return tuple(_layer(row) for row in csv.DictReader(file))


def _layer(row: dict[str, str]) -> Case:
    n = {key: int(value) for key, value in row.items() if key != "name"}
    return Case(
        row["name"],
        "conv2d",
        (n["batch"], n["in_channels"], n["height"], n["width"]),
        (n["out_channels"], n["in_channels"] // n["groups"], n["kernel_h"], n["kernel_w"]),
        {
            "stride": n["stride"],
            "padding": (n["pad_h"], n["pad_w"]),
            "dilation": n["dilation"],
            "groups": n["groups"],
        },
        quick=row["name"] in _QUICK_LAYERS,
    )


def _filter(name: str, size: int, dtype: str, **more: Any) -> Case:
    """Return a filter of one channel over an image of 512 x 512, output of the same size."""
    shapes = (1, 1, 512, 512), (1, 1, size, size)
    return Case(name, "conv2d", *shapes, {"padding": size // 2}, dtype, **more)


_IMAGE = (1, 64, 112, 112)
POOLS = (
    Case("max3s2", "max_pool2d", _IMAGE, None, {"kernel_size": 3, "stride": 2, "padding": 1},
         quick=True),
    Case("max2s2", "max_pool2d", _IMAGE, None, {"kernel_size": 2}),
    Case("max3s1", "max_pool2d", _IMAGE, None, {"kernel_size": 3, "stride": 1, "padding": 1}),
    Case("max5s1.sppf", "max_pool2d", (1, 256, 20, 20), None,
         {"kernel_size": 5, "stride": 1, "padding": 2}),
    Case("max13s1.spp", "max_pool2d", (1, 512, 13, 13), None,
         {"kernel_size": 13, "stride": 1, "padding": 6}, quick=True),
    Case("max3s2.d2", "max_pool2d", _IMAGE, None,
         {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2}, quick=True),
    Case("max3.ceil", "max_pool2d", (1, 64, 113, 113), None,
         {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    Case("max101.1d", "max_pool1d", (1, 1, 100000), None,
         {"kernel_size": 101, "stride": 1, "padding": 50}, quick=True),
    Case("max3.3d", "max_pool3d", (1, 32, 16, 56, 56), None,
         {"kernel_size": 3, "stride": 2, "padding": 1}),
    Case("avg3s2", "avg_pool2d", _IMAGE, None, {"kernel_size": 3, "stride": 2, "padding": 1},
         quick=True),
    Case("avg2s2", "avg_pool2d", _IMAGE, None, {"kernel_size": 2}),
    Case("avg3s1.nopad", "avg_pool2d", _IMAGE, None,
         {"kernel_size": 3, "stride": 1, "padding": 1, "count_include_pad": False}),
    Case("avg31s1", "avg_pool2d", (1, 1, 512, 512), None,
         {"kernel_size": 31, "stride": 1, "padding": 15}, quick=True),
    Case("avg501.1d", "avg_pool1d", (1, 1, 100000), None, {"kernel_size": 501, "stride": 1}),
    Case("lp2s2", "lp_pool2d", _IMAGE, None, {"norm_type": 2, "kernel_size": 2}, quick=True),
    Case("global.avg", "adaptive_avg_pool2d", (1, 2048, 7, 7), None, {"output_size": 1},
         quick=True),
    Case("adaptive.avg7", "adaptive_avg_pool2d", (1, 256, 30, 30), None, {"output_size": 7}),
    Case("adaptive.max7", "adaptive_max_pool2d", (1, 256, 30, 30), None, {"output_size": 7}),
)  # fmt: skip

CLIFFS = (
    Case("dw1d.k31", "conv1d", (8, 64, 4000), (64, 1, 31), {"padding": 15, "groups": 64},
         quick=True),
    Case("fir.k1025", "conv1d", (1, 1, 160000), (1, 1, 1025), {"padding": 512}),
    Case("fir.k101", "conv1d", (1, 1, 100000), (1, 1, 101), {}, quick=True),
    Case("fir.k101.f64", "conv1d", (1, 1, 100000), (1, 1, 101), {}, "float64"),
    Case("speech.k10s5", "conv1d", (1, 1, 160000), (512, 1, 10), {"stride": 5}),
    Case("wavenet.d512", "conv1d", (1, 64, 8000), (64, 64, 2),
         {"padding": "causal", "dilation": 512}, quick=True),
    Case("tcn.d16", "conv1d", (1, 64, 8000), (64, 64, 3), {"padding": "causal", "dilation": 16}),
    Case("dw31x31", "conv2d", (1, 3, 512, 512), (3, 1, 31, 31), {"padding": 15, "groups": 3}),
    Case("convnext.dw7", "conv2d", (1, 96, 56, 56), (96, 1, 7, 7), {"padding": 3, "groups": 96},
         quick=True),
    Case("dw3.m4", "conv2d", (1, 32, 56, 56), (128, 1, 3, 3), {"padding": 1, "groups": 32}),
    Case("large15", "conv2d", (1, 32, 64, 64), (32, 32, 15, 15), {"padding": 7}),
    Case("5x5", "conv2d", (1, 64, 96, 96), (64, 64, 5, 5), {"padding": 2}, quick=True),
    Case("grouped.g4", "conv2d", (1, 64, 56, 56), (64, 16, 3, 3), {"padding": 1, "groups": 4},
         quick=True),
    Case("odd.primes", "conv2d", (1, 37, 53, 59), (41, 37, 3, 3), {"padding": 1}, quick=True),
    Case("wide.s3", "conv2d", (1, 64, 97, 97), (64, 64, 3, 3), {"stride": 3, "padding": 1}),
    Case("vit.patch16", "conv2d", (1, 3, 224, 224), (768, 3, 16, 16), {"stride": 16}, quick=True),
    Case("one.pixel", "conv2d", (1, 512, 1, 1), (512, 512, 3, 3), {"padding": 1}),
    Case("conv3d", "conv3d", (1, 32, 16, 28, 28), (32, 32, 3, 3, 3), {"padding": 1}, quick=True),
    Case("conv3d.rgb", "conv3d", (1, 3, 16, 56, 56), (32, 3, 3, 5, 5),
         {"stride": (1, 2, 2), "padding": (1, 2, 2)}),
    Case("up4s2", "conv_transpose2d", (1, 64, 32, 32), (64, 32, 4, 4),
         {"stride": 2, "padding": 1}, quick=True),
    Case("up2s2", "conv_transpose2d", (1, 128, 28, 28), (128, 64, 2, 2), {"stride": 2}),
    Case("up3s2.op1", "conv_transpose2d", (1, 64, 28, 28), (64, 64, 3, 3),
         {"stride": 2, "padding": 1, "output_padding": 1}),
    Case("up16s8.1d", "conv_transpose1d", (1, 64, 500), (64, 32, 16),
         {"stride": 8, "padding": 4}),
    _filter("filter9.f32", 9, "float32", quick=True),
    _filter("filter9.f64", 9, "float64"),
    _filter("filter3.f32", 3, "float32"),
    _filter("filter31.f32", 31, "float32"),
    _filter("filter15.sep", 15, "float32", separable=True, quick=True),
)  # fmt: skip


def _typed(name: str, dtype: str, shape: Shape, weight: Shape, **options: Any) -> Case:
    quick = name == "3x3" and dtype in ("float32", "float64")
    return Case(f"{name}.{dtype}", "conv2d", shape, weight, options, dtype, quick=quick)


DTYPES = (
    *(
        _typed(name, dtype, shape, weight, **options)
        for dtype in ("float32", "float64", "float16", "complex64", "int8", "int32")
        for name, shape, weight, options in (
            ("3x3", (1, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}),
            ("1x1", (1, 64, 56, 56), (256, 64, 1, 1), {}),
        )
    ),
    *(
        Case(f"{case.name}.{dtype}", case.op, case.shape, None, case.options, dtype)
        for case in POOLS if case.name in ("max3s2", "avg3s2")
        for dtype in ("float64", "float16")
    ),
)  # fmt: skip

_THREADED = (
    "rn50.conv1", "rn50.2a.1x1", "rn50.2b.3x3", "rn50.4b.3x3", "vgg.1_2", "mnv2.dw112", "lenet.1",
    "rn50.2b.n8",
)  # fmt: skip
_QUICK_THREADED = ("rn50.2b.3x3", "mnv2.dw112", "lenet.1")


def suites() -> dict[str, tuple[Case, ...]]:
    """Return every suite's cases, by the suite's name."""
    # Its cases are made of this module's.
    from benchmarks import functional

    threads = [case for case in layers() if case.name in _THREADED]
    chosen = [case for case in CLIFFS if case.kind == "conv" and case.dtype == "float32"]
    return {
        "layers": layers(),
        "pools": POOLS,
        "cliffs": CLIFFS,
        "dtypes": DTYPES,
        "threads": tuple(
            dataclasses.replace(case, quick=case.name in _QUICK_THREADED) for case in threads
        ),
        "algorithms": (*layers(), *chosen),
        "functional": functional.cases(),
        "overhead": functional.OVERHEAD,
    }
