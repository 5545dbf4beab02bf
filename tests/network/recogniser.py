"""A text recogniser's graph as exporters write it: some 700 nodes, the image's width open.

Depthwise blocks with written-out hard swish and squeeze-and-excitation, two blocks of attention
whose reshapes compute their sizes from shapes, layer norms in single operations, a softmax over
characters: the kinds of node that PP-OCR's recognisers have, with random weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

CHARACTERS = 97
HEADS = 8


class _Builder:
    def __init__(self, onnx: Any, seed: int) -> None:
        self._helper, self._numpy = onnx.helper, onnx.numpy_helper
        self._rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._known: dict[Any, str] = {}

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        array = np.asarray(value, dtype)
        key = (array.dtype, array.shape, array.tobytes())
        if key not in self._known:
            name = self._known[key] = f"c{len(self.constants)}"
            self.constants.append(self._numpy.from_array(array, name))
        return self._known[key]

    def weight(self, *shape: int) -> str:
        fan = int(np.prod(shape[1:])) or 1
        return self.constant(self._rng.standard_normal(shape) / np.sqrt(fan))

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(op, inputs, names, name, **attributes))
        return names[0] if outputs == 1 else names

    def conv(
        self,
        x: str,
        into: int,
        out: int,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        group: int = 1,
    ) -> str:
        pads = [k // 2 for k in kernel] * 2
        weight = self.weight(out, into // group, *kernel)
        x = self.node(
            "Conv", x, weight, kernel_shape=kernel, strides=stride, pads=pads, group=group
        )
        one = [self.constant(self._rng.uniform(0.5, 1.5, out)) for _ in range(4)]
        return self.node("BatchNormalization", x, *one, epsilon=1e-5)

    def hard_swish(self, x: str) -> str:
        high = self.node("Add", x, self.constant(3.0))
        high = self.node("Clip", high, self.constant(0.0), self.constant(6.0))
        return self.node("Div", self.node("Mul", x, high), self.constant(6.0))

    def squeeze(self, x: str, channels: int) -> str:
        pooled = self.node("GlobalAveragePool", x)
        few = channels // 4
        pooled = self.node("Conv", pooled, self.weight(few, channels, 1, 1), self.weight(few))
        pooled = self.node("Relu", pooled)
        pooled = self.node("Conv", pooled, self.weight(channels, few, 1, 1), self.weight(channels))
        return self.node("Mul", x, self.node("HardSigmoid", pooled, alpha=0.2, beta=0.5))

    def block(
        self, x: str, into: int, out: int, kernel: int, stride: tuple[int, int], squeeze: bool
    ) -> str:
        x = self.hard_swish(self.conv(x, into, into, (kernel, kernel), stride, into))
        x = self.squeeze(x, into) if squeeze else x
        return self.hard_swish(self.conv(x, into, out, (1, 1)))

    def size(self, x: str, axis: int) -> str:
        sizes = self.node("Shape", x)
        vector = [self.constant([n], np.int64) for n in (axis, axis + 1, 0)]
        return self.node("Slice", sizes, *vector)

    def reshaped(self, x: str, *sizes: str | int) -> str:
        parts = [s if isinstance(s, str) else self.constant([s], np.int64) for s in sizes]
        return self.node("Reshape", x, self.node("Concat", *parts, axis=0))

    def layer_norm(self, x: str, channels: int) -> str:
        centred = self.node("Sub", x, self.node("ReduceMean", x, axes=[-1]))
        square = self.node("Pow", centred, self.constant(2.0))
        variance = self.node("ReduceMean", square, axes=[-1])
        deviation = self.node("Sqrt", self.node("Add", variance, self.constant(1e-6)))
        x = self.node("Div", centred, deviation)
        x = self.node("Mul", x, self.constant(self._rng.uniform(0.5, 1.5, channels)))
        return self.node("Add", x, self.weight(channels))

    def linear(self, x: str, into: int, out: int) -> str:
        product = self.node(
            "MatMul", x, self.constant(self._rng.standard_normal((into, out)) / np.sqrt(into))
        )
        return self.node("Add", product, self.weight(out))

    def swish(self, x: str) -> str:
        return self.node("Mul", x, self.node("Sigmoid", x))

    def attention(self, x: str, channels: int) -> str:
        batch, length = self.size(x, 0), self.size(x, 1)
        joined = self.linear(x, channels, 3 * channels)
        joined = self.reshaped(joined, batch, length, 3, HEADS, channels // HEADS)
        joined = self.node("Transpose", joined, perm=[2, 0, 3, 1, 4])
        q, k, v = (
            self.node("Squeeze", part, self.constant([0], np.int64))
            for part in self.node("Split", joined, outputs=3, axis=0)
        )
        q = self.node("Mul", q, self.constant((channels // HEADS) ** -0.5))
        scores = self.node("MatMul", q, self.node("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self.node("Softmax", scores, axis=-1)
        mixed = self.node("Transpose", self.node("MatMul", scores, v), perm=[0, 2, 1, 3])
        return self.linear(self.reshaped(mixed, batch, length, channels), channels, channels)

    def mixing(self, x: str, channels: int) -> str:
        x = self.node("Add", x, self.attention(self.layer_norm(x, channels), channels))
        wide = self.swish(self.linear(self.layer_norm(x, channels), channels, 2 * channels))
        return self.node("Add", x, self.linear(wide, 2 * channels, channels))


def recogniser(onnx: Any, blocks: int = 19, mixings: int = 8, seed: int = 0) -> Any:
    """Return a model that reads lines of text: (batch, 3, 48, width) to (batch, width / 8, 97)."""
    made = _Builder(onnx, seed)
    x = made.hard_swish(made.conv("x", 3, 16, (3, 3), (2, 2)))
    channels = 16
    for place in range(blocks):
        out = {0: 32, 1: 64, 3: 128, 7: 256}.get(place, channels)
        stride = {1: (2, 2), 3: (2, 1), 7: (2, 1)}.get(place, (1, 1))
        x = made.block(x, channels, out, 5 if place >= 7 else 3, stride, squeeze=place >= 6)
        channels = out
    x = made.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    short = x
    x = made.swish(made.conv(x, channels, 64, (1, 3)))
    x = made.swish(made.conv(x, 64, 120, (1, 1)))
    batch, width = made.size(x, 0), made.size(x, 3)
    x = made.reshaped(x, batch, 120, -1)
    x = made.node("Transpose", x, perm=[0, 2, 1])
    for _ in range(mixings):
        x = made.mixing(x, 120)
    x = made.layer_norm(x, 120)
    x = made.reshaped(x, batch, 1, width, 120)
    x = made.node("Transpose", x, perm=[0, 3, 1, 2])
    x = made.swish(made.conv(x, 120, channels, (1, 1)))
    x = made.node("Concat", short, x, axis=1)
    x = made.swish(made.conv(x, 2 * channels, 64, (1, 3)))
    x = made.swish(made.conv(x, 64, 120, (1, 1)))
    x = made.node("Squeeze", x, made.constant([2], np.int64))
    x = made.node("Transpose", x, perm=[0, 2, 1])
    x = made.node("Softmax", made.linear(x, 120, CHARACTERS), axis=2)
    helper = onnx.helper
    kind = onnx.TensorProto.FLOAT
    made.nodes.append(helper.make_node("Identity", [x], ["y"]))
    graph = helper.make_graph(
        made.nodes,
        "recogniser",
        [helper.make_tensor_value_info("x", kind, ["batch", 3, 48, "width"])],
        [helper.make_tensor_value_info("y", kind, ["batch", "length", CHARACTERS])],
        made.constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
