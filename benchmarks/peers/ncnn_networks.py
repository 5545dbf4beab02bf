"""Whole networks in ncnn's own text format, out of our program of them after its passes."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from fastconv.network.program import Program, Solve, View
from fastconv.problem import (
    AdaptivePoolProblem,
    ArithmeticProblem,
    ConvProblem,
    ElementwiseProblem,
    LinearProblem,
    PoolProblem,
)

# ncnn's numbers of activations within a layer, and the layers of their own that others are.
_WITHIN = {"relu": (1, ()), "relu6": (3, (0.0, 6.0))}
_LAYERS = {"relu": "ReLU", "tanh": "TanH", "sigmoid": "Sigmoid"}


class NcnnText:
    """The layers of a program of one image, and their weights."""

    def __init__(self, program: Program) -> None:
        self._lines: list[str] = []
        self._weights: list[bytes] = []
        self._blobs = 0
        self._readers = {n: len(ops) for n, ops in program.readers().items()}
        self._left: dict[int, list[str]] = {}
        self._layer("Input", [], ["x"])
        for number in program.inputs:
            self._give(number, "x")
        for op in program.ops:
            self._op(op)
        (last,) = program.outputs
        self._layer("Noop", [self._take(last)], ["y"])

    @property
    def text(self) -> str:
        """The layers."""
        return "\n".join(["7767517", f"{len(self._lines)} {self._blobs}", *self._lines, ""])

    @property
    def values(self) -> bytes:
        """The weights."""
        return b"".join(self._weights)

    def _layer(self, kind: str, given: list[str], gives: list[str], **fields: Any) -> None:
        words = [f"{key[1:]}={_written(value)}" for key, value in fields.items()]
        name = f"l{len(self._lines)}"
        self._blobs += len(gives)
        counts = (str(len(given)), str(len(gives)))
        self._lines.append(" ".join([kind, name, *counts, *given, *gives, *words]))

    def _give(self, number: int, blob: str) -> None:
        """Let a blob have as many readers as the value has: ncnn's have one each."""
        readers = self._readers.get(number, 0)
        names = [blob] if readers <= 1 else [f"{blob}_{i}" for i in range(readers)]
        if readers > 1:
            self._layer("Split", [blob], names)
        self._left[number] = names

    def _take(self, number: int) -> str:
        return self._left[number].pop()

    def _op(self, op: Any) -> None:
        if isinstance(op, View):
            # A blob of ncnn's that goes into a linear layer is read flat.
            self._left[op.outputs[0]] = [self._take(op.reads[0])]
            return
        if not isinstance(op, Solve):
            raise ValueError(f"ncnn text has no {op.kind}")
        taken = [self._take(n) for n in op.reads]
        out = f"b{op.outputs[0]}"
        problem: Any = op.problem
        if isinstance(problem, (ConvProblem, LinearProblem)):
            self._weighted(op, problem, taken, out)
        elif isinstance(problem, ElementwiseProblem):
            self._activation(problem.activation, taken[0], out)
        elif isinstance(problem, ArithmeticProblem) and problem.function == "add":
            self._layer("BinaryOp", taken, [out], _0=0)
        elif isinstance(problem, AdaptivePoolProblem) and set(problem.pooled) == {1}:
            self._layer("Pooling", taken, [out], _0=int(problem.kind == "avg"), _4=1)
        elif isinstance(problem, PoolProblem):
            self._pool(problem, taken, out)
        elif isinstance(problem, AdaptivePoolProblem) and problem.pooled == problem.input_size:
            self._layer("Noop", taken, [out])
        else:
            raise ValueError(f"ncnn text has no {problem.name}")
        self._give(op.outputs[0], out)

    def _weighted(self, op: Solve, problem: Any, taken: list[str], out: str) -> None:
        weight, bias = (None if p is None else np.asarray(p, np.float32) for p in op.arrays())
        assert weight is not None
        activation, residual = problem.activation, getattr(problem, "residual", False)
        name = None if activation is None else _plain_name(activation)
        own = name in _WITHIN and not residual
        fields: dict[str, Any] = {"_0": weight.shape[0]}
        if isinstance(problem, ConvProblem):
            (kh, kw), (sh, sw), (dh, dw) = problem.kernel_size, problem.stride, problem.dilation
            (top, bottom), (left, right) = problem.padding
            fields |= {"_1": kw, "_11": kh, "_2": dw, "_12": dh, "_3": sw, "_13": sh,
                       "_4": left, "_14": top, "_15": right, "_16": bottom,
                       "_5": int(bias is not None), "_6": weight.size}  # fmt: skip
            if problem.groups > 1:
                fields["_7"] = problem.groups
        else:
            fields |= {"_1": int(bias is not None), "_2": weight.size}
        if own and name is not None:
            number, parameters = _WITHIN[name]
            fields["_9"] = number
            if parameters:
                fields["_-23310"] = (len(parameters), *parameters)
        grouped = "DepthWise" if getattr(problem, "groups", 1) > 1 else ""
        kind = f"Convolution{grouped}" if isinstance(problem, ConvProblem) else "InnerProduct"
        ended = name is None or own
        blob = out if ended and not residual else f"{out}_raw"
        self._layer(kind, taken[:1], [blob], **fields)
        self._weights.append(struct.pack("<I", 0) + np.ascontiguousarray(weight).tobytes())
        if bias is not None:
            self._weights.append(bias.tobytes())
        if residual:
            total = out if name is None else f"{out}_sum"
            self._layer("BinaryOp", [blob, taken[1]], [total], _0=0)
            blob = total
        if not ended:
            self._activation(activation, blob, out)

    def _activation(self, activation: Any, blob: str, out: str) -> None:
        name = _plain_name(activation)
        if name == "relu6":
            self._layer("Clip", [blob], [out], _0=0.0, _1=6.0)
        else:
            self._layer(_LAYERS[name], [blob], [out])

    def _pool(self, problem: PoolProblem, taken: list[str], out: str) -> None:
        (kh, kw), (sh, sw) = problem.kernel_size, problem.stride
        (top, bottom), (left, right) = problem.padding
        self._layer(
            "Pooling", taken, [out], _0=int(problem.kind == "avg"), _1=kw, _11=kh, _2=sw, _12=sh,
            _3=left, _13=top, _14=right, _15=bottom, _5=0 if problem.ceil_mode else 1,
            _6=int(problem.count_include_pad),
        )  # fmt: skip


def _plain_name(activation: Any) -> str:
    clamp = activation.name == "hardtanh" and activation.parameters == (0.0, 6.0)
    return "relu6" if clamp else str(activation.name)


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
