"""Models that onnxruntime's optimiser wrote: the same values as onnxruntime's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="these tests make ONNX models")

import onnx
from onnx import TensorProto, helper

import fastconv
from fastconv.formats.onnx import blocked
from fastconv.formats.onnx.call import FOREIGN
from fastconv.formats.onnx.contributed import advice

LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
MICROSOFT = "com.microsoft"
Arrays = dict[str, np.ndarray[Any, Any]]


def model_of(
    nodes: list[Any], feeds: Arrays, weights: Arrays, outputs: list[str], *, opset: int = 17,
    open_batch: bool = False,
) -> Any:  # fmt: skip
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype),
            ["n", *array.shape[1:]] if open_batch else array.shape,
        )
        for name, array in feeds.items()
    ]  # fmt: skip
    kinds = {"k": TensorProto.INT32}
    results = [
        helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), None) for n in outputs
    ]
    held = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "made", inputs, results, held)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def onnxruntimes(model: Any, feeds: Arrays, level: str, target: Path | None = None) -> list[Any]:
    """Run a model in onnxruntime at a level; it writes what it ran to ``target``."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="it is the oracle")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    if target is not None:
        options.optimized_model_filepath = str(target)
    return list(onnxruntime.InferenceSession(model, options).run(None, feeds))


def check(found: Any, expected: Any, terms: int) -> None:
    """Compare float32 results of sums of so many terms."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    scale = max(1e-30, float(np.abs(expected.astype("f8")).max(initial=0)))
    # Both sides round each term's product and sum; several layers add up.
    limit = 8 * np.finfo(np.float32).eps * np.sqrt(terms) * scale
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


def with_shapes(model: Any) -> Any:
    """Outputs' shapes: fastconv takes what is declared."""
    inferred = onnx.shape_inference.infer_shapes(model)
    return inferred


