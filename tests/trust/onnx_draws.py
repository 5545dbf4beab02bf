"""Drawn ONNX nodes: operators, attributes, shapes, values that go to their dtypes' ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# What values are drawn: of size one, near a dtype's ends, with infinities and NaN, none at all.
KINDS = ("plain", "plain", "tiny", "huge", "special", "empty")
FLOATS = ("float16", "float32", "float64")
# Where a dtype's squares overflow, or come near to nothing.
HUGE = {"float16": 3e4, "float32": 1e18, "float64": 1e150}
TINY = {"float16": 1e-4, "float32": 1e-15, "float64": 1e-150}


@dataclasses.dataclass
class Drawn:
    """A node of one operator, and what it is given; ``fixed`` inputs are part of the model."""

    op: str
    inputs: dict[str, Array | None]
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)
    fixed: Sequence[str] = ()
    opset: int = 21
    kind: str = "plain"

    def __str__(self) -> str:
        shapes = ", ".join(
            f"{k} none" if v is None else f"{k} {v.dtype.name}{list(v.shape)}"
            for k, v in self.inputs.items()
        )
        return f"{self.op} of {self.kind} values: {shapes}; {self.attributes}"


class Draw:
    """Draws from a generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.kind = str(rng.choice(KINDS))

    def one(self, *choices: Any) -> Any:
        """Return one of some choices."""
        return choices[int(self.rng.integers(len(choices)))]

    def size(self, low: int = 1, high: int = 8) -> int:
        """Return a length."""
        return int(self.rng.integers(low, high))

    def shape(self, rank: int) -> tuple[int, ...]:
        """Return a shape, of no elements where that is drawn."""
        lengths = [self.size() for _ in range(rank)]
        if self.kind == "empty" and rank:
            lengths[0] = 0
        return tuple(lengths)

    def values(self, shape: Sequence[int], dtype: Any, kind: str | None = None) -> Array:
        """Return values of the kind that is drawn."""
        dtype, kind = np.dtype(dtype), kind or self.kind
        if dtype.kind == "b":
            return self.rng.random(shape) < 0.5
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            if kind in ("huge", "special"):
                ends = [limits.min, limits.min + 1, 0, limits.max - 1, limits.max]
                return self.rng.choice(np.array(ends, dtype), shape)
            return self.rng.integers(max(limits.min, -9), 10, shape).astype(dtype)
        size = {"huge": HUGE, "tiny": TINY}.get(kind, {}).get(dtype.name, 1.0)
        found = self.rng.uniform(-1, 1, shape) * size * (1 if kind == "huge" else 2)
        if kind == "special" and found.size:
            places = self.rng.integers(0, found.size, 2)
            found.reshape(-1)[places] = self.rng.choice([np.inf, -np.inf, np.nan, 0.0], 2)
        return np.asarray(found.astype(dtype))

    def axes(self, rank: int) -> Array:
        """Return some axes."""
        count = self.size(1, rank + 1)
        return np.sort(self.rng.permutation(rank)[:count]).astype(np.int64)


UNARY = (
    "Abs", "Neg", "Sqrt", "Exp", "Log", "Floor", "Ceil", "Reciprocal", "Sign", "Round", "Erf",
    "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh",
    "Relu", "LeakyRelu", "Elu", "Selu", "Sigmoid", "Tanh", "Softplus", "Softsign", "HardSigmoid",
    "HardSwish", "ThresholdedRelu", "Celu", "Mish", "Gelu", "Shrink", "IsNaN", "IsInf",
)  # fmt: skip
BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Equal", "Less", "PRelu", "Mod")
REDUCTIONS = (
    "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
    "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp",
)  # fmt: skip
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "int64")


