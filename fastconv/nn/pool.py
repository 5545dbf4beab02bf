"""Pooling layers."""

from __future__ import annotations

from typing import Any, ClassVar

from fastconv import functional as F
from fastconv.nn.module import Module
from fastconv.problem.values import integer, is_sequence, items_of


class _Pool(Module):
    """A pooling function of ``_n`` dimensions; its arguments are kept as they were given."""

    _n: ClassVar[int]
    _function: ClassVar[str]
    _options: ClassVar[tuple[str, ...]] = ()
    _visible: ClassVar[tuple[str, ...]] = ()

    def forward(self, input: Any) -> Any:
        """Pool."""
        options = {name: getattr(self, name) for name in self._options}
        return getattr(F, f"{self._function}{self._n}d")(input, **options)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in self._visible)


class _MaxPool(_Pool):
    _function = "max_pool"
    _options = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    _visible = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode


class MaxPool1d(_MaxPool):
    """The maximum of each window of a signal; see `fastconv.functional.max_pool1d`."""

    _n = 1


class MaxPool2d(_MaxPool):
    """The maximum of each window of an image; see `fastconv.functional.max_pool2d`."""

    _n = 2


class MaxPool3d(_MaxPool):
    """The maximum of each window of a volume; see `fastconv.functional.max_pool3d`."""

    _n = 3


class AvgPool1d(_Pool):
    """The mean of each window of a signal; see `fastconv.functional.avg_pool1d`."""

    _n = 1
    _function = "avg_pool"
    _options: ClassVar[tuple[str, ...]] = (
        "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad",
    )  # fmt: skip
    _visible = ("kernel_size", "stride", "padding")

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        # torch keeps tuples in one dimension, the arguments as given in two and three.
        one = self._n == 1
        step = kernel_size if stride is None else stride
        self.kernel_size = _single(kernel_size) if one else kernel_size
        self.stride = _single(step) if one else step
        self.padding = _single(padding) if one else padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad


class _AvgPool(AvgPool1d):
    _options: ClassVar[tuple[str, ...]] = (*AvgPool1d._options, "divisor_override")

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override


class AvgPool2d(_AvgPool):
    """The mean of each window of an image; see `fastconv.functional.avg_pool2d`."""

    _n = 2


class AvgPool3d(_AvgPool):
    """The mean of each window of a volume; see `fastconv.functional.avg_pool3d`."""

    _n = 3


class _LPPool(_Pool):
    _function = "lp_pool"
    _options = ("norm_type", "kernel_size", "stride", "ceil_mode")
    _visible = _options

    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode


class LPPool1d(_LPPool):
    """The p-norm of each window of a signal; see `fastconv.functional.lp_pool1d`."""

    _n = 1


class LPPool2d(_LPPool):
    """The p-norm of each window of an image; see `fastconv.functional.lp_pool2d`."""

    _n = 2


class LPPool3d(_LPPool):
    """The p-norm of each window of a volume; see `fastconv.functional.lp_pool3d`."""

    _n = 3


class _WeightedPool(_Pool):
    _function = "weighted_pool"
    _options = (
        "kernel_size", "stride", "padding", "weights", "ceil_mode", "count_include_pad",
    )  # fmt: skip
    _visible = ("kernel_size", "stride", "padding")
    weights: Any

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        weights: Any = "gaussian",
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        if isinstance(weights, str):
            self.weights = weights
        else:
            self.register_buffer("weights", weights)

    def extra_repr(self) -> str:
        """Show the arguments."""
        named = isinstance(self.weights, str)
        shown = repr(self.weights) if named else f"array of shape {tuple(self.weights.shape)}"
        return f"{super().extra_repr()}, weights={shown}"


class WeightedPool1d(_WeightedPool):
    """The weighted mean of each window; see `fastconv.functional.weighted_pool1d`."""

    _n = 1


class WeightedPool2d(_WeightedPool):
    """The weighted mean of each window; see `fastconv.functional.weighted_pool2d`."""

    _n = 2


class WeightedPool3d(_WeightedPool):
    """The weighted mean of each window; see `fastconv.functional.weighted_pool3d`."""

    _n = 3


class _AdaptiveMaxPool(_Pool):
    _function = "adaptive_max_pool"
    _options = ("output_size", "return_indices")
    _visible = ("output_size",)

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Maxima of so many equal parts; see `fastconv.functional.adaptive_max_pool1d`."""

    _n = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Maxima of so many equal parts; see `fastconv.functional.adaptive_max_pool2d`."""

    _n = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Maxima of so many equal parts; see `fastconv.functional.adaptive_max_pool3d`."""

    _n = 3


class _AdaptiveAvgPool(_Pool):
    _function = "adaptive_avg_pool"
    _options = ("output_size",)
    _visible = _options

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Means of so many equal parts; see `fastconv.functional.adaptive_avg_pool1d`."""

    _n = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Means of so many equal parts; see `fastconv.functional.adaptive_avg_pool2d`."""

    _n = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Means of so many equal parts; see `fastconv.functional.adaptive_avg_pool3d`."""

    _n = 3


class _MaxUnpool(Module):
    _n: ClassVar[int]

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size = _repeated(kernel_size, self._n, "kernel_size")
        given = kernel_size if stride is None else stride
        self.stride = _repeated(given, self._n, "stride")
        self.padding = _repeated(padding, self._n, "padding")

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Any:
        """Put each value at its index, zeros elsewhere."""
        function = getattr(F, f"max_unpool{self._n}d")
        return function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """What `MaxPool1d` undoes, by its indices; see `fastconv.functional.max_unpool1d`."""

    _n = 1


class MaxUnpool2d(_MaxUnpool):
    """What `MaxPool2d` undoes, by its indices; see `fastconv.functional.max_unpool2d`."""

    _n = 2


class MaxUnpool3d(_MaxUnpool):
    """What `MaxPool3d` undoes, by its indices; see `fastconv.functional.max_unpool3d`."""

    _n = 3


class GlobalMaxPool(Module):
    """The maximum of each channel; see `fastconv.functional.global_max_pool`."""

    def forward(self, input: Any) -> Any:
        """Pool."""
        return F.global_max_pool(input)


class GlobalAvgPool(Module):
    """The mean of each channel; see `fastconv.functional.global_avg_pool`."""

    def forward(self, input: Any) -> Any:
        """Pool."""
        return F.global_avg_pool(input)


class GlobalLPPool(Module):
    """The p-norm of each channel; see `fastconv.functional.global_lp_pool`."""

    def __init__(self, norm_type: float) -> None:
        super().__init__()
        self.norm_type = norm_type

    def forward(self, input: Any) -> Any:
        """Pool."""
        return F.global_lp_pool(input, self.norm_type)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"norm_type={self.norm_type}"


def _single(value: Any) -> Any:
    return value if hasattr(value, "__iter__") else (value,)


def _repeated(value: Any, n: int, name: str) -> Any:
    return tuple(items_of(value, name)) if is_sequence(value) else (integer(value, name),) * n
