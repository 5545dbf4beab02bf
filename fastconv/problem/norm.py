"""Normalisation: over the batch's kept statistics, groups of channels, last axes, neighbours."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.problem.activation import Activation
from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.pointwise import any_rank_channels_last
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.values import (
    FLOATS,
    check_dtype,
    flag,
    integer,
    integers,
    is_sequence,
    items_of,
    join_shape,
    number,
    split_shape,
)


@record(frozen=True)
class ChannelsProblem(Problem):
    """An operation that keeps the shape of a batch of images (N, C, ...), in either layout."""

    batch: int
    channels: int
    size: Shape
    channels_last: bool

    @property
    def input_shape(self) -> Shape:
        return join_shape(self.batch, self.channels, self.size, self.channels_last)

    @property
    def output_shape(self) -> Shape:
        return self.input_shape


@record(frozen=True)
class BatchNormProblem(ChannelsProblem):
    """(x - mean) / sqrt(var + eps) * weight + bias, with a mean and a variance given a channel.

    An ``activation`` of the result is what networks put there.
    """

    weight: bool
    bias: bool
    eps: float
    activation: Activation | None = None

    @classmethod
    @remembered
    def of(
        cls,
        input: ArraySpec,
        running_mean: ArraySpec | None,
        running_var: ArraySpec | None,
        weight: ArraySpec | None = None,
        bias: ArraySpec | None = None,
        *,
        training: Any = False,
        eps: Any = 1e-5,
        layout: str = "NCHW",
    ) -> BatchNormProblem:
        """Validate the arguments of ``batch_norm``."""
        if flag(training, "training"):
            raise ValueError(
                "batch_norm with training=True takes its statistics from the batch, so that an "
                "image's result would depend on the rest of the batch: fastconv runs networks "
                "forward only; pass training=False and running_mean and running_var"
            )
        fields = _fields("batch_norm", input, 2, layout)
        for array, name in ((running_mean, "running_mean"), (running_var, "running_var")):
            if array is None:
                raise ValueError(f"{name} must be defined in evaluation mode (training=False)")
            _check_vector(array, fields, name)
        return cls(**fields, **_affine(fields, weight, bias), eps=_eps("batch_norm", eps))

    @property
    def name(self) -> str:
        return "batch_norm"

    @property
    def parameter_bytes(self) -> int:
        return (2 + self.weight + self.bias) * self.channels * self.dtype.itemsize

    @property
    def parameter_count(self) -> int:
        return (self.weight + self.bias) * self.channels


@record(frozen=True)
class GroupNormProblem(ChannelsProblem):
    """Each image's groups of channels brought to mean 0 and variance 1; then weight and bias.

    ``function`` is "group_norm", or "instance_norm" where every channel is a group.
    An ``activation`` of the result is what networks put there.
    """

    groups: int
    weight: bool
    bias: bool
    eps: float
    function: str = "group_norm"
    activation: Activation | None = None

    @classmethod
    @remembered
    def of(
        cls,
        input: ArraySpec,
        num_groups: Any,
        weight: ArraySpec | None = None,
        bias: ArraySpec | None = None,
        *,
        eps: Any = 1e-5,
        layout: str = "NCHW",
    ) -> GroupNormProblem:
        """Validate the arguments of ``group_norm``."""
        fields = _fields("group_norm", input, 2, layout)
        groups = integer(num_groups, "num_groups", least=1)
        if fields["channels"] % groups:
            raise ValueError(
                f"Expected number of channels in input to be divisible by num_groups, but got "
                f"input of shape {list(input.shape)} and num_groups={groups}"
            )
        affine = _affine(fields, weight, bias)
        return cls(**fields, **affine, groups=groups, eps=_eps("group_norm", eps))

    @classmethod
    @remembered
    def of_instances(
        cls,
        input: ArraySpec,
        running_mean: ArraySpec | None = None,
        running_var: ArraySpec | None = None,
        weight: ArraySpec | None = None,
        bias: ArraySpec | None = None,
        *,
        eps: Any = 1e-5,
        layout: str = "NCHW",
    ) -> GroupNormProblem:
        """Validate the arguments of ``instance_norm`` that takes its statistics from the input."""
        fields = _fields("instance_norm", input, 2, layout)
        for array, name in ((running_mean, "running_mean"), (running_var, "running_var")):
            if array is not None:
                _check_vector(array, fields, name)
        if prod(fields["size"]) == 1:
            raise ValueError(
                f"Expected more than 1 spatial element when training, got input size "
                f"{list(input.shape)}: one element has no variance"
            )
        affine = _affine(fields, weight, bias)
        return cls(
            **fields, **affine, groups=fields["channels"], eps=_eps("instance_norm", eps),
            function="instance_norm",
        )  # fmt: skip

    @property
    def name(self) -> str:
        return self.function

    @property
    def parameter_bytes(self) -> int:
        return (self.weight + self.bias) * self.channels * self.dtype.itemsize


@record(frozen=True)
class LayerNormProblem(Problem):
    """The last axes of each row brought to mean 0 and variance 1; then weight and bias."""

    shape: Shape
    normalized_shape: Shape
    weight: bool
    bias: bool
    eps: float

    @classmethod
    @remembered
    def of(
        cls,
        input: ArraySpec,
        normalized_shape: Any,
        weight: ArraySpec | None = None,
        bias: ArraySpec | None = None,
        *,
        eps: Any = 1e-5,
    ) -> LayerNormProblem:
        """Validate the arguments of ``layer_norm``; one int stands for the last axis alone."""
        dtype = check_dtype(input, FLOATS, "input of layer_norm")
        if is_sequence(normalized_shape):
            normalized_shape = tuple(items_of(normalized_shape, "normalized_shape"))
        lengths = integers(normalized_shape, _length(normalized_shape), "normalized_shape", least=0)
        if not lengths:
            raise ValueError(
                "Expected normalized_shape to be at least 1-dimensional, i.e., containing at "
                "least one element, but got normalized_shape = []"
            )
        shape = tuple(input.shape)
        if shape[-len(lengths) :] != lengths:
            wanted = ", ".join(map(str, lengths))
            raise ValueError(
                f"Given normalized_shape={list(lengths)}, expected input with shape "
                f"[*, {wanted}], but got input of size {list(shape)}"
            )
        for array, name in ((weight, "weight"), (bias, "bias")):
            if array is not None and tuple(array.shape) != lengths:
                raise ValueError(
                    f"Expected {name} to be of same shape as normalized_shape, but got {name} of "
                    f"shape {list(array.shape)} and normalized_shape = {list(lengths)}"
                )
            _check_parameter_dtype(array, dtype, name)
        return cls(
            dtype=dtype,
            shape=shape,
            normalized_shape=lengths,
            weight=weight is not None,
            bias=bias is not None,
            eps=_eps("layer_norm", eps),
        )

    @property
    def name(self) -> str:
        return "layer_norm"

    @property
    def input_shape(self) -> Shape:
        return self.shape

    @property
    def output_shape(self) -> Shape:
        return self.shape

    @property
    def length(self) -> int:
        """Elements normalised together."""
        return prod(self.normalized_shape)

    @property
    def rows(self) -> int:
        """Groups of elements normalised together."""
        return prod(self.shape[: len(self.shape) - len(self.normalized_shape)])

    @property
    def parameter_bytes(self) -> int:
        return (self.weight + self.bias) * self.length * self.dtype.itemsize


@record(frozen=True)
class LocalResponseNormProblem(ChannelsProblem):
    """x / (k + alpha * mean square of so many ``neighbours`` channels) ** beta."""

    neighbours: int
    alpha: float
    beta: float
    k: float

    @classmethod
    @remembered
    def of(
        cls,
        input: ArraySpec,
        size: Any,
        *,
        alpha: Any = 1e-4,
        beta: Any = 0.75,
        k: Any = 1.0,
        layout: str = "NCHW",
    ) -> LocalResponseNormProblem:
        """Validate the arguments of ``local_response_norm``."""
        return cls(
            **_fields("local_response_norm", input, 3, layout),
            neighbours=integer(size, "size", least=1),
            alpha=number(alpha, "alpha"),
            beta=number(beta, "beta"),
            k=number(k, "k"),
        )

    @property
    def name(self) -> str:
        return "local_response_norm"

    @property
    def before(self) -> int:
        """Channels of the window that are before its own: one more than after, of an even size."""
        return self.neighbours // 2

    @property
    def after(self) -> int:
        """Channels of the window that are after its own."""
        return (self.neighbours - 1) // 2


def _fields(name: str, input: ArraySpec, least_rank: int, layout: Any) -> dict[str, Any]:
    dtype = check_dtype(input, FLOATS, f"input of {name}")
    shape = tuple(input.shape)
    if len(shape) < least_rank:
        raise ValueError(
            f"Expected at least {least_rank}D input to {name} (N, C{', ...' * (least_rank > 2)}), "
            f"but got {len(shape)}D input of size {list(shape)}"
        )
    last = any_rank_channels_last(layout, len(shape))
    batch, channels, size = split_shape(shape, last)
    return dict(dtype=dtype, batch=batch, channels=channels, size=size, channels_last=last)


def _affine(
    fields: dict[str, Any], weight: ArraySpec | None, bias: ArraySpec | None
) -> dict[str, Any]:
    for array, name in ((weight, "weight"), (bias, "bias")):
        if array is not None:
            _check_vector(array, fields, name)
    return {"weight": weight is not None, "bias": bias is not None}


def _check_vector(array: ArraySpec, fields: dict[str, Any], name: str) -> None:
    if tuple(array.shape) != (fields["channels"],):
        raise ValueError(
            f"{name} should contain {fields['channels']} elements, one a channel, not "
            f"{prod(array.shape)}: got shape {list(array.shape)}"
        )
    _check_parameter_dtype(array, fields["dtype"], name)


def _check_parameter_dtype(array: ArraySpec | None, dtype: np.dtype, name: str) -> None:
    """Take the input's dtype, and float32 with an input of 16 bits, as torch does."""
    if array is None:
        return
    accepted = (dtype.name,) if dtype.itemsize > 2 else (dtype.name, "float32")
    given = np.dtype(array.dtype).name
    if given not in accepted:
        raise TypeError(
            f"expected {name} of dtype {' or '.join(accepted)} for an input of {dtype.name}, but "
            f"got {given}; convert it with .astype({accepted[-1]!r})"
        )


def _eps(name: str, eps: Any) -> float:
    value = number(eps, "eps")
    if value < 0:
        raise ValueError(f"{name} eps must be non-negative, but got {value}")
    return value


def _length(value: Any) -> int:
    return len(value) if isinstance(value, tuple) else 1
