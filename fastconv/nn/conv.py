"""Convolution layers."""

from __future__ import annotations

from math import prod
from typing import Any

from fastconv import functional as F
from fastconv.nn.initial import uniform
from fastconv.nn.module import Module
from fastconv.problem.values import flag, integer, integers, one_of
from fastconv.problem.windows import PADDING_MODES

_NAMED = ("same", "valid", "causal")


class _Conv(Module):
    """What convolutions and their transposes share: attributes, parameters, repr."""

    _n: int
    transposed: bool = False
    weight: Any
    bias: Any

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        output_padding: Any,
        dilation: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        dtype: Any,
    ) -> None:
        super().__init__()
        n = self._n
        self.in_channels = integer(in_channels, "in_channels", least=1)
        self.out_channels = integer(out_channels, "out_channels", least=1)
        self.groups = integer(groups, "groups", least=1)
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % self.groups:
                raise ValueError(
                    f"{name} must be divisible by groups, but got {name}={getattr(self, name)} "
                    f"and groups={self.groups}"
                )
        self.kernel_size = integers(kernel_size, n, "kernel_size", least=1)
        self.stride = integers(stride, n, "stride", least=1)
        self.padding = _padding(padding, n)
        self.dilation = integers(dilation, n, "dilation", least=1)
        self.output_padding = integers(output_padding, n, "output_padding", least=0)
        self.padding_mode = one_of(padding_mode, PADDING_MODES, "padding_mode")
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        shape = (first, second // self.groups, *self.kernel_size)
        fan_in = prod(shape[1:])
        self.weight = uniform(shape, fan_in, dtype)
        self.register_parameter(
            "bias", uniform((self.out_channels,), fan_in, dtype) if flag(bias, "bias") else None
        )

    def extra_repr(self) -> str:
        """Show the arguments."""
        zeros = (0,) * self._n
        parts = [
            f"{self.in_channels}, {self.out_channels}",
            f"kernel_size={self.kernel_size}, stride={self.stride}",
        ]
        if self.padding != zeros:
            parts.append(f"padding={self.padding}")
        if self.dilation != (1,) * self._n:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != zeros:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Convolution(_Conv):
    """A cross-correlation in ``_n`` dimensions."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, 0, dilation, groups, bias,
            padding_mode, dtype,
        )  # fmt: skip

    def forward(self, input: Any) -> Any:
        """Run the layer."""
        function = getattr(F, f"conv{self._n}d")
        return function(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups,
            padding_mode=self.padding_mode,
        )  # fmt: skip


class Conv1d(_Convolution):
    """Cross-correlate signals; see `fastconv.functional.conv1d`. Input (N, C, W) or (C, W)."""

    _n = 1


class Conv2d(_Convolution):
    """Cross-correlate images; see `fastconv.functional.conv2d`. Input (N, C, H, W) or (C, H, W)."""

    _n = 2


class Conv3d(_Convolution):
    """Cross-correlate volumes; see `fastconv.functional.conv3d`. Input (N, C, D, H, W)."""

    _n = 3


class _Transposed(_Conv):
    """A transposed convolution in ``_n`` dimensions."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        *,
        dtype: Any = None,
    ) -> None:
        if one_of(padding_mode, PADDING_MODES, "padding_mode") != "zeros":
            raise ValueError(
                f'Only "zeros" padding mode is supported for {type(self).__name__}, but got '
                f"{padding_mode!r}"
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, output_padding, dilation,
            groups, bias, padding_mode, dtype,
        )  # fmt: skip

    def forward(self, input: Any, output_size: Any = None) -> Any:
        """Run the layer; ``output_size``, where given, takes the place of output_padding."""
        extra = self.output_padding
        if output_size is not None:
            extra = self._padding_for(tuple(input.shape)[-self._n :], output_size)
        function = getattr(F, f"conv_transpose{self._n}d")
        return function(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups,
            self.dilation,
        )  # fmt: skip

    def _padding_for(self, size: tuple[int, ...], output_size: Any) -> tuple[int, ...]:
        wanted = integers(tuple(output_size)[-self._n :], self._n, "output_size", least=1)
        pads = self.padding if isinstance(self.padding, tuple) else (0,) * self._n
        totals = [sum(pad) if isinstance(pad, tuple) else 2 * pad for pad in pads]
        least = tuple(
            (length - 1) * s - total + d * (k - 1) + 1
            for length, s, total, d, k in zip(
                size, self.stride, totals, self.dilation, self.kernel_size, strict=True
            )
        )
        most = tuple(length + s - 1 for length, s in zip(least, self.stride, strict=True))
        if any(not a <= w <= b for a, w, b in zip(least, wanted, most, strict=True)):
            raise ValueError(
                f"requested an output size of {wanted}, but valid sizes range from {least} to "
                f"{most} (for an input of {size})"
            )
        return tuple(w - a for w, a in zip(wanted, least, strict=True))


class ConvTranspose1d(_Transposed):
    """Transposed convolution of signals; see `fastconv.functional.conv_transpose1d`."""

    _n = 1


class ConvTranspose2d(_Transposed):
    """Transposed convolution of images; see `fastconv.functional.conv_transpose2d`."""

    _n = 2


class ConvTranspose3d(_Transposed):
    """Transposed convolution of volumes; see `fastconv.functional.conv_transpose3d`."""

    _n = 3


def _padding(padding: Any, n: int) -> Any:
    """Return a word, ``n`` ints or ``n`` pairs; what does not fit is refused."""
    if isinstance(padding, str):
        return one_of(padding, _NAMED if n == 1 else _NAMED[:2], "padding")
    if isinstance(padding, (tuple, list)) and any(isinstance(p, (tuple, list)) for p in padding):
        if len(padding) != n or any(not isinstance(p, (tuple, list)) for p in padding):
            raise ValueError(f"padding must hold {n} (before, after) pairs, but got {padding!r}")
        return tuple(integers(tuple(p), 2, "padding", least=0) for p in padding)
    return integers(padding, n, "padding", least=0)
