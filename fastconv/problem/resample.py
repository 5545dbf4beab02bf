"""Cells moved to other places: padding, interpolation, pixel shuffling."""

from __future__ import annotations

import dataclasses
from math import floor, prod
from typing import Any

import numpy as np

from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.taps import (
    Integers,
    Taps,
    antialiased_taps,
    area_taps,
    cubic_taps,
    linear_taps,
    regular_taps,
)
from fastconv.problem.values import (
    FLOATS,
    channels_last,
    check_dtype,
    flag,
    integer,
    integers,
    is_sequence,
    items_of,
    join_shape,
    number,
    one_of,
    shown,
    split_shape,
)
from fastconv.problem.windows import Pairs

PAD_MODES = ("constant", "reflect", "replicate", "circular")
# mode -> spatial dimensions that it is for
INTERPOLATION_MODES: dict[str, tuple[int, ...]] = {
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "trilinear": (3,),
    "bicubic": (2,),
    "area": (1, 2, 3),
    "lanczos": (2,),
}
_COPYING = ("nearest", "nearest-exact")
_ANTIALIASED = ("bilinear", "bicubic", "lanczos")


@record(frozen=True)
class PadProblem(Problem):
    """An array of any dtype with cells added (or, by negative numbers, taken away) at its ends."""

    shape: Shape
    pads: Pairs
    mode: str
    value: bytes
    """The bytes of one cell of the padding."""

    @classmethod
    @remembered
    def of(
        cls,
        input: ArraySpec,
        pad: Any,
        *,
        mode: Any = "constant",
        value: Any = None,
        layout: str = "NCHW",
    ) -> PadProblem:
        """Validate the arguments of ``pad``; ``pad`` begins with the last dimension's pair."""
        one_of(mode, PAD_MODES, "mode")
        if mode != "constant" and value is not None and number(value, "value") != 0:
            raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
        shape, dtype = tuple(input.shape), np.dtype(input.dtype)
        pairs = _read_pairs(pad, len(shape))
        axes = _padded_axes(len(pairs), len(shape), layout)
        if mode != "constant":
            _check_ranks(shape, len(pairs))
        pads = [(0, 0)] * len(shape)
        for axis, pair in zip(axes, pairs, strict=True):
            _check_pair(shape, axis, pair, mode)
            pads[axis] = pair
        return cls(dtype, shape, tuple(pads), mode, _value_bytes(value, dtype))

    @classmethod
    @remembered
    def of_axes(cls, input: ArraySpec, pads: Any, *, mode: str, value: Any = None) -> PadProblem:
        """Validate a pair for each dimension, of any length, as ``numpy.pad`` takes them.

        What is repeated or reflected is so as often as it takes. Mode "constant" alone takes cells
        away, by negative numbers.
        """
        shape, dtype = tuple(input.shape), np.dtype(input.dtype)
        pairs = tuple((integer(a, "pads"), integer(b, "pads")) for a, b in pads)
        for axis, (size, pair) in enumerate(zip(shape, pairs, strict=True)):
            where = f"padding {pair} at dimension {axis} of input {list(shape)}"
            if size + sum(pair) < 0:
                raise ValueError(f"more cells are taken away than there are: {where}")
            if mode != "constant" and min(pair) < 0:
                raise ValueError(f"mode {mode!r} takes no cells away: {where}")
            if mode != "constant" and size == 0 and any(pair):
                raise ValueError(f"mode {mode!r} has no cell of an empty axis to show: {where}")
        kind = one_of(mode, PAD_MODES, "mode")
        return cls(dtype, shape, pairs, kind, _value_bytes(value, dtype))

    @property
    def name(self) -> str:
        """The public function's name."""
        return "pad"

    @property
    def input_shape(self) -> Shape:
        """Shape of the input."""
        return self.shape

    @property
    def output_shape(self) -> Shape:
        """Shape of the output."""
        return tuple(length + sum(pair) for length, pair in zip(self.shape, self.pads, strict=True))

    def for_one_image(self) -> PadProblem:
        """Return the same problem for a batch of one."""
        if not self.shape or any(self.pads[0]):
            return self
        return dataclasses.replace(self, shape=(1, *self.shape[1:]))

    def sources(self, axis: int) -> Integers:
        """Return the input's cell that each output cell of an axis shows; -1: padding."""
        size, (before, after) = self.shape[axis], self.pads[axis]
        places: Integers = np.arange(-before, size + after, dtype=np.int64)
        if self.mode == "constant":
            return np.where((places < 0) | (places >= size), -1, places)
        if self.mode == "replicate" or size == 1:
            return np.asarray(np.clip(places, 0, size - 1))
        if self.mode == "reflect":
            last = size - 1
            return np.asarray(last - np.abs(last - places % (2 * last)))
        # What is cropped is gone before the rest is repeated.
        first, last = max(0, -before), size - max(0, -after)
        return np.asarray((places - first) % max(1, last - first) + first)


