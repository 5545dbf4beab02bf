"""Layers that move values about: padding, resizing, shuffling, windows as columns."""

from __future__ import annotations

from typing import Any, ClassVar

from fastconv import functional as F
from fastconv.nn.module import Module
from fastconv.problem.values import integer, integers, is_sequence, items_of, number


class _Pad(Module):
    """Padding of ``_n`` dimensions: the last one's (before, after) first, as torch has it."""

    _n: ClassVar[int]
    _mode: ClassVar[str]

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = integers(padding, 2 * self._n, "padding")

    def forward(self, input: Any) -> Any:
        """Pad."""
        return F.pad(input, self.padding, self._mode, getattr(self, "value", None))

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"{self.padding}"


class _ConstantPad(_Pad):
    _mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Pad signals with one value; see `fastconv.functional.pad`."""

    _n = 1


class ConstantPad2d(_ConstantPad):
    """Pad images with one value; see `fastconv.functional.pad`."""

    _n = 2


class ConstantPad3d(_ConstantPad):
    """Pad volumes with one value; see `fastconv.functional.pad`."""

    _n = 3


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"{self.padding}"


class ZeroPad1d(_ZeroPad):
    """Pad signals with zeros; see `fastconv.functional.pad`."""

    _n = 1


class ZeroPad2d(_ZeroPad):
    """Pad images with zeros; see `fastconv.functional.pad`."""

    _n = 2


class ZeroPad3d(_ZeroPad):
    """Pad volumes with zeros; see `fastconv.functional.pad`."""

    _n = 3


class ReflectionPad1d(_Pad):
    """Pad signals with their mirror image; see `fastconv.functional.pad`."""

    _n = 1
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """Pad images with their mirror image; see `fastconv.functional.pad`."""

    _n = 2
    _mode = "reflect"


class ReflectionPad3d(_Pad):
    """Pad volumes with their mirror image; see `fastconv.functional.pad`."""

    _n = 3
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """Pad signals with their outermost values; see `fastconv.functional.pad`."""

    _n = 1
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """Pad images with their outermost values; see `fastconv.functional.pad`."""

    _n = 2
    _mode = "replicate"


class ReplicationPad3d(_Pad):
    """Pad volumes with their outermost values; see `fastconv.functional.pad`."""

    _n = 3
    _mode = "replicate"


class CircularPad1d(_Pad):
    """Pad signals with what is at their other end; see `fastconv.functional.pad`."""

    _n = 1
    _mode = "circular"


class CircularPad2d(_Pad):
    """Pad images with what is at their other end; see `fastconv.functional.pad`."""

    _n = 2
    _mode = "circular"


class CircularPad3d(_Pad):
    """Pad volumes with what is at their other end; see `fastconv.functional.pad`."""

    _n = 3
    _mode = "circular"


class Upsample(Module):
    """Resize by interpolation; see `fastconv.functional.interpolate`."""

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        if is_sequence(scale_factor):
            factors = items_of(scale_factor, "scale_factor")
            self.scale_factor: Any = tuple(number(factor, "scale_factor") for factor in factors)
        else:
            self.scale_factor = (
                None if scale_factor is None else number(scale_factor, "scale_factor") or None
            )
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Any) -> Any:
        """Resize."""
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners,
            self.recompute_scale_factor,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Show the arguments."""
        name = "size" if self.scale_factor is None else "scale_factor"
        return f"{name}={getattr(self, name)!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` of images by the nearest cell."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of images by bilinear interpolation, corners aligned."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


class PixelShuffle(Module):
    """Channels into finer pixels; see `fastconv.functional.pixel_shuffle`."""

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = integer(upscale_factor, "upscale_factor", least=1)

    def forward(self, input: Any) -> Any:
        """Rearrange."""
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Pixels into more channels; see `fastconv.functional.pixel_unshuffle`."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = integer(downscale_factor, "downscale_factor", least=1)

    def forward(self, input: Any) -> Any:
        """Rearrange."""
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"downscale_factor={self.downscale_factor}"


class Unfold(Module):
    """Windows as columns; see `fastconv.functional.unfold`."""

    def __init__(
        self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Any) -> Any:
        """Take the windows out."""
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )


class Fold(Module):
    """Columns summed back into images; see `fastconv.functional.fold`."""

    def __init__(
        self,
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Any) -> Any:
        """Put the windows back, summed where they overlap."""
        return F.fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        """Show the arguments."""
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )
