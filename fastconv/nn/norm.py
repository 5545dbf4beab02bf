"""Normalisation layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import functional as F
from fastconv.arrays import as_array
from fastconv.dispatch import Parameter
from fastconv.functional.common import batched, without_batch
from fastconv.nn.initial import constant
from fastconv.nn.module import Module
from fastconv.problem.values import flag, integer, is_sequence, items_of, number


class _Norm(Module):
    """What batch and instance normalisation share: attributes, parameters, running statistics."""

    _n: int
    weight: Any
    bias: Any
    running_mean: Any
    running_var: Any

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        dtype: Any,
        bias: bool,
    ) -> None:
        super().__init__()
        self.num_features = integer(num_features, "num_features", least=1)
        self.eps = number(eps, "eps")
        self.momentum = None if momentum is None else number(momentum, "momentum")
        self.affine = affine = flag(affine, "affine")
        self.track_running_stats = flag(track_running_stats, "track_running_stats")
        bias = flag(bias, "bias")
        shape = (self.num_features,)
        one, zero = constant(shape, 1, dtype), constant(shape, 0, dtype)
        self.register_parameter("weight", one if affine else None)
        self.register_parameter("bias", zero if affine and bias else None)
        tracked = self.track_running_stats
        self.register_buffer("running_mean", zero.view(Parameter) if tracked else None)
        self.register_buffer("running_var", one.view(Parameter) if tracked else None)
        self.register_buffer("num_batches_tracked", np.zeros((), np.int64) if tracked else None)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Norm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: Any = None,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, input: Any) -> Any:
        """Normalise by the running statistics; without them, by the batch's own."""
        input = as_array(input, "input")
        ranks = (2, 3) if self._n == 1 else (self._n + 2,)
        if len(input.shape) not in ranks:
            raise ValueError(
                f"expected {' or '.join(f'{rank}D' for rank in ranks)} input (got "
                f"{len(input.shape)}D input)"
            )
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias,
            self.running_mean is None, self.momentum or 0.0, self.eps,
        )  # fmt: skip


class BatchNorm1d(_BatchNorm):
    """Normalise each channel of (N, C) or (N, C, W); see `fastconv.functional.batch_norm`."""

    _n = 1


class BatchNorm2d(_BatchNorm):
    """Normalise each channel of (N, C, H, W); see `fastconv.functional.batch_norm`."""

    _n = 2


class BatchNorm3d(_BatchNorm):
    """Normalise each channel of (N, C, D, H, W); see `fastconv.functional.batch_norm`."""

    _n = 3


class _InstanceNorm(_Norm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        dtype: Any = None,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, input: Any) -> Any:
        """Normalise by each image's own statistics; by running ones, where they are tracked."""
        x = as_array(input, "input")
        if len(x.shape) not in (self._n + 1, self._n + 2):
            raise ValueError(
                f"expected {self._n + 1}D or {self._n + 2}D input (got {len(x.shape)}D input)"
            )
        # The function takes images with a batch alone: without it, channels would be images.
        x, single = batched(x, self._n, type(self).__name__)
        result = F.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            not self.track_running_stats, self.momentum or 0.0, self.eps,
        )  # fmt: skip
        return without_batch(result, single)


class InstanceNorm1d(_InstanceNorm):
    """Normalise each channel of each signal; see `fastconv.functional.instance_norm`."""

    _n = 1


class InstanceNorm2d(_InstanceNorm):
    """Normalise each channel of each image; see `fastconv.functional.instance_norm`."""

    _n = 2


class InstanceNorm3d(_InstanceNorm):
    """Normalise each channel of each volume; see `fastconv.functional.instance_norm`."""

    _n = 3


class GroupNorm(Module):
    """Normalise groups of channels of each image; see `fastconv.functional.group_norm`."""

    weight: Any
    bias: Any

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        dtype: Any = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_groups = integer(num_groups, "num_groups", least=1)
        self.num_channels = integer(num_channels, "num_channels", least=1)
        if self.num_channels % self.num_groups:
            raise ValueError(
                f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            )
        self.eps = number(eps, "eps")
        self.affine = affine = flag(affine, "affine")
        bias = flag(bias, "bias")
        shape = (self.num_channels,)
        self.register_parameter("weight", constant(shape, 1, dtype) if affine else None)
        self.register_parameter("bias", constant(shape, 0, dtype) if affine and bias else None)

    def forward(self, input: Any) -> Any:
        """Normalise."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LayerNorm(Module):
    """Normalise over the last axes; see `fastconv.functional.layer_norm`."""

    weight: Any
    bias: Any

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        several = is_sequence(normalized_shape)
        sizes = items_of(normalized_shape, "normalized_shape") if several else [normalized_shape]
        self.normalized_shape = tuple(integer(s, "normalized_shape", least=1) for s in sizes)
        self.eps = number(eps, "eps")
        self.elementwise_affine = flag(elementwise_affine, "elementwise_affine")
        shape, affine, bias = self.normalized_shape, self.elementwise_affine, flag(bias, "bias")
        self.register_parameter("weight", constant(shape, 1, dtype) if affine else None)
        self.register_parameter("bias", constant(shape, 0, dtype) if affine and bias else None)

    def forward(self, input: Any) -> Any:
        """Normalise."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """Normalise over neighbouring channels; see `fastconv.functional.local_response_norm`."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = integer(size, "size", least=1)
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Any) -> Any:
        """Normalise."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