@record(frozen=True)
class InterpolateProblem(Problem):
    """A batch resized; each dimension on its own has one table of cells and weights."""

    batch: int
    channels: int
    input_size: Shape
    output_size: Shape
    mode: str
    align_corners: bool = False
    scale: tuple[float, ...] | None = None
    antialias: bool = False
    channels_last: bool = False

    @classmethod
    @remembered
    def of(
        cls,
        input: ArraySpec,
        size: Any = None,
        scale_factor: Any = None,
        *,
        mode: Any = "nearest",
        align_corners: Any = None,
        recompute_scale_factor: Any = None,
        antialias: Any = False,
        layout: str = "NCHW",
    ) -> InterpolateProblem:
        """Validate the arguments of ``interpolate``."""
        shape = tuple(input.shape)
        one_of(mode, tuple(INTERPOLATION_MODES), "mode")
        n = _check_rank(shape, mode)
        last = channels_last(layout, n)
        batch, channels, before = split_shape(shape, last)
        align = _read_align(align_corners, mode)
        smooth = flag(antialias, "antialias")
        if smooth and mode not in _ANTIALIASED:
            raise ValueError(
                f"Anti-alias option is restricted to {', '.join(_ANTIALIASED)} modes and requires "
                f"a 4-D tensor as input, but got mode={mode!r}"
            )
        if mode == "lanczos" and (align or not smooth):
            raise ValueError("Lanczos mode requires antialias=True and align_corners=False")
        after, scale = _read_size(before, size, scale_factor, n)
        if recompute_scale_factor is not None and flag(
            recompute_scale_factor, "recompute_scale_factor"
        ):
            if size is not None:
                raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
            scale = None
        if 0 in shape[1:] or 0 in after:
            raise ValueError(
                f"Input and output sizes should be greater than 0, but got input {list(shape)} and "
                f"output size {after}"
            )
        if mode not in _COPYING:
            check_dtype(input, FLOATS, f"input of interpolate (mode={mode!r})")
        return cls(
            dtype=np.dtype(input.dtype),
            batch=batch,
            channels=channels,
            input_size=before,
            output_size=after,
            mode=mode,
            align_corners=align,
            scale=None if mode == "area" else scale,
            antialias=smooth,
            channels_last=last,
        )

    @property
    def name(self) -> str:
        """The public function's name."""
        return "interpolate"

    @property
    def n(self) -> int:
        """Number of spatial dimensions."""
        return len(self.input_size)

    @property
    def input_shape(self) -> Shape:
        """Shape of the input."""
        return join_shape(self.batch, self.channels, self.input_size, self.channels_last)

    @property
    def output_shape(self) -> Shape:
        """Shape of the output."""
        return join_shape(self.batch, self.channels, self.output_size, self.channels_last)

    @property
    def copies(self) -> bool:
        """Whether every output cell is some input cell, unchanged."""
        return self.mode in _COPYING

    @property
    def macs(self) -> int:
        """Multiply-accumulates, each output cell summed by itself."""
        if self.copies:
            return 0
        ragged = self.mode == "area" or self.antialias
        taps = (
            len(self.taps(i).index) if ragged else self.output_size[i] * self.most_taps(i)
            for i in range(self.n)
        )
        return self.batch * self.channels * prod(taps)

    def spacing(self, dimension: int) -> tuple[np.floating[Any], float]:
        """Return the input cells that an output cell spans, and what its number is shifted by.

        In the precision in which places are computed, as `sources` and `taps` do.
        """
        if self.copies:
            # In float32 for every dtype, so that a mask and its image take the same cells.
            return self._scale(dimension, np.float32), 0.5 if self.mode == "nearest-exact" else 0.0
        kind = np.float64 if self.dtype.name == "float64" else np.float32
        return self._scale(dimension, kind), 0.0 if self.align_corners else 0.5

    def sources(self, dimension: int) -> Integers:
        """Return the input's cell that each output cell of a dimension shows, where it copies."""
        scale, shift = self.spacing(dimension)
        cells = np.arange(self.output_size[dimension], dtype=np.float32)
        real = (cells + np.float32(shift)) * scale
        return np.minimum(np.floor(real).astype(np.int64), self.input_size[dimension] - 1)

    def taps(self, dimension: int) -> Taps:
        """Return cells and weights of a dimension.

        Places are computed as torch does, in float32 but for float64 inputs, so that the same
        cells are taken; weights follow from them in float64.
        """
        size, length = self.input_size[dimension], self.output_size[dimension]
        if self.copies:
            return regular_taps(self.sources(dimension)[:, None], np.ones((length, 1)))
        if self.mode == "area":
            return area_taps(size, length)
        if size == length and (self.antialias or self.mode != "bicubic"):
            return regular_taps(np.arange(size)[:, None], np.ones((size, 1)))
        scale, shift = self.spacing(dimension)
        if self.antialias:
            return antialiased_taps(self.mode, size, length, scale)
        # A fused multiply-add: in float64 nothing of a float32 product is lost.
        cells = np.arange(length, dtype=np.float64)
        real = (np.float64(scale) * (cells + shift) - shift).astype(scale.dtype).astype(np.float64)
        return cubic_taps(real, size) if self.mode == "bicubic" else linear_taps(real, size)

    def most_taps(self, dimension: int) -> int:
        """Return the most cells that an output cell of a dimension is summed from.

        Without their table, where that follows from the mode.
        """
        size, length = self.input_size[dimension], self.output_size[dimension]
        if self.copies:
            return 1
        if self.mode == "area" or self.antialias:
            return self.taps(dimension).most
        if size == length and self.mode != "bicubic":
            return 1
        return 4 if self.mode == "bicubic" else 2

    def _scale(self, dimension: int, kind: Any) -> np.floating[Any]:
        """Input cells that one output cell spans, in the precision of ``kind``."""
        size, length = self.input_size[dimension], self.output_size[dimension]
        if self.align_corners:
            scale = kind(size - 1) / kind(length - 1) if length > 1 else kind(0)
        elif self.scale is not None:
            scale = kind(1.0 / self.scale[dimension])
        else:
            scale = kind(size) / kind(length)
        result: np.floating[Any] = scale
        return result


