"""ONNX operators at the sizes that networks meet, each a model of one node."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
MAP = (1, 64, 56, 56)
_FLOAT = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Elu", "Erf",
    "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Mish", "Neg",
    "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus",
    "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu", "Celu", "IsNaN", "IsInf",
)  # fmt: skip
_BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Equal", "Greater", "GreaterOrEqual", "Less",
           "LessOrEqual", "Mod", "PRelu")  # fmt: skip
_REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
               "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """One node: what it is fed, what of its inputs are constants, its attributes.

    A ``table`` is a constant before what is fed.

    ``tolerance`` is relative to the answer's deviation.
    """

    name: str
    operator: str
    feeds: tuple[Array, ...]
    constants: tuple[Array | None, ...] = ()
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)
    outputs: int = 1
    opset: int = 21
    tolerance: float = 1e-5
    table: Array | None = None

    def model(self) -> bytes:
        """Return the ONNX model."""
        import onnx
        from onnx import helper, numpy_helper

        kind = helper.np_dtype_to_tensor_dtype
        names = [f"x{i}" for i in range(len(self.feeds))]
        stored = [] if self.table is None else [numpy_helper.from_array(self.table, "table")]
        kept = [
            None if value is None else numpy_helper.from_array(value, f"c{i}")
            for i, value in enumerate(self.constants)
        ]
        inputs = [
            *(value.name for value in stored),
            *names,
            *("" if value is None else value.name for value in kept),
        ]
        results = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(self.operator, inputs, results, **self.attributes)
        graph = helper.make_graph(
            [node], self.name,
            [helper.make_tensor_value_info(name, kind(value.dtype), list(value.shape))
             for name, value in zip(names, self.feeds, strict=True)],
            [onnx.ValueInfoProto(name=name) for name in results],
            [*stored, *(value for value in kept if value is not None)],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        model = onnx.shape_inference.infer_shapes(model)
        for value in model.graph.output:
            tensor = value.type.tensor_type
            if not tensor.HasField("shape"):
                tensor.elem_type = tensor.elem_type or kind(np.dtype(np.float32))
                tensor.shape.dim.add()
        return bytes(model.SerializeToString())


def cases() -> Iterator[Case]:
    """Yield all cases, the same data each time."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape, dtype=np.float32)

    yield from _elementwise(normal, rng)
    yield from _reductions(normal)
    yield from _quantised(normal, rng)
    yield from _resizing(normal, rng)
    yield from _choosing(normal, rng)
    yield from _moving(normal, rng)
    yield from _signals(normal)


def _elementwise(normal: Any, rng: Any) -> Iterator[Case]:
    x = normal(*MAP)
    positive = np.abs(x) + np.float32(0.01)
    inside = np.clip(x / 4, -0.99, 0.99).astype("f4")
    own = {"Log": positive, "Sqrt": positive, "Acos": inside, "Asin": inside, "Atanh": inside,
           "Acosh": positive + 1, "Reciprocal": positive}  # fmt: skip
    for operator in _FLOAT:
        yield Case(operator, operator, (own.get(operator, x),))
    y = normal(*MAP)
    channel = normal(1, 64, 1, 1)
    for operator in _BINARY:
        options = {"fmod": 1} if operator == "Mod" else {}
        yield Case(operator, operator, (x, positive if operator == "Mod" else y), (), options)
    for operator in ("Add", "Mul", "Div", "Greater"):
        yield Case(f"{operator} by channel", operator, (x,), (channel,))
    yield Case("Greater number", "Greater", (x,), (np.array(0.5, np.float32),))
    for exponent in (2.0, 0.5, 3.0, 1.7):
        yield Case(f"Pow {exponent:g}", "Pow", (positive,), (np.array(exponent, np.float32),))
    yield Case("Pow", "Pow", (positive, y))
    yield Case("Where", "Where", (x > 0, x, y))
    yield Case("Where number", "Where", (x > 0, x), (np.array(-1e4, np.float32),))
    yield Case("Clip", "Clip", (x,), (np.array(-1, np.float32), np.array(1, np.float32)))
    yield Case("And", "And", (x > 0, y > 0))
    yield Case("Not", "Not", (x > 0,))
    pixels = rng.integers(0, 256, MAP, np.uint8)
    for target, source in ((1, pixels), (2, x * 20 + 128), (6, x * 20), (7, x * 20), (10, x)):
        value = np.clip(source, 0, 255) if target == 2 else source
        yield Case(f"Cast {value.dtype.name} to {target}", "Cast", (value,), (), {"to": target})
    yield Case("Cast bool to float", "Cast", (x > 0,), (), {"to": 1})
    yield Case("Cast int64 to float", "Cast", (pixels.astype(np.int64),), (), {"to": 1})
    whole = pixels.astype(np.int64)
    yield Case("Add int64", "Add", (whole, whole[:, ::-1].copy()))
    yield Case("Mul int32", "Mul", (pixels.astype("i4"), pixels.astype("i4")))
    yield Case("Erf tokens", "Erf", (normal(1, 197, 3072),))
    yield Case("Add tokens", "Add", (normal(1, 197, 768),), (normal(768),))
    yield Case("Sum of 3", "Sum", (x, y, positive))


