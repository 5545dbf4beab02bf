"""LiteRT with XNNPACK."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.cases import Array, Case
from benchmarks.peers.base import (
    FLOAT32,
    Peer,
    counts_padding,
    other_adaptive,
    output_shape,
    whole_window,
)
from benchmarks.rival import Rival


class LiteRt(Peer):
    """LiteRT with XNNPACK; the model is made by the classes of its schema that its wheel holds."""

    name = "litert"
    needs = {  # noqa: RUF012
        "ai_edge_litert": "ai-edge-litert",
        "flatbuffers": "flatbuffers",
    }

    def can(self, case: Case) -> str | None:
        if case.dtype != "float32":
            return FLOAT32
        if case.n == 3:
            return "no third dimension in XNNPACK"
        if case.kind == "lp_pool" or other_adaptive(case):
            return "no such operator"
        if case.kind == "conv" and case.groups not in (1, case.channels):
            return "no groups in XNNPACK"
        if case.kind == "conv_transpose":
            fits = all(
                sum(p) in (0, k - s)
                for p, k, s in zip(case.pads, case.kernel, case.each("stride"), strict=True)
            )
            if case.groups > 1 or not fits or set(case.each("output_padding")) != {0}:
                return "no such padding"
        if case.weight_shape is None and not whole_window(case):
            if set(case.each("dilation")) != {1}:
                return "no dilated pool"
            if any(sum(p) for p in case.pads) and not _same(case):
                return "no padding of its own in pools"
            if _same(case) and case.kind == "avg_pool" and counts_padding(case):
                return "no padding that counts"
            if case.options.get("ceil_mode"):
                return "no ceil_mode"
        return None

    def make(self, case: Case, threads: int) -> Rival:
        from ai_edge_litert.interpreter import Interpreter

        x, _ = case.operands()
        image = np.ascontiguousarray(_image(x, case.n))
        shape = output_shape(case)
        model = _LiteModel(case, image.shape, (shape[0], *_image_size(shape), shape[1]))
        interpreter = Interpreter(model_content=model.content(), num_threads=threads)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        index = interpreter.get_output_details()[0]["index"]

        def output() -> Array:
            interpreter.invoke()
            values: Array = interpreter.get_tensor(index)
            return np.moveaxis(values, -1, 1).reshape(shape)

        return Rival(interpreter.invoke, output)


def _same(case: Case) -> bool:
    """Whether TensorFlow's SAME means the case's padding."""
    spans = [d * (k - 1) for d, k in zip(case.each("dilation"), case.kernel, strict=True)]
    even = all(sum(p) == span for p, span in zip(case.pads, spans, strict=True))
    return set(case.each("stride")) == {1} and even and case.even_pads and any(spans)


def _image_size(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1, *shape[2:])[-2:]


def _image(array: Array, n: int) -> Array:
    """Return N C ... as N H W C, with a height of 1 for a signal."""
    return np.moveaxis(array[:, :, None] if n == 1 else array, 1, -1)


def _kernel(case: Case, weight: Array) -> Array:
    """Return the weight as out H W in; of a filter a channel as 1 H W out."""
    if case.kind == "conv_transpose":
        weight = weight.swapaxes(0, 1)
    last = _image(weight, case.n)
    return last.transpose(3, 1, 2, 0) if case.groups > 1 else last


class _LiteModel:
    """A model of one operator, and of one for padding where the operator has none that fits."""

    def __init__(self, case: Case, shape: tuple[int, ...], output: tuple[int, ...]) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.buffers = [schema.BufferT()]
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._model.subgraphs = [self._graph]
        x = self._tensor(shape)
        self._graph.inputs = [x]
        self._graph.outputs = [self._tensor(output)]
        inputs = [x]
        if case.kind == "conv" and not _same(case) and any(sum(p) for p in case.pads):
            inputs = [self._padded(x, case, shape)]
        name, options, constants = self._operator(case, output)
        # A transposed convolution takes its input last but for the bias.
        place = 2 if case.kind == "conv_transpose" else 0
        inputs[:0] = [self._constant(c) for c in constants[:place]]
        inputs += [self._constant(c) for c in constants[place:]]
        self._add(name, inputs, self._graph.outputs, options)

    def content(self) -> bytes:
        import flatbuffers

        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _operator(self, case: Case, output: tuple[int, ...]) -> tuple[str, Any, list[Array]]:
        _, weight = case.operands()
        if weight is None:
            name, options = self._pool(case)
            constants = []
        else:
            name, options = self._conv(case)
            constants = [_kernel(case, weight), np.zeros(case.out_channels, np.float32)]
            if case.kind == "conv_transpose":
                constants.insert(0, np.array(output, np.int32))
        stride = (1,) * case.n if whole_window(case) else case.each("stride")
        options.strideH, options.strideW = (1, *stride)[-2:]
        padded = case.kind == "conv_transpose" and any(sum(p) for p in case.pads)
        same = padded or (not whole_window(case) and _same(case))
        options.padding = self._schema.Padding.SAME if same else self._schema.Padding.VALID
        return name, options, constants

    def _pool(self, case: Case) -> tuple[str, Any]:
        options = self._schema.Pool2DOptionsT()
        kernel = case.shape[2:] if whole_window(case) else case.kernel
        options.filterHeight, options.filterWidth = (1, *kernel)[-2:]
        return "MAX_POOL_2D" if "max" in case.kind else "AVERAGE_POOL_2D", options

    def _conv(self, case: Case) -> tuple[str, Any]:
        if case.kind == "conv_transpose":
            return "TRANSPOSE_CONV", self._schema.TransposeConvOptionsT()
        if case.groups > 1:
            name, options = "DEPTHWISE_CONV_2D", self._schema.DepthwiseConv2DOptionsT()
            options.depthMultiplier = case.out_channels // case.groups
        else:
            name, options = "CONV_2D", self._schema.Conv2DOptionsT()
        options.dilationHFactor, options.dilationWFactor = (1, *case.each("dilation"))[-2:]
        return name, options

    def _padded(self, x: int, case: Case, shape: tuple[int, ...]) -> int:
        pairs = [(0, 0), *((0, 0), *case.pads)[-2:], (0, 0)]
        wider = tuple(size + sum(p) for size, p in zip(shape, pairs, strict=True))
        target = self._tensor(wider)
        amounts = self._constant(np.array(pairs, np.int32))
        self._add("PAD", [x, amounts], [target], self._schema.PadOptionsT())
        return target

    def _tensor(self, shape: tuple[int, ...], data: Array | None = None) -> int:
        tensor = self._schema.TensorT()
        tensor.shape = [int(size) for size in shape]
        tensor.name = f"t{len(self._graph.tensors)}".encode()
        tensor.type = self._schema.TensorType.FLOAT32
        if data is not None:
            if data.dtype == np.int32:
                tensor.type = self._schema.TensorType.INT32
            buffer = self._schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self._model.buffers.append(buffer)
            tensor.buffer = len(self._model.buffers) - 1
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _constant(self, data: Array) -> int:
        return self._tensor(data.shape, np.ascontiguousarray(data))

    def _add(self, name: str, inputs: list[int], outputs: list[int], options: Any) -> None:
        code = self._schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(self._schema.BuiltinOperator, name)
        self._model.operatorCodes.append(code)
        operator = self._schema.OperatorT()
        operator.opcodeIndex = len(self._model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, outputs
        kind = type(options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, kind)
        operator.builtinOptions = options
        self._graph.operators.append(operator)