@record(frozen=True)
class PixelShuffleProblem(Problem):
    """Channels made into finer pixels (``factor`` r: r x r channels a pixel), or the inverse."""

    lead: Shape
    channels: int
    size: tuple[int, int]
    factor: int
    inverse: bool = False
    channels_last: bool = False

    @classmethod
    @remembered
    def of(
        cls, input: ArraySpec, factor: Any, *, inverse: bool = False, layout: str = "NCHW"
    ) -> PixelShuffleProblem:
        """Validate the arguments of ``pixel_shuffle``, or with ``inverse`` ``pixel_unshuffle``."""
        name = "pixel_unshuffle" if inverse else "pixel_shuffle"
        shape = tuple(input.shape)
        if len(shape) < 3:
            raise ValueError(
                f"{name} expects input to have at least 3 dimensions, but got input with "
                f"{len(shape)} dimension(s)"
            )
        r = integer(factor, "downscale_factor" if inverse else "upscale_factor", least=1)
        last = channels_last(layout, 2)
        *lead, a, b, c = shape
        channels, size = (c, (a, b)) if last else (a, (b, c))
        if not inverse and channels % (r * r):
            raise ValueError(
                f"{name} expects its input's 'channel' dimension to be divisible by the square of "
                f"upscale_factor, but input.size(-3)={channels} is not divisible by {r * r}"
            )
        if inverse and (size[0] % r or size[1] % r):
            raise ValueError(
                f"{name} expects height and width to be divisible by downscale_factor, but "
                f"{size[0]} x {size[1]} is not divisible by {r}"
            )
        return cls(np.dtype(input.dtype), tuple(lead), channels, size, r, inverse, last)

    @property
    def name(self) -> str:
        """The public function's name."""
        return "pixel_unshuffle" if self.inverse else "pixel_shuffle"

    @property
    def input_shape(self) -> Shape:
        """Shape of the input."""
        return self._join(self.channels, self.size)

    @property
    def output_shape(self) -> Shape:
        """Shape of the output."""
        r, (height, width) = self.factor, self.size
        if self.inverse:
            return self._join(self.channels * r * r, (height // r, width // r))
        return self._join(self.channels // (r * r), (height * r, width * r))

    def for_one_image(self) -> PixelShuffleProblem:
        """Return the same problem for a batch of one."""
        return dataclasses.replace(self, lead=())

    def permutation(self) -> tuple[Shape, tuple[int, ...]]:
        """Return the five axes that an image splits into, and their order in the output.

        In the order, the batch is axis 0 and the five are 1 to 5.
        """
        r, (height, width) = self.factor, self.size
        if self.inverse:
            coarse = (height // r, r, width // r, r)
            if self.channels_last:
                return (*coarse, self.channels), (0, 1, 3, 5, 2, 4)
            return (self.channels, *coarse), (0, 1, 3, 5, 2, 4)
        channels = self.channels // (r * r)
        if self.channels_last:
            return (height, width, channels, r, r), (0, 1, 4, 2, 5, 3)
        return (channels, r, r, height, width), (0, 1, 4, 2, 5, 3)

    def _join(self, channels: int, size: tuple[int, int]) -> Shape:
        inner = (*size, channels) if self.channels_last else (channels, *size)
        return (*self.lead, *inner)


def _read_pairs(pad: Any, rank: int) -> list[tuple[int, int]]:
    if not is_sequence(pad):
        raise TypeError(f"pad must be a sequence of ints, not {shown(pad)}")
    flat = [integer(item, "pad") for item in items_of(pad, "pad")]
    if len(flat) % 2:
        raise ValueError(f"Padding length must be divisible by 2, but got {flat}")
    if len(flat) > 2 * rank:
        raise ValueError(
            f"Padding length should be less than or equal to two times the input dimension but "
            f"got padding length {len(flat)} and input of dimension {rank}"
        )
    return list(zip(flat[::2], flat[1::2], strict=True))


def _padded_axes(count: int, rank: int, layout: str) -> list[int]:
    """Return the axes of the pairs: from the last on, passing over channels that are last."""
    n = max(1, min(3, rank - 2))
    if not channels_last(layout, n):
        return [rank - 1 - i for i in range(count)]
    if count >= rank:
        raise ValueError(f"with layout={layout!r} spatial dimensions alone can be padded")
    return [rank - 2 - i for i in range(count)]


def _check_ranks(shape: Shape, count: int) -> None:
    if count not in (1, 2, 3) or len(shape) not in (count + 1, count + 2):
        raise ValueError(
            f"Padding size {2 * count} is not supported for {len(shape)}D input; modes but "
            f"'constant' pad the last dimension of a 2D or 3D input, the last 2 of a 3D or 4D "
            f"input, or the last 3 of a 4D or 5D input"
        )
    if 0 in shape[1:]:
        raise ValueError(f"input must not be empty but for its batch, but got {list(shape)}")


def _check_pair(shape: Shape, axis: int, pair: tuple[int, int], mode: str) -> None:
    size, where = shape[axis], f"padding {pair} at dimension {axis} of input {list(shape)}"
    cropped = -sum(min(0, p) for p in pair)
    least = 0 if mode == "constant" else 1
    if size + sum(pair) < least or (cropped > size and mode in ("constant", "circular")):
        raise ValueError(
            f"The input size {size}, plus negative padding, resulted in a negative or zero output "
            f"size: {where}"
        )
    if mode == "reflect" and max(pair) >= size:
        raise ValueError(
            f"Padding size should be less than the corresponding input dimension, but got: {where}"
        )
    if mode == "circular" and (max(pair) > size or (cropped == size and max(pair) > 0)):
        raise ValueError(f"Padding value causes wrapping around more than once: {where}")


def _holds_items(value: Any) -> bool:
    try:
        return np.ndim(value) != 0
    except ValueError:  # rows of different lengths
        return True


def _value_bytes(value: Any, dtype: np.dtype[Any]) -> bytes:
    if _holds_items(value) or (np.iscomplexobj(value) and dtype.kind != "c"):
        raise TypeError(f"value must be a number of dtype {dtype.name}, not {shown(value)}")
    try:
        with np.errstate(over="ignore"):
            whole = dtype.kind in "iu" and value is not None
            cell = np.array(0 if value is None else int(value) if whole else value).astype(dtype)
    except (TypeError, ValueError, OverflowError):
        cell = None
    if cell is None or (whole and int(cell) != int(value)):
        raise ValueError(
            f"value {shown(value)} cannot be converted to {dtype.name} without overflow"
        )
    return cell.tobytes()


def _check_rank(shape: Shape, mode: str) -> int:
    n = len(shape) - 2
    if n not in INTERPOLATION_MODES[mode]:
        wanted = " or ".join(f"{m + 2}D" for m in INTERPOLATION_MODES[mode])
        raise ValueError(
            f"Got {len(shape)}D input, but {mode} mode needs {wanted} input: (N, C, *size), "
            f"not {list(shape)}"
        )
    return n


def _read_align(align_corners: Any, mode: str) -> bool:
    if align_corners is None:
        return False
    if mode in (*_COPYING, "area"):
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: "
            "linear | bilinear | bicubic | trilinear"
        )
    return flag(align_corners, "align_corners")


def _read_size(
    before: Shape, size: Any, scale_factor: Any, n: int
) -> tuple[Shape, tuple[float, ...] | None]:
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if is_sequence(size):
            size = items_of(size, "size")
        if isinstance(size, list) and len(size) != n:
            raise ValueError(
                f"Input and output must have the same number of spatial dimensions, but got input "
                f"with spatial dimensions of {list(before)} and output size of {size}"
            )
        return integers(size, n, "size", least=1), None
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    several = is_sequence(scale_factor)
    factors = items_of(scale_factor, "scale_factor") if several else [scale_factor] * n
    if len(factors) != n:
        raise ValueError(
            f"Input and scale_factor must have the same number of spatial dimensions, but got "
            f"input with spatial dimensions of {list(before)} and scale_factor "
            f"{shown(scale_factor)}"
        )
    scale = tuple(number(factor, "scale_factor") for factor in factors)
    if any(not 0 < factor < 2**31 for factor in scale):
        raise ValueError(f"scale_factor should be greater than zero, but got {shown(scale_factor)}")
    return tuple(floor(b * factor) for b, factor in zip(before, scale, strict=True)), scale