def _reductions(normal: Any) -> Iterator[Case]:
    x, tokens = np.abs(normal(*MAP)) + np.float32(0.01), normal(1, 197, 768)
    for operator in _REDUCTIONS:
        value = x / 4 if operator == "ReduceProd" else x
        for name, axes in (("plane", (2, 3)), ("row", (3,)), ("channel", (1,))):
            kept = np.array(axes, np.int64)
            yield Case(f"{operator} {name}", operator, (value,), (kept,), tolerance=1e-3)
    yield Case("ReduceMean all", "ReduceMean", (x,), (), {"keepdims": 0}, tolerance=1e-2)
    yield Case("ReduceMean tokens", "ReduceMean", (tokens,), (np.array([-1]),), tolerance=1e-3)
    for axis in (1, 3):
        yield Case(f"ArgMax {axis}", "ArgMax", (x,), (), {"axis": axis})
        yield Case(f"Softmax {axis}", "Softmax", (x,), (), {"axis": axis})
        yield Case(f"CumSum {axis}", "CumSum", (x,), (np.array(axis),), tolerance=1e-3)
    yield Case("LogSoftmax", "LogSoftmax", (tokens,), (), {"axis": -1})
    layer = (normal(768), normal(768))
    yield Case("LayerNormalization", "LayerNormalization", (tokens,), layer, {"axis": -1})
    own = (normal(64), normal(64))
    yield Case("InstanceNormalization", "InstanceNormalization", (x,), own)
    yield Case("LpNormalization", "LpNormalization", (tokens,), (), {"axis": -1, "p": 2})
    yield Case("LRN", "LRN", (x,), (), {"size": 5})


def _quantised(normal: Any, rng: Any) -> Iterator[Case]:
    x = normal(*MAP)
    scale, scales = np.array(0.02, np.float32), (np.abs(normal(64)) / 50 + 0.01).astype("f4")
    for name, low, high in (("uint8", 0, 256), ("int8", -128, 128), ("int16", -3000, 3000)):
        dtype = np.dtype(name)
        zero = np.array(3, dtype)
        given = rng.integers(low, high, MAP, dtype)
        yield Case(f"QuantizeLinear {name}", "QuantizeLinear", (x,), (scale, zero))
        yield Case(f"DequantizeLinear {name}", "DequantizeLinear", (given,), (scale, zero))
    given, zeros = rng.integers(-128, 128, MAP, np.int8), np.zeros(64, np.int8)
    yield Case("QuantizeLinear by channel", "QuantizeLinear", (x,), (scales, zeros), {"axis": 1})
    yield Case("DequantizeLinear by channel", "DequantizeLinear", (given,), (scales, zeros),
               {"axis": 1})  # fmt: skip
    sums = rng.integers(-9999, 9999, MAP, np.int32)
    yield Case("DequantizeLinear int32", "DequantizeLinear", (sums,), (scale,))
    rows, blocks = normal(768, 768), (np.abs(normal(768, 24)) / 50 + 0.01).astype("f4")
    ints = rng.integers(-128, 128, (768, 768), np.int8)
    blocked = {"axis": 1, "block_size": 32}
    none = np.zeros((768, 24), np.int8)
    yield Case("QuantizeLinear blocks", "QuantizeLinear", (rows,), (blocks, none), blocked)
    yield Case("DequantizeLinear blocks", "DequantizeLinear", (ints,), (blocks, none), blocked)
    yield Case("DynamicQuantizeLinear", "DynamicQuantizeLinear", (x,), (), {}, 3)