def unary(d: Draw, op: str) -> Drawn:
    """An elementwise function; Abs, Neg and Sign of integers too."""
    whole = op in ("Abs", "Neg", "Sign") and d.rng.random() < 0.3
    dtype = d.one("int8", "int32", "int64") if whole else d.one(*FLOATS)
    # Of float32 alone; and where the reference has no float64's error function.
    dtype = "float32" if op in ("Celu", "Gelu") else dtype
    return Drawn(op, {"x": d.values(d.shape(d.size(1, 4)), dtype)})


def binary(d: Draw, op: str) -> Drawn:
    """An elementwise function of two arrays that broadcast."""
    # Integers are not divided by zero, nor the smallest by -1: these are left open.
    whole = op in ("Add", "Sub", "Mul", "Max", "Min", "Equal", "Less") and d.rng.random() < 0.3
    dtype = d.one("int32", "int64") if whole else d.one(*FLOATS)
    shape = d.shape(d.size(1, 4))
    other = tuple(1 if d.rng.random() < 0.3 else n for n in shape)
    a, b = d.values(shape, dtype), d.values(other, dtype)
    if op == "Pow":
        b = d.one(np.asarray(2, dtype), np.asarray(0.5, dtype), np.asarray(-1, dtype))
    return Drawn(op, {"a": a, "b": b}, {"fmod": 1} if op == "Mod" else {})


def reduction(d: Draw, op: str) -> Drawn:
    """A reduction over some axes or all; of integers where they are exact."""
    whole = op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd") and d.rng.random() < 0.3
    dtype = d.one("int32", "int64") if whole else d.one(*FLOATS)
    shape = d.shape(d.size(1, 5))
    if d.kind == "empty" and op not in ("ReduceSum", "ReduceProd", "ReduceL1", "ReduceSumSquare"):
        shape = (2, *shape[1:])
    inputs: dict[str, Array | None] = {"x": d.values(shape, dtype)}
    if d.rng.random() < 0.7:
        inputs["axes"] = d.axes(len(shape))
    return Drawn(op, inputs, {"keepdims": d.one(0, 1)}, ["axes"])


def several(d: Draw, op: str) -> Drawn:
    """Mean or Sum of some arrays."""
    shape, dtype = d.shape(3), d.one(*FLOATS)
    return Drawn(op, {f"x{i}": d.values(shape, dtype) for i in range(d.size(1, 6))})


def along(d: Draw, op: str) -> Drawn:
    """What runs along one axis."""
    shape = d.shape(d.size(1, 4))
    attributes: dict[str, Any] = {"axis": d.size(-len(shape), len(shape))}
    if op == "LpNormalization":
        attributes["p"] = d.one(1, 2)
    return Drawn(op, {"x": d.values(shape, d.one(*FLOATS))}, attributes)


def running(d: Draw, op: str) -> Drawn:
    """Running sums."""
    shape = d.shape(d.size(1, 4))
    axis = np.asarray(d.size(0, len(shape)), np.int64)
    dtype = d.one(*FLOATS, "int32", "int64")
    attributes = {"exclusive": d.one(0, 1), "reverse": d.one(0, 1)}
    return Drawn(op, {"x": d.values(shape, dtype), "axis": axis}, attributes, ["axis"])


def normal(d: Draw, op: str) -> Drawn:
    """A normalisation."""
    n, c, h, w = d.shape(4)
    c, dtype = 2 * c, d.one(*FLOATS)
    x = d.values((n, c, h, w), dtype)
    one = d.kind if d.kind != "special" else "plain"

    def each(length: int) -> Array:
        return d.values((length,), dtype, "plain" if one in ("huge", "tiny") else one)

    if op == "MeanVarianceNormalization":
        return Drawn(op, {"x": x}, {"axes": [int(a) for a in d.axes(4)]})
    if op == "LayerNormalization":
        axis = d.size(1, 4)
        scale, bias = (d.values(x.shape[axis:], dtype, "plain") for _ in range(2))
        return Drawn(op, {"x": x, "s": scale, "b": bias}, {"axis": axis})
    if op == "BatchNormalization":
        mean, variance = each(c), np.abs(each(c)) + np.asarray(0.5, dtype)
        return Drawn(op, {"x": x, "s": each(c), "b": each(c), "m": mean, "v": variance})
    attributes = {"num_groups": 2} if op == "GroupNormalization" else {}
    return Drawn(op, {"x": x, "s": each(c), "b": each(c)}, attributes)


