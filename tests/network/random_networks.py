"""Networks drawn at random: functions over NumPy and the functional API, with branches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv.functional as F
from fastconv.dispatch import Parameter

Value = Any


@dataclasses.dataclass
class RandomNetwork:
    """A function of one image batch (N, C, H, W), the same for the same seed.

    What is drawn depends on shapes alone, so that a trace and a run draw alike.
    """

    seed: int
    steps: int = 12
    dtype: str = "float32"

    def __post_init__(self) -> None:
        self._weights: dict[Any, Parameter] = {}

    def __call__(self, x: Value) -> Value:
        rng = np.random.default_rng(self.seed)
        values = [x]
        for number in range(self.steps):
            value = values[int(rng.integers(max(0, len(values) - 3), len(values)))]
            step = STEPS[int(rng.integers(len(STEPS)))]
            values.append(step(self, number, rng, value, values))
        last = values[-1]
        if rng.random() < 0.5:
            return last
        return last, values[int(rng.integers(1, len(values)))]

    def weight(self, key: Any, *shape: int, positive: bool = False) -> Parameter:
        """Return weights of the size that keeps activations as they are."""
        if key not in self._weights:
            rng = np.random.default_rng([self.seed, len(self._weights)])
            drawn = rng.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))
            drawn = np.abs(drawn) + 0.5 if positive else drawn
            self._weights[key] = Parameter(drawn.astype(self.dtype))
        return self._weights[key]


Step = Callable[[RandomNetwork, int, np.random.Generator, Value, list[Value]], Value]


def _conv(net: RandomNetwork, n: int, rng: Any, x: Value, values: list[Value]) -> Value:
    channels = int(rng.choice((4, 8, 16)))
    k = int(rng.choice((1, 3)))
    bias = net.weight((n, "b"), channels) if rng.random() < 0.5 else None
    stride = int(rng.choice((1, 1, 2)))
    return F.conv2d(x, net.weight((n, "w"), channels, x.shape[1], k, k), bias, stride, k // 2)


def _grouped(net: RandomNetwork, n: int, rng: Any, x: Value, values: list[Value]) -> Value:
    c = x.shape[1]
    return F.conv2d(x, net.weight((n, "w"), c, 1, 3, 3), None, 1, 1, 1, c)


def _transposed(net: RandomNetwork, n: int, rng: Any, x: Value, values: list[Value]) -> Value:
    return F.conv_transpose2d(x, net.weight((n, "w"), x.shape[1], 6, 3, 3), None, 1, 1)


def _batch_norm(net: RandomNetwork, n: int, rng: Any, x: Value, values: list[Value]) -> Value:
    c = x.shape[1]
    mean, var = net.weight((n, "m"), c), net.weight((n, "v"), c, positive=True)
    return F.batch_norm(x, mean, var, net.weight((n, "g"), c), net.weight((n, "b"), c))


def _activation(net: RandomNetwork, n: int, rng: Any, x: Value, values: list[Value]) -> Value:
    names = ("relu", "relu6", "sigmoid", "leaky_relu", "hardswish", "silu", "tanh", "gelu")
    return getattr(F, str(rng.choice(names)))(x)


def _gate(net: RandomNetwork, n: int, rng: Any, x: Value, values: list[Value]) -> Value:
    return x * (F.sigmoid(x) if rng.random() < 0.5 else F.hardsigmoid(x))


def _clamp(net: RandomNetwork, n: int, rng: Any, x: Value, values: list[Value]) -> Value:
    low, high = x.dtype.type(-0.5), x.dtype.type(1.25)
    return np.minimum(np.maximum(x, low), high) if rng.random() < 0.7 else np.maximum(high, x)


def _pool(net: RandomNetwork, n: int, rng: Any, x: Value, values: list[Value]) -> Value:
    pool = F.max_pool2d if rng.random() < 0.5 else F.avg_pool2d
    return pool(x, 3, 1, 1)


def _sum(net: RandomNetwork, n: int, rng: Any, x: Value, values: list[Value]) -> Value:
    same = [v for v in values if v.shape == x.shape]
    return x + same[int(rng.integers(len(same)))]


def _concat(net: RandomNetwork, n: int, rng: Any, x: Value, values: list[Value]) -> Value:
    same = [v for v in values if v.shape[2:] == x.shape[2:]][-3:]
    return np.concatenate([x, *same], axis=1) if x.shape[1] < 40 else x[:, :5]


def _numbers(net: RandomNetwork, n: int, rng: Any, x: Value, values: list[Value]) -> Value:
    c = x.shape[1]
    choice = int(rng.integers(5))
    if choice == 0:
        return 2 - x / 3
    if choice == 1:
        return x * np.asarray(net.weight((n, "s"), c, 1, 1))
    if choice == 2:
        return np.asarray(net.weight((n, "s"), 1, c, 1, 1)) + x
    if choice == 3:
        return x * x.mean(axis=(2, 3), keepdims=True)
    return np.exp(-(x * x))


def _moves(net: RandomNetwork, n: int, rng: Any, x: Value, values: list[Value]) -> Value:
    batch, c, h, w = x.shape
    choice = int(rng.integers(6))
    if choice == 0 and c % 2 == 0:
        split = x.reshape(batch, 2, c // 2, h, w).transpose(0, 2, 1, 3, 4)
        return split.reshape(batch, c, h, w)
    if choice == 1:
        return x[:, : max(1, c // 2)]
    if choice == 2:
        return np.flip(x, 3)
    if choice == 3:
        return x.transpose(0, 2, 3, 1).transpose(0, 3, 1, 2)
    if choice == 4 and c > 2:
        return np.concatenate(np.split(x, [c // 3], axis=1)[::-1], axis=1)
    return F.pad(x, (1, 0, 0, 1))[:, :, 1:, :w]


def _layer_norm(net: RandomNetwork, n: int, rng: Any, x: Value, values: list[Value]) -> Value:
    c = x.shape[1]
    last = F.layer_norm(x.transpose(0, 2, 3, 1), (c,), net.weight((n, "g"), c))
    return F.linear(last, net.weight((n, "w"), c, c)).transpose(0, 3, 1, 2)


def _padded_conv(net: RandomNetwork, n: int, rng: Any, x: Value, values: list[Value]) -> Value:
    return F.conv2d(F.pad(x, (1, 0, 2, 1)), net.weight((n, "w"), 5, x.shape[1], 2, 2))


def _softmax(net: RandomNetwork, n: int, rng: Any, x: Value, values: list[Value]) -> Value:
    return F.softmax(x, int(rng.integers(1, 4))) * x.dtype.type(10)


def _resize(net: RandomNetwork, n: int, rng: Any, x: Value, values: list[Value]) -> Value:
    mode = "nearest" if rng.random() < 0.5 else "bilinear"
    small = F.avg_pool2d(x, 2, ceil_mode=True)
    return F.interpolate(small, tuple(x.shape[2:]), mode=mode)


STEPS: tuple[Step, ...] = (
    _conv, _conv, _conv, _grouped, _transposed, _batch_norm, _batch_norm, _activation, _activation,
    _gate, _clamp, _pool, _sum, _sum, _concat, _concat, _numbers, _moves, _moves, _layer_norm,
    _padded_conv, _softmax, _resize,
)  # fmt: skip