def _resizing(normal: Any, rng: Any) -> Iterator[Case]:
    x, last = normal(*MAP), normal(1, 56, 56, 64)
    pixels = rng.integers(0, 256, (1, 3, 224, 224), np.uint8)
    picture = rng.integers(0, 256, (1, 224, 224, 3), np.uint8)
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
               "nearest_mode": "floor"}  # fmt: skip
    linear = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    first = (("nearest", x, nearest), ("nearest uint8", pixels, nearest), ("linear", x, linear),
             ("linear uint8", pixels, linear))  # fmt: skip
    for name, value, options in first:
        for factor in (2.0, 1.6, 0.5):
            scales = np.array([1, 1, factor, factor], np.float32)
            yield Case(f"Resize {name} x{factor:g}", "Resize", (value,), (None, scales), options,
                       tolerance=2e-2 if value is pixels else 1e-5)  # fmt: skip
    for name, value, options in (("nearest NHWC", last, nearest), ("linear NHWC", last, linear),
                                 ("nearest NHWC uint8", picture, nearest),
                                 ("linear NHWC uint8", picture, linear)):  # fmt: skip
        for factor in (2.0, 1.6):
            scales = np.array([1, factor, factor, 1], np.float32)
            yield Case(f"Resize {name} x{factor:g}", "Resize", (value,), (None, scales), options,
                       tolerance=2e-2 if value is picture else 1e-5)  # fmt: skip
    cubic = {"mode": "cubic", "coordinate_transformation_mode": "half_pixel"}
    yield Case("Resize cubic x2", "Resize", (x,), (None, np.array([1, 1, 2, 2], "f4")), cubic)


def _choosing(normal: Any, rng: Any) -> Iterator[Case]:
    for count in (100, 1000):
        corners = rng.uniform(0, 600, (1, count, 2)).astype("f4")
        boxes = np.concatenate([corners, corners + rng.uniform(5, 120, (1, count, 2))], 2)
        scores = rng.uniform(0, 1, (1, 80 if count == 100 else 4, count)).astype("f4")
        limits = (np.array([100]), np.array([0.5], "f4"), np.array([0.25], "f4"))
        yield Case(f"NonMaxSuppression {count}", "NonMaxSuppression",
                   (boxes.astype("f4"), scores), limits)  # fmt: skip
    x = normal(1, 8400)
    yield Case("TopK 100 of 8400", "TopK", (x,), (np.array([100]),), {"axis": 1}, 2)
    yield Case("TopK 5 of 1000", "TopK", (normal(1, 1000),), (np.array([5]),), {"axis": 1}, 2)
    yield Case("TopK 50 of 50257", "TopK", (normal(1, 50257),), (np.array([50]),), {"axis": -1}, 2)
    yield Case("TopK 1000 of 159882", "TopK", (normal(1, 159882),), (np.array([1000]),),
               {"axis": 1}, 2)  # fmt: skip
    yield Case("TopK by channel", "TopK", (normal(*MAP),), (np.array([2]),), {"axis": 1}, 2)
    yield Case("TopK rows", "TopK", (normal(64, 1000),), (np.array([10]),), {"axis": 1}, 2)
    yield Case("TopK whole", "TopK", (normal(1, 8400),), (np.array([8400]),), {"axis": 1}, 2)
    corners = rng.uniform(0, 400, (100, 2))
    regions = np.concatenate([corners, corners + rng.uniform(20, 300, (100, 2))], 1).astype("f4")
    pooled = {"output_height": 7, "output_width": 7, "sampling_ratio": 2, "spatial_scale": 0.125}
    where = np.zeros(100, np.int64)
    yield Case("RoiAlign", "RoiAlign", (normal(1, 64, 100, 100), regions, where), (), pooled)
    adaptive = pooled | {"sampling_ratio": 0}
    yield Case("RoiAlign adaptive", "RoiAlign", (normal(1, 64, 100, 100), regions, where), (),
               adaptive)  # fmt: skip
    yield from _sampling(normal, rng)
    yield Case("NonZero", "NonZero", (normal(1, 8400) > 1,))
    yield Case("NonZero map", "NonZero", (normal(*MAP) > 1,))
    yield Case("Unique", "Unique", (rng.integers(0, 500, 20000),), (), {"sorted": 1}, 4)