def pool(d: Draw, op: str) -> Drawn:
    """A pool, dilated or not, padded or not."""
    n, c = d.shape(2)
    x = d.values((n, c, d.size(6, 10), d.size(6, 10)), d.one(*FLOATS))
    if op.startswith("Global"):
        return Drawn(op, {"x": x}, {"p": d.one(1, 2, 3)} if op == "GlobalLpPool" else {}, opset=22)
    attributes: dict[str, Any] = {
        "kernel_shape": [d.size(1, 4), d.size(1, 4)], "strides": [d.size(1, 3), d.size(1, 3)],
    }  # fmt: skip
    if d.rng.random() < 0.5 and op != "MaxPool":
        attributes["dilations"] = [d.size(1, 3), 1]
    if op == "LpPool":
        attributes["p"] = d.one(1, 2, 3)
    if op == "AveragePool":
        attributes["count_include_pad"] = d.one(0, 1)
    return Drawn(op, {"x": x}, attributes, opset=22)


def product(d: Draw, op: str) -> Drawn:
    """A product of matrices, or a convolution."""
    dtype = d.one(*FLOATS)
    rows, depth, columns = (d.size(1, 30) for _ in range(3))
    rows = 0 if d.kind == "empty" and op != "Conv" else rows
    other = "plain" if d.kind in ("huge", "special") else d.kind
    a, b = d.values((rows, depth), dtype), d.values((depth, columns), dtype, other)
    if op == "Conv":
        image, channels = d.shape(1)[0], d.size(1, 40)
        k = d.one(1, 3, 5)
        a = d.values((image, channels, d.size(5, 12), d.size(5, 12)), dtype)
        b = d.values((d.size(1, 40), channels, k, k), dtype, other)
        attributes = {"pads": [k // 2] * 4, "strides": [d.one(1, 2)] * 2}
        return Drawn(op, {"x": a, "w": b}, attributes, ["w"])
    if op == "Gemm":
        c = d.values((columns,), dtype, other)
        factors = {"alpha": d.one(1.0, 0.25), "beta": d.one(1.0, 2.0)}
        return Drawn(op, {"a": a, "b": b, "c": c}, factors)
    return Drawn(op, {"a": a, "b": b}, {"equation": "ij,jk->ik"} if op == "Einsum" else {})


def quantised(d: Draw, op: str) -> Drawn:
    """Quantisation, by one scale or one a slice."""
    shape, kind = d.shape(3), d.kind
    target = d.one("int8", "uint8", "int16", "uint16")
    axis = d.size(0, 3)
    each = () if d.rng.random() < 0.5 else (shape[axis],)
    zero = d.values(each, target, "plain" if target[0] == "i" else "huge")
    if op == "QuantizeLinear":
        dtype = d.one("float16", "float32", "int32")
        x = d.values(shape, dtype, "plain" if kind == "special" else kind)
        x = x * np.asarray(1 if kind == "huge" else 50, dtype)
        scale = d.rng.uniform(0.3, 3, each).astype("float32" if dtype == "int32" else dtype)
        if dtype == "int32":
            scale = scale * np.float32(1 if kind != "huge" else 2.0**20)
        return Drawn(op, {"x": x, "s": scale, "z": zero}, {"axis": axis})
    scale = d.rng.uniform(0.3, 3, each).astype(d.one("float16", "float32"))
    return Drawn(op, {"x": d.values(shape, target), "s": scale, "z": zero}, {"axis": axis})


COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
    "tf_crop_and_resize",
)  # fmt: skip


def resize(d: Draw, op: str) -> Drawn:
    """Resize in all modes, by factors that are not binary fractions, or to sizes."""
    mode, coordinates = d.one("nearest", "linear", "cubic"), d.one(*COORDINATES)
    dtype = d.one("float32", "float32", "float16", "uint8", "int8", "int32")
    # Products of numbers near float32's ends are left to the operators above.
    d.kind = d.one("plain", "plain", "huge") if dtype[-1] == "8" else "plain"
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if mode == "nearest":
        roundings = "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"
        attributes["nearest_mode"] = d.one(*roundings)
    elif d.rng.random() < 0.3 and coordinates != "align_corners":
        # With whole lengths for corners, each implementation has another width of its filter.
        attributes["antialias"] = 1
    if mode == "cubic":
        attributes |= {"cubic_coeff_a": d.one(-0.75, -0.5), "exclude_outside": d.one(0, 1)}
    if coordinates == "tf_crop_and_resize":
        attributes["extrapolation_value"] = d.one(0.0, 10.0)
    few = d.rng.random() < 0.5
    lead = 0 if few else 2
    if few:
        attributes["axes"] = [2, 3]
    size = d.size(1, 23), d.size(1, 23)
    roi = scales = sizes = None
    if coordinates == "tf_crop_and_resize":
        ends = [[0] * lead, d.rng.uniform(-0.2, 0.5, 2), [1] * lead, d.rng.uniform(0.6, 1.2, 2)]
        roi = np.concatenate(ends).astype(np.float32)
    if d.rng.random() < 0.5:
        some = (0.5, 2.0, 1.1, 1.7, 0.7, 0.35, 1.3, 3.0, 2.3, d.rng.uniform(0.2, 4))
        scales = np.array([1.0] * lead + [d.one(*some), d.one(*some)], np.float32)
    else:
        sizes = np.array([*(1, 2)[:lead], d.size(1, 60), d.size(1, 60)])
        if few and d.rng.random() < 0.4:
            attributes["keep_aspect_ratio_policy"] = d.one("not_larger", "not_smaller")
    inputs = {"x": d.values((1, 2, *size), dtype), "roi": roi, "scales": scales, "sizes": sizes}
    return Drawn(op, inputs, attributes, ["roi", "scales", "sizes"], opset=19)


def transform(d: Draw, op: str) -> Drawn:
    """A Fourier transform of reals or pairs, as opset 17 or 20 has it, or of frames."""
    d.kind = d.kind if d.kind in ("tiny", "empty") else "plain"
    dtype, parts, one = d.one(*FLOATS), d.one(1, 2), d.one(0, 1)
    if op == "STFT":
        size = d.size(2, 12)
        signal = d.values((*d.shape(1), d.size(size, 40), parts), dtype)
        window = d.one(None, d.values((size,), dtype, "plain"))
        length = np.asarray(size) if window is None else d.one(None, np.asarray(size))
        inputs = {"x": signal, "step": np.asarray(d.size(1, 9)), "w": window, "n": length}
        return Drawn(op, inputs, {"onesided": one}, ["step", "w", "n"])
    x = d.values((*d.shape(d.size(2, 4)), parts), dtype)
    axis, inverse = d.size(1, x.ndim - 1), d.one(0, 1)
    attributes = {"inverse": inverse, "onesided": one}
    length = np.asarray(d.size(2, 12)) if x.shape[axis] < 2 else d.one(None, np.asarray(5))
    old: dict[str, Array | None] = {"x": x} if length is None else {"x": x, "n": length}
    if d.rng.random() < 0.5:
        return Drawn(op, old, {**attributes, "axis": axis}, ["n"], opset=17)
    place = np.asarray(d.one(axis, axis - x.ndim))
    return Drawn(op, {"x": x, "n": length, "a": place}, attributes, ["n", "a"])


def weights(d: Draw, op: str) -> Drawn:
    """A window of signals, or filters of a spectrum."""
    attributes = {"output_datatype": d.one(1, 10, 11)}
    if op != "MelWeightMatrix":
        size = np.asarray(d.size(2, 500), d.one(np.int32, np.int64))
        return Drawn(op, {"n": size}, {**attributes, "periodic": d.one(0, 1)}, d.one((), ("n",)))
    rate = d.one(8000, 16000, 44100)
    edges = np.float32(d.rng.uniform(0, 300)), np.float32(d.rng.uniform(0.2, 0.49) * rate)
    sizes = [np.asarray(n) for n in (d.size(1, 80), d.one(64, 400, 512), rate)]
    names = ("bins", "n", "rate", "low", "high")
    given = dict(zip(names, (*sizes, *map(np.asarray, edges)), strict=True))
    return Drawn(op, given, attributes, names)


def sampled(d: Draw, op: str) -> Drawn:
    """Images read between cells: by a grid, or by moved taps of a filter."""
    d.kind = "plain"
    dtype = d.one("float32", "float64")
    n, size = d.one(2, 2, 3), (d.size(2), d.size(2), d.size(2))
    if op == "GridSample":
        x = d.values((2, d.size(1, 4), *size[:n]), dtype)
        grid = d.rng.uniform(-1.6, 1.6, (2, *(d.size() for _ in range(n)), n)).astype(dtype)
        attributes = {
            "mode": d.one("linear", "nearest", *(("cubic",) if n == 2 else ())),
            "padding_mode": d.one("zeros", "border", "reflection"),
            "align_corners": d.one(0, 1),
        }
        return Drawn(op, {"x": x, "grid": grid}, attributes)
    groups, parts, k = d.one(1, 2), d.one(1, 2), (d.size(1, 4), d.size(1, 4))
    pads, out = d.one(0, 1), (d.size(), d.size())
    stride, dilation = d.one(1, 2), d.one(1, 2)
    height, width = (
        (o - 1) * stride + (m - 1) * dilation + 1 - 2 * pads for o, m in zip(out, k, strict=True)
    )
    if min(height, width) < 1:
        height, width, pads = height + 2 * pads, width + 2 * pads, 0
    inputs = {
        "x": d.values((1, 4, height, width), dtype),
        "w": d.values((2 * groups, 4 // groups, *k), dtype),
        "o": d.rng.uniform(-2, 2, (1, parts * k[0] * k[1] * 2, *out)).astype(dtype),
        "b": d.values((2 * groups,), dtype),
        "m": d.one(None, d.rng.uniform(0, 1, (1, parts * k[0] * k[1], *out)).astype(dtype)),
    }
    options = {"group": groups, "offset_group": parts, "pads": [pads] * 4, "strides": [stride] * 2,
               "dilations": [dilation] * 2, "kernel_shape": list(k)}  # fmt: skip
    return Drawn(op, inputs, options, ["w", "b"])


MAKERS: dict[str, Callable[[Draw, str], Drawn]] = {
    **dict.fromkeys(UNARY, unary),
    **dict.fromkeys(BINARY, binary),
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(("Mean", "Sum"), several),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "LpNormalization"), along),
    "CumSum": running,
    **dict.fromkeys(
        ("MeanVarianceNormalization", "LayerNormalization", "BatchNormalization",
         "GroupNormalization", "InstanceNormalization"), normal,
    ),
    **dict.fromkeys(
        ("AveragePool", "MaxPool", "LpPool", "GlobalAveragePool", "GlobalMaxPool",
         "GlobalLpPool"), pool,
    ),
    **dict.fromkeys(("MatMul", "Gemm", "Einsum", "Conv"), product),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), quantised),
    "Resize": resize,
    **dict.fromkeys(("DFT", "STFT"), transform),
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix"), weights),
    **dict.fromkeys(("GridSample", "DeformConv"), sampled),
}  # fmt: skip


def drawn(op: str, seed: int) -> Drawn:
    """Draw a node of an operator: the same for the same seed."""
    d = Draw(np.random.default_rng((seed, *op.encode())))
    node = MAKERS[op](d, op)
    node.kind = d.kind
    return node