class Drawing:
    """A convolutional network, drawn: it ends in as many outputs as it has loose ends."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: Arrays = {}

    def pick(self, *values: Any) -> Any:
        return values[self.rng.integers(len(values))]

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        result = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [result], result, **attributes))
        return result

    def weight(self, *shape: int, scale: float = 1.0) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = (self.rng.standard_normal(shape) * scale).astype("f4")
        return name

    def conv(self, x: str, inner: int, outer: int, groups: int = 1, **attributes: Any) -> str:
        side = self.pick(1, 3)
        filters = self.weight(
            outer, inner // groups, side, side, scale=(inner // groups * side**2) ** -0.5
        )
        pads = [side // 2] * 4
        bias = [self.weight(outer)] if self.pick(0, 1) else []
        return self.add("Conv", x, filters, *bias, group=groups, pads=pads, **attributes)

    def activated(self, x: str) -> str:
        op = self.pick("", "Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid")
        if op == "Clip":
            low = self.weight()
            high = self.weight()
            self.weights[low], self.weights[high] = np.array(-0.5, "f4"), np.array(0.75, "f4")
            return self.add("Clip", x, low, high)
        return self.add(op, x) if op else x

    def network(self, channels: int) -> str:
        x, count = "x", channels
        for _ in range(6):
            kind = self.pick("conv", "conv", "residual", "pool", "resize", "depthwise", "grouped",
                             "gate", "concat")  # fmt: skip
            if kind == "conv":
                outer = self.pick(3, 8, 16, 20, 24, 32, 48)
                x, count = self.activated(self.conv(x, count, outer)), outer
            elif kind == "residual":
                x = self.activated(self.add("Add", self.conv(x, count, count), x))
            elif kind == "pool":
                op = self.pick("MaxPool", "AveragePool")
                x = self.add(op, x, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
            elif kind == "resize":
                factors = self.weight(4)
                self.weights[factors] = np.array([1, 1, 2, 2], "f4")
                way = self.pick(("nearest", "asymmetric"), ("linear", "half_pixel"),
                                ("linear", "asymmetric"))  # fmt: skip
                x = self.add("Resize", x, "", factors, mode=way[0], nearest_mode="floor",
                             coordinate_transformation_mode=way[1])  # fmt: skip
                x = self.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
            elif kind == "depthwise":
                x = self.activated(self.conv(x, count, count, count))
            elif kind == "grouped" and count % 2 == 0:
                x = self.activated(self.conv(x, count, count, 2))
            elif kind == "gate":
                whole = self.add(self.pick("GlobalAveragePool", "GlobalMaxPool"), x)
                gate = self.add("Sigmoid", self.conv(whole, count, count))
                x = self.add("Mul", x, gate)
            elif kind == "concat":
                x, count = self.add("Concat", x, self.conv(x, count, 16), axis=1), count + 16
        return x


SEEDS = range(16)


@pytest.mark.parametrize("seed", SEEDS)
def test_drawn_network_optimised_by_onnxruntime_gives_its_values(seed: int, tmp_path: Path) -> None:
    drawing = Drawing(seed)
    channels = drawing.pick(1, 3, 16, 32)
    y = drawing.network(channels)
    feeds = {"x": drawing.rng.standard_normal((2, channels, 9, 11)).astype("f4")}
    model = with_shapes(model_of(drawing.nodes, feeds, drawing.weights, [y]))
    (expected,) = onnxruntimes(model.SerializeToString(), feeds, "ORT_DISABLE_ALL")
    for level in LEVELS:
        target = tmp_path / f"{level}.onnx"
        onnxruntimes(model.SerializeToString(), feeds, level, target)
        session = fastconv.InferenceSession(target)
        assert session.network.fallbacks == ()
        check(session.run(None, feeds)[0], expected, 9 * 48 * 6)


def test_drawn_networks_are_written_in_blocks(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="it is the oracle")
    found = set()
    for seed in SEEDS:
        drawing = Drawing(seed)
        channels = drawing.pick(1, 3, 16, 32)
        y = drawing.network(channels)
        feeds = {"x": np.ones((2, channels, 9, 11), "f4")}
        model = with_shapes(model_of(drawing.nodes, feeds, drawing.weights, [y]))
        target = tmp_path / "model.onnx"
        onnxruntimes(model.SerializeToString(), feeds, "ORT_ENABLE_ALL", target)
        found |= {f"{n.domain}:{n.op_type}" for n in onnx.load(target).graph.node}
    if f"{blocked.DOMAIN}:Conv" not in found:
        pytest.skip(f"onnxruntime {onnxruntime.__version__} writes no blocks on this machine")
    kinds = {name for name in FOREIGN if name.startswith(blocked.DOMAIN)}
    assert kinds <= found
    assert {name for name in found if name.startswith("com.")} <= set(FOREIGN)


def test_language_layers_optimised_by_onnxruntime_give_its_values(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="it exports the model")
    import io
    import warnings

    from torch import nn

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(32, 32) for _ in range(4))
            self.first, self.second = nn.Linear(32, 64), nn.Linear(64, 32)
            self.norm = nn.LayerNorm(32)

        def forward(self, x: Any) -> Any:
            score = self.q(x) @ self.k(x).transpose(-1, -2) / 32**0.5
            x = self.norm(x + self.o(score.softmax(-1) @ self.v(x)))
            x = self.norm(x + self.second(nn.functional.gelu(self.first(x))))
            y = self.first(x)
            x = self.norm(x + self.second(y * torch.sigmoid(1.702 * y)))
            x = self.norm(x + self.second(nn.functional.gelu(y, approximate="tanh")))
            return self.first(x[:, 0]).relu()

    torch.manual_seed(0)
    x = torch.randn(2, 7, 32)
    found = set()
    for opset in (13, 17):
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(Block().eval(), (x,), file, dynamo=False, opset_version=opset)
        name = onnx.load_from_string(file.getvalue()).graph.input[0].name
        feeds = {name: x.numpy()}
        (expected,) = onnxruntimes(file.getvalue(), feeds, "ORT_DISABLE_ALL")
        for level in LEVELS:
            target = tmp_path / f"{opset}{level}.onnx"
            onnxruntimes(file.getvalue(), feeds, level, target)
            found |= {n.op_type for n in onnx.load(target).graph.node if n.domain}
            session = fastconv.InferenceSession(target)
            assert session.network.fallbacks == ()
            check(session.run(None, feeds)[0], expected, 64 * 12)
    assert {"FusedMatMul", "SkipLayerNormalization", "Gelu", "QuickGelu"} <= found


RNG = np.random.default_rng(11)


def drawn(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.standard_normal(shape).astype("f4")


# operator -> inputs by name ("" where one is left out), names of outputs, attributes
CASES: dict[str, tuple[str, Arrays, list[str], dict[str, Any]]] = {
    "fused_conv": (
        "FusedConv",
        {"x": drawn(2, 6, 7, 8), "w": drawn(4, 3, 3, 3), "b": drawn(4), "z": drawn(2, 4, 5, 6)},
        ["y"],
        {"group": 2, "activation": "LeakyRelu", "activation_params": [0.3]},
    ),
    "fused_conv_no_bias": (
        "FusedConv",
        {"x": drawn(1, 3, 7, 8), "w": drawn(4, 3, 3, 3)},
        ["y"],
        {"pads": [1, 1, 1, 1], "strides": [2, 2], "activation": "HardSigmoid",
         "activation_params": [0.1, 0.4]},
    ),
    "fused_gemm": (
        "FusedGemm",
        {"a": drawn(5, 3), "b": drawn(5, 4), "c": drawn(4)},
        ["y"],
        {"transA": 1, "alpha": 0.5, "beta": 2.0, "activation": "LeakyRelu",
         "activation_alpha": 0.2},
    ),
    "fused_matmul": (
        "FusedMatMul", {"a": drawn(2, 5, 3), "b": drawn(2, 4, 5)}, ["y"],
        {"transA": 1, "transB": 1, "alpha": 0.25},
    ),
    "fused_matmul_batches": (
        "FusedMatMul", {"a": drawn(5, 2, 3, 4), "b": drawn(6, 2, 3, 4)}, ["y"],
        {"transBatchA": 1, "transBatchB": 1, "transB": 1},
    ),
    "fused_matmul_weight": ("FusedMatMul", {"a": drawn(2, 5, 3), "=w": drawn(4, 3)}, ["y"],
                            {"transB": 1, "alpha": 3.0}),
    "fused_matmul_plain_weight": ("FusedMatMul", {"a": drawn(2, 5, 3), "=w": drawn(3, 4)}, ["y"],
                                  {}),
    "gelu": ("Gelu", {"x": 3 * drawn(4, 5)}, ["y"], {}),
    "bias_gelu": ("BiasGelu", {"x": 3 * drawn(4, 5), "b": drawn(5)}, ["y"], {}),
    "fast_gelu": ("FastGelu", {"x": 3 * drawn(4, 5)}, ["y"], {}),
    "fast_gelu_bias": ("FastGelu", {"x": 3 * drawn(4, 5), "b": drawn(5)}, ["y"], {}),
    "quick_gelu": ("QuickGelu", {"x": 3 * drawn(4, 5)}, ["y"], {"alpha": 1.5}),
    "skip_layer_norm": (
        "SkipLayerNormalization",
        {"x": drawn(2, 3, 8), "s": drawn(2, 3, 8), "g": drawn(8), "b": drawn(8), "c": drawn(8)},
        ["y", "", "", "sum"], {"epsilon": 1e-3},
    ),
    "skip_layer_norm_short": (
        "SkipLayerNormalization", {"x": drawn(2, 3, 8), "s": drawn(1, 3, 8), "g": drawn(8)}, ["y"],
        {},
    ),
    "skip_rms_norm": (
        "SkipSimplifiedLayerNormalization",
        {"x": drawn(2, 3, 8), "s": drawn(2, 3, 8), "g": drawn(8), "c": drawn(8)},
        ["y", "", "", "sum"], {"epsilon": 1e-3},
    ),
    "rms_norm": (":SimplifiedLayerNormalization", {"x": drawn(2, 3, 8), "g": drawn(8)}, ["y"],
                 {"epsilon": 1e-3}),
    "layer_norm": (":LayerNormalization", {"x": drawn(2, 3, 8), "g": drawn(8), "b": drawn(8)},
                   ["y"], {"epsilon": 1e-3}),
    "embed_layer_norm": (
        "EmbedLayerNormalization",
        {"i": np.array([[1, 2, 0], [3, 4, 5]], "i4"), "t": np.array([[0, 0, 1], [1, 1, 0]], "i4"),
         "w": drawn(6, 8), "p": drawn(4, 8), "q": drawn(2, 8), "g": drawn(8), "b": drawn(8),
         "m": np.array([[1, 1, 0], [1, 1, 1]], "i4")},
        ["y", "k", "sum"], {"epsilon": 1e-3, "mask_index_type": 1},
    ),
    "embed_layer_norm_places": (
        "EmbedLayerNormalization",
        {"i": np.array([[1, 2, 0], [3, 4, 5]], "i4"), "": drawn(0), "w": drawn(6, 8),
         "p": drawn(4, 8), " ": drawn(0), "g": drawn(8), "b": drawn(8), "  ": drawn(0),
         "at": np.array([[3, 0, 1], [0, 1, 2]], "i4")},
        ["y", "k"], {},
    ),
    "inverse": ("Inverse", {"x": drawn(2, 3, 3) + 4 * np.eye(3, dtype="f4")}, ["y"], {}),
    "trilu": ("Trilu", {"x": drawn(2, 3, 4)}, ["y"], {"upper": 0}),
    "grid_sample": ("GridSample", {"x": drawn(1, 2, 5, 6), "g": drawn(1, 3, 4, 2) / 3}, ["y"],
                    {"mode": "bilinear", "padding_mode": "border"}),
    "pad": ("Pad", {"x": drawn(2, 3), "=p": np.array([0, 1, 2, 0]), "=v": np.array(5, "f4")},
            ["y"], {}),
    "affine": (":Affine", {"x": drawn(2, 3)}, ["y"], {"alpha": 2.0, "beta": -1.0}),
    "scaled_tanh": (":ScaledTanh", {"x": drawn(2, 3)}, ["y"], {"alpha": 2.0, "beta": 0.5}),
    "parametric_softplus": (":ParametricSoftplus", {"x": drawn(2, 3)}, ["y"],
                            {"alpha": 2.0, "beta": 0.5}),
    "image_scaler": (":ImageScaler", {"x": drawn(2, 3, 4, 4)}, ["y"],
                     {"scale": 0.5, "bias": [1.0, -2.0, 3.0]}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operator_of_onnxruntime_gives_its_values(name: str) -> None:
    op, given, outputs, attributes = CASES[name]
    domain = "" if op.startswith(":") else MICROSOFT
    inputs = [n.strip().removeprefix("=") for n in given]
    feeds = {n: a for n, a in given.items() if n.strip() and not n.startswith("=")}
    weights = {n[1:]: a for n, a in given.items() if n.startswith("=")}
    node = helper.make_node(
        op.removeprefix(":"), inputs, outputs, "one", domain=domain, **attributes
    )
    named = [output for output in outputs if output]
    first = {"ImageScaler", "Affine", "ScaledTanh", "ParametricSoftplus"} & {op[1:]}
    opset = 6 if first else 13
    model = model_of([node], feeds, weights, named, opset=opset)
    data = model.SerializeToString()
    try:
        expected = onnxruntimes(data, feeds, "ORT_DISABLE_ALL")
    except Exception as error:
        if "not a registered" in str(error) or "Could not find an implementation" in str(error):
            pytest.skip(f"this onnxruntime has no {op}: {error}")
        raise
    for output, array in zip(model.graph.output, expected, strict=True):
        output.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        for size in array.shape:
            output.type.tensor_type.shape.dim.add().dim_value = size
    before = model.SerializeToString()
    session = fastconv.InferenceSession(model)
    assert model.SerializeToString() == before
    assert session.network.fallbacks == ()
    for found, wanted in zip(session.run(None, feeds), expected, strict=True):
        check(found, wanted, 64)


def test_operators_on_channels_last_are_those_on_channels_first() -> None:
    x, w = drawn(2, 7, 8, 6), drawn(4, 6, 3, 3)
    z = drawn(2, 4, 4, 4)
    options = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
    inner = {
        f"{MICROSOFT}:NhwcFusedConv": ("Conv", {"x": x, "w": w}, {"activation": "Relu"}),
        "com.ms.internal.nhwc:Conv": ("Conv", {"x": x, "w": w}, {}),
        f"{MICROSOFT}:NhwcMaxPool": ("MaxPool", {"x": x}, {"kernel_shape": [3, 3]}),
        "com.ms.internal.nhwc:AveragePool": ("AveragePool", {"x": x}, {"kernel_shape": [3, 3]}),
    }
    for name, (plain, feeds, more) in inner.items():
        domain, _, op = name.rpartition(":")
        first = {**feeds, "x": np.ascontiguousarray(x.transpose(0, 3, 1, 2))}
        own = {k: v for k, v in more.items() if k != "activation"}
        node = helper.make_node(plain, list(first), ["y"], **options, **own)
        model = with_shapes(model_of([node], first, {}, ["y"]))
        (expected,) = fastconv.InferenceSession(model).run(None, first)
        expected = expected.transpose(0, 2, 3, 1)
        if op == "NhwcFusedConv":
            feeds = {**feeds, "b": np.zeros(4, "f4"), "z": z}
            expected = np.maximum(expected + z, 0)
        node = helper.make_node(op, list(feeds), ["y"], domain=domain, **options, **more)
        model = model_of([node], feeds, {}, ["y"])
        model.opset_import.append(helper.make_opsetid("com.ms.internal.nhwc", 17))
        for size in expected.shape:
            model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = size
        check(fastconv.InferenceSession(model).run(None, feeds)[0], expected, 54)


def test_softmax_with_a_bias_is_the_softmax_of_the_sum() -> None:
    # onnxruntime has it for GPUs alone.
    feeds = {"x": drawn(2, 3, 4, 5), "b": drawn(2, 1, 1, 5)}
    node = helper.make_node(
        "BiasSoftmax", ["x", "b"], ["y"], domain=MICROSOFT, axis=3, is_inner_broadcast=1
    )
    model = model_of([node], feeds, {}, ["y"])
    for size in feeds["x"].shape:
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = size
    powers = np.exp(feeds["x"].astype("f8") + feeds["b"])
    expected = (powers / powers.sum(-1, keepdims=True)).astype("f4")
    check(fastconv.InferenceSession(model).run(None, feeds)[0], expected, 5)


@pytest.mark.parametrize("block", [8, 16])
@pytest.mark.parametrize(("outer", "inner", "groups"), [(32, 16, 1), (16, 3, 1), (32, 1, 32)])
def test_filters_in_blocks_are_put_in_order(
    block: int, outer: int, inner: int, groups: int
) -> None:
    weight = drawn(outer, inner, 3, 2)
    stored = np.empty_like(weight).reshape(-1)
    in_blocks = inner % block == 0
    place = 0
    # Written as the layout is defined, one number after the other.
    for o in range(0, outer, block):
        for i in range(0, inner, block if in_blocks else 1):
            for cell in np.ndindex(3, 2):
                for i_ in range(block if in_blocks else 1):
                    for o_ in range(block):
                        stored[place] = weight[(o + o_, i + i_, *cell)]
                        place += 1
    found = blocked.in_order(stored.reshape(weight.shape), groups, block)
    np.testing.assert_array_equal(found, weight)


def test_quantised_operator_of_onnxruntime_is_refused_with_the_way_out() -> None:
    x = np.ones((2, 3), "u1")
    node = helper.make_node("QLinearSigmoid", ["x", "s", "z", "s", "z"], ["y"], "squash",
                            domain=MICROSOFT)  # fmt: skip
    feeds = {"x": x, "s": np.array(0.1, "f4"), "z": np.array(3, "u1")}
    model = model_of([node], feeds, {}, ["y"])
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    for size in x.shape:
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = size
    words = r"QLinearSigmoid \(domain com.microsoft, opset 1, node squash\).*QuantFormat.QDQ"
    with pytest.raises(ValueError, match=words):
        fastconv.InferenceSession(model)


def test_advice_names_the_operator_and_what_to_do() -> None:
    assert "ORT_ENABLE_BASIC" in advice("com.microsoft", "NewThing")
    assert "QDQ" in advice("com.microsoft", "DynamicQuantizeLSTM")
    assert "FunctionProto" in advice("org.unknown", "NewThing")
    for words in (advice("com.microsoft", "NewThing"), advice("org.unknown", "NewThing")):
        assert "NewThing" in words