def _sampling(normal: Any, rng: Any) -> Iterator[Case]:
    x, grid = normal(*MAP), rng.uniform(-1.1, 1.1, (1, 56, 56, 2)).astype("f4")
    for mode, padding in (("linear", "zeros"), ("linear", "border"), ("nearest", "zeros"),
                          ("cubic", "reflection")):  # fmt: skip
        options = {"mode": mode, "padding_mode": padding}
        yield Case(f"GridSample {mode} {padding}", "GridSample", (x, grid), (), options,
                   tolerance=1e-4)  # fmt: skip
    offset, mask = normal(1, 18, 56, 56), rng.uniform(0, 1, (1, 9, 56, 56)).astype("f4")
    filters = normal(64, 64, 3, 3)
    yield Case("DeformConv", "DeformConv", (x, filters, offset, normal(64), mask), (),
               {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, tolerance=1e-4)  # fmt: skip


def _moving(normal: Any, rng: Any) -> Iterator[Case]:
    x, table = normal(*MAP), normal(30522, 768)
    words = rng.integers(0, 30522, (1, 128))
    yield Case("Gather embedding", "Gather", (words,), (), {"axis": 0}, table=table)
    yield Case("Gather channels", "Gather", (x, np.arange(64)[::-1].copy()), (), {"axis": 1})
    places = rng.integers(0, 64, (1, 8, 56, 56))
    yield Case("GatherElements", "GatherElements", (x, places), (), {"axis": 1})
    points = rng.integers(0, 56, (3000, 4)) % np.array([1, 64, 56, 56])
    yield Case("GatherND", "GatherND", (x, points))
    rows = np.arange(0, 64, 2).reshape(32, 1)
    yield Case("ScatterND", "ScatterND", (x[0], rows, normal(32, 56, 56)))
    yield Case("ScatterElements", "ScatterElements",
               (x, np.tile(np.arange(8).reshape(1, 8, 1, 1), (1, 1, 56, 56)), normal(1, 8, 56, 56)),
               (), {"axis": 1})  # fmt: skip
    yield Case("Transpose NHWC", "Transpose", (x,), (), {"perm": [0, 2, 3, 1]})
    yield Case("Transpose heads", "Transpose", (normal(1, 197, 12, 64),), (),
               {"perm": [0, 2, 1, 3]})  # fmt: skip
    yield Case("Concat", "Concat", (x, normal(*MAP)), (), {"axis": 1})
    yield Case("Split", "Split", (x,), (), {"axis": 1, "num_outputs": 2}, 2)
    ends = (np.array([8, 8]), np.array([48, 48]), np.array([2, 3]))
    yield Case("Slice", "Slice", (x,), ends)
    yield Case("Slice step", "Slice", (x,), (np.array([0]), np.array([56]), np.array([3]),
                                             np.array([2])))  # fmt: skip
    yield Case("Tile", "Tile", (x,), (np.array([1, 1, 2, 2]),))
    yield Case("Expand", "Expand", (normal(1, 64, 1, 1),), (np.array(MAP),))
    for mode in ("constant", "reflect", "edge"):
        yield Case(f"Pad {mode}", "Pad", (x,), (np.array([0, 0, 1, 1, 0, 0, 1, 1]),),
                   {"mode": mode})  # fmt: skip
    yield Case("DepthToSpace", "DepthToSpace", (x,), (), {"blocksize": 2})
    yield Case("SpaceToDepth", "SpaceToDepth", (x,), (), {"blocksize": 2})
    yield Case("Trilu", "Trilu", (normal(12, 197, 197),))
    yield Case("OneHot", "OneHot", (rng.integers(0, 1000, (1, 197)),),
               (np.array(1000), np.array([0, 1], "f4")))  # fmt: skip
    yield Case("Range", "Range", (np.array(0), np.array(8400), np.array(1)))
    yield Case("Compress", "Compress", (x, rng.uniform(size=64) > 0.5), (), {"axis": 1})


def _signals(normal: Any) -> Iterator[Case]:
    wave = normal(1, 16000)[..., None]
    frames = normal(1, 98, 512, 1)
    one = {"onesided": 1}
    yield Case("DFT", "DFT", (frames,), (None, np.array(2)), one, opset=20, tolerance=1e-4)
    yield Case("DFT 17", "DFT", (frames,), (), one | {"axis": 2}, opset=17, tolerance=1e-4)
    yield Case("DFT complex", "DFT", (normal(1, 98, 512, 2),), (None, np.array(2)), opset=20,
               tolerance=1e-4)  # fmt: skip
    yield Case("DFT inverse", "DFT", (normal(1, 98, 512, 2),), (None, np.array(2)),
               {"inverse": 1}, opset=20, tolerance=1e-4)  # fmt: skip
    window = np.hanning(400).astype("f4")
    yield Case("STFT", "STFT", (wave,), (np.array(160), window, np.array(400)), one,
               tolerance=1e-4)  # fmt: skip
    for operator in ("HannWindow", "HammingWindow", "BlackmanWindow"):
        yield Case(operator, operator, (np.array(400),))
