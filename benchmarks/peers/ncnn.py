"""ncnn, from its own text format."""

from __future__ import annotations

import struct
import tempfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import Array, Case
from benchmarks.peers.base import FLOAT32, Peer, other_adaptive, output_shape, whole_window
from benchmarks.rival import Rival


class Ncnn(Peer):
    """ncnn in float32 throughout; a fresh extractor a run, since one keeps its results."""

    name = "ncnn"
    needs = {"ncnn": "ncnn"}  # noqa: RUF012

    def can(self, case: Case) -> str | None:
        if case.dtype != "float32":
            return FLOAT32
        if case.shape[0] != 1:
            return "no batch"
        if case.kind == "lp_pool":
            return "no such layer"
        if case.weight_shape is None and not whole_window(case):
            if "output_size" not in case.options and set(case.each("dilation")) != {1}:
                return "no dilated pool"
        elif case.kind == "conv" and case.n == 3 and case.groups > 1 and not case.depthwise:
            return "no groups in three dimensions"
        return None

    def make(self, case: Case, threads: int) -> Rival:
        x, weight = case.operands()
        line = _ncnn_pool(case) if weight is None else _ncnn_conv(case)
        values = b"" if weight is None else _ncnn_weight(case, weight)
        network = ncnn_net(f"7767517\n2 2\nInput in 0 1 x\n{line}\n", values, threads)
        shape = None if other_adaptive(case) else output_shape(case)
        return by_ncnn(network, x, shape)


def ncnn_net(layers: str, values: bytes, threads: int) -> Any:
    """Load a network of ncnn's own text and weights, in float32 throughout."""
    import ncnn

    network = ncnn.Net()
    network.opt.num_threads = threads
    network.opt.use_vulkan_compute = False
    for name in dir(network.opt):
        if name.startswith(("use_fp16", "use_bf16")):
            setattr(network.opt, name, False)
    with tempfile.TemporaryDirectory() as folder:
        text, data = (Path(folder) / name for name in ("param", "bin"))
        text.write_text(layers)
        data.write_bytes(values)
        if network.load_param(str(text)) or network.load_model(str(data)):
            raise ValueError(f"ncnn does not take {layers!r}")
    return network


def by_ncnn(network: Any, x: Array, shape: tuple[int, ...] | None) -> Rival:
    """Return a network of "x" and "y" on one image; its output gets the shape, if given."""
    import ncnn

    image = np.ascontiguousarray(x[0])
    held = ncnn.Mat(image)

    def run(keep: Array = image) -> Any:
        extractor = network.create_extractor()
        extractor.input("x", held)
        return extractor.extract("y")[1]

    def output() -> Array:
        values = np.array(run())
        return values[None] if shape is None else values.reshape(shape)

    return Rival(run, output)


def _ncnn_fields(fields: dict[int, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in fields.items())


def _ncnn_conv(case: Case) -> str:
    transposed = case.kind == "conv_transpose"
    grouped = "DepthWise" if case.groups > 1 else ""
    rank = "" if case.n == 2 else f"{case.n}D"
    # Fields are numbered from the last dimension: width 1, height 11, depth 21 and so on.
    fields: dict[int, Any] = {0: case.out_channels}
    for first, name in ((2, "dilation"), (3, "stride")):
        fields |= {first + 10 * i: v for i, v in enumerate(reversed(case.each(name)))}
    fields |= {1 + 10 * i: k for i, k in enumerate(reversed(case.kernel))}
    for i, (before, after) in enumerate(reversed(case.pads)):
        fields |= {4 + 10 * i: before, 15 + i: after}
    assert case.weight_shape is not None
    fields[6] = prod(case.weight_shape)
    if case.groups > 1:
        fields[7] = case.groups
    if transposed:
        extra = reversed(case.each("output_padding"))
        fields |= {(18, 19, 20)[i]: value for i, value in enumerate(extra)}
    kind = "Deconvolution" if transposed else "Convolution"
    return f"{kind}{grouped}{rank} case 1 1 x y {_ncnn_fields(fields)}"


def _ncnn_weight(case: Case, weight: Array) -> bytes:
    if case.kind == "conv_transpose":
        inner = weight.reshape(case.groups, -1, *weight.shape[1:])
        weight = np.ascontiguousarray(inner.swapaxes(1, 2))
    return struct.pack("<I", 0) + weight.tobytes()


def _ncnn_pool(case: Case) -> str:
    rank = "" if case.n == 2 else f"{case.n}D"
    fields: dict[int, Any] = {0: 0 if "max" in case.kind else 1}
    if "output_size" in case.options:
        size = case.options["output_size"]
        sizes = size if isinstance(size, tuple) else (size,) * case.n
        fields |= {4: 1} if whole_window(case) else {7: 1}
        fields |= {8 + 10 * i: v for i, v in enumerate(reversed(sizes))}
    else:
        for first, values in ((1, case.kernel), (2, case.each("stride"))):
            fields |= {first + 10 * i: v for i, v in enumerate(reversed(values))}
        for i, (before, after) in enumerate(reversed(case.pads)):
            fields |= {3 + 10 * i: before, 14 + i: after}
        fields[5] = 0 if case.options.get("ceil_mode") else 1
        fields[6] = int(case.options.get("count_include_pad", True))
    return f"Pooling{rank} case 1 1 x y {_ncnn_fields(fields)}"
