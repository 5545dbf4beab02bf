"""What TMA copies from: images by the pixels of a window's tap, and matrices by tiles.

A description here has all that the driver encodes but the address (CUDA driver API, "Tensor Map
Object Management"). Dimensions are given from the innermost outwards, as the driver takes them.
`copied` says in NumPy what a copy brings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.cuda.engine.warpgroup import LINES

# Bytes of an element. A float32 is rounded to a tf32 on its way.
ITEMS = {"float16": 2, "bfloat16": 2, "float32": 4}
# Limits that cuTensorMapEncodeIm2col and -Tiled state.
MOST_PIXELS, MOST_BOX, MOST_STRIDE = 1024, 256, 8
_STRIDE_BYTES, _MOST_STRIDE_BYTES, _MOST_SIZE = 16, 1 << 40, 1 << 32
# Bits of a corner's offset (signed), and of a tap's (unsigned), by the spatial dimensions.
_BITS = {1: 16, 2: 8, 3: 5}


@dataclasses.dataclass(frozen=True)
class Images:
    """Images channels last, read by tiles of ``pixels`` windows and ``channels``: im2col mode.

    A tile's pixels are those from which windows begin: they are ``stride`` apart in a box that
    reaches from ``first`` to ``size - 1 + last``, and follow each other through lines, planes and
    images. A copy adds a tap's offset to each; what is outside the image is zero.

    Parameters
    ----------
    dtype
        float16, bfloat16 or float32.
    size, batch, depth
        Pixels (width, height, depth: as many as there are), images, channels.
    first, last
        The box's corners, from the image's first and last pixel, in the order of ``size``.
    stride
        Steps between windows, in the order of ``size``.
    """

    dtype: str
    depth: int
    size: tuple[int, ...]
    batch: int
    first: tuple[int, ...]
    last: tuple[int, ...]
    stride: tuple[int, ...]
    channels: int
    pixels: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """All dimensions: channels, pixels, images."""
        return (self.depth, *self.size, self.batch)

    @property
    def line(self) -> int:
        """Bytes of a tile's line, which are swizzled among each other."""
        return self.channels * ITEMS[self.dtype]

    @property
    def box(self) -> tuple[int, ...]:
        """Windows of an image, in the order of ``size``."""
        columns = zip(self.size, self.first, self.last, self.stride, strict=True)
        return tuple((n + b - a - 1) // s + 1 for n, a, b, s in columns)


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A matrix of ``rows`` x ``columns``, read by tiles of ``tall`` x ``wide``; zero outside."""

    dtype: str
    rows: int
    columns: int
    tall: int
    wide: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Both dimensions, columns first."""
        return (self.columns, self.rows)

    @property
    def line(self) -> int:
        """Bytes of a tile's line, which are swizzled among each other."""
        return self.wide * ITEMS[self.dtype]


Spec = Images | Matrix


@dataclasses.dataclass
class SimulatedMap:
    """A tensor map in the simulator: what it describes, and the bytes that it begins at."""

    spec: Spec
    memory: Any


def why_not(spec: Spec) -> str | None:
    """Return which of the driver's limits a description breaks; None: none."""
    if isinstance(spec, Matrix):
        if not (1 <= spec.tall <= MOST_BOX and spec.line in LINES):
            return f"a tile of {spec.tall} x {spec.wide}"
        return _why_not_sizes(spec)
    least, most = corner_range(len(spec.size))
    for corner in (*spec.first, *spec.last):
        if not least <= corner <= most:
            return (
                f"a window's corner {corner} pixels from the image's: TMA takes {least} to {most}"
            )
    if not all(1 <= s <= MOST_STRIDE for s in spec.stride):
        return f"stride {max(spec.stride)}: TMA takes up to {MOST_STRIDE}"
    if not (1 <= spec.pixels <= MOST_PIXELS and spec.line in LINES):
        return f"a tile of {spec.pixels} pixels x {spec.channels} channels"
    if not all(count > 0 for count in spec.box):
        return "a box without windows"
    return _why_not_sizes(spec)


def _why_not_sizes(spec: Spec) -> str | None:
    sizes, strides = spec.sizes, strides_of(spec)
    if strides[0] % _STRIDE_BYTES:
        each = _STRIDE_BYTES // ITEMS[spec.dtype]
        return f"{sizes[0]} channels: TMA takes multiples of {each}"
    if max(sizes) > _MOST_SIZE or max(strides) >= _MOST_STRIDE_BYTES:
        return f"an array of {sizes} elements: larger than TMA takes"
    return None


def corner_range(dimensions: int) -> tuple[int, int]:
    """Return the least and the most that a corner may be from the image's."""
    half = 1 << (_BITS[dimensions] - 1)
    return -half, half - 1


def most_offset(dimensions: int) -> int:
    """Return the most that a tap may be from its window's first (PTX ISA, im2col offsets)."""
    return (1 << _BITS[dimensions]) - 1


def strides_of(spec: Spec) -> tuple[int, ...]:
    """Return the bytes from one to the next in each dimension but the innermost."""
    item, sizes = ITEMS[spec.dtype], spec.sizes
    return tuple(item * prod(sizes[: i + 1]) for i in range(len(sizes) - 1))


def encoding(spec: Spec) -> tuple[Any, ...]:
    """Return what follows the address, as plain numbers, in the order of the driver's parameters.

    Of an image: dimensions, strides in bytes, lower and upper corner, channels a pixel, pixels a
    column, element strides; of a matrix: dimensions, strides, box, element strides.
    """
    sizes, ones = spec.sizes, (1,) * len(spec.sizes)
    if isinstance(spec, Matrix):
        return sizes, strides_of(spec), (spec.wide, spec.tall), ones
    steps = (1, *spec.stride, 1)
    # Corners in the order of the dimensions, width first: the driver's text names {D, H, W}.
    return sizes, strides_of(spec), spec.first, spec.last, spec.channels, spec.pixels, steps


def copied(spec: Spec, memory: Any, at: Sequence[int], offsets: Sequence[int] = ()) -> Any:
    """Return what a copy brings: a line of 16-bit words for each pixel or row.

    ``memory``: the array's bytes. ``at``: coordinates, innermost first: of a matrix (column, row),
    of images (channel, w, h, d, image), where the first window begins. ``offsets``: the tap's, from
    the width outwards.

    Raises
    ------
    ValueError
        Where the first window begins outside the box, or an offset is out of range.
    """
    items = memory[: prod(spec.sizes) * ITEMS[spec.dtype]].view(f"u{ITEMS[spec.dtype]}")
    if spec.dtype == "float32":
        items = rounded_tf32(items)
    if isinstance(spec, Matrix):
        whole = items.reshape(spec.rows, spec.columns)
        return _part(whole, at[1], spec.tall, at[0], spec.wide).view(np.uint16)
    starts, most = _starts(spec, at), most_offset(len(spec.size))
    if len(offsets) != len(spec.size) or not all(0 <= o <= most for o in offsets):
        raise ValueError(f"offsets {tuple(offsets)} of taps: 0 to {most}")
    images = items.reshape(-1, spec.depth)
    result = np.zeros((spec.pixels, spec.channels), items.dtype)
    for row, (*place, image) in enumerate(starts):
        pixel = [p + int(o) for p, o in zip(place, offsets, strict=True)]
        if image < spec.batch and all(0 <= p < n for p, n in zip(pixel, spec.size, strict=True)):
            line = image
            for p, n in zip(reversed(pixel), reversed(spec.size), strict=True):
                line = line * n + p
            result[row] = _part(images, line, 1, at[0], spec.channels)[0]
    return result.view(np.uint16)


def rounded_tf32(words: Any) -> Any:
    """Round float32, given and taken as words, to tf32: ten bits behind the point, to even ones."""
    special = words & 0x7F800000 == 0x7F800000
    near = (words + 0xFFF + (words >> 13 & 1)) & 0xFFFFE000
    return np.where(special, words, near).astype(np.uint32)


def _starts(spec: Images, at: Sequence[int]) -> list[list[int]]:
    """Return where the windows of a tile begin, and their images."""
    *place, image = (int(a) for a in at[1:])
    for p, a, n, b in zip(place, spec.first, spec.size, spec.last, strict=True):
        if not a <= p <= n - 1 + b:
            raise ValueError(f"a window from {place}: outside the box {spec.first} to {spec.last}")
    found = []
    for _ in range(spec.pixels):
        found.append([*place, image])
        for i, step in enumerate(spec.stride):
            place[i] += step
            if place[i] <= spec.size[i] - 1 + spec.last[i]:
                break
            place[i] = spec.first[i]
        else:
            image += 1
    return found


def _part(whole: Any, row: int, tall: int, column: int, wide: int) -> Any:
    """Cut a tile out of a matrix; what is outside is zero."""
    row, column = int(row), int(column)
    result = np.zeros((tall, wide), whole.dtype)
    rows = slice(max(row, 0), max(min(row + tall, whole.shape[0]), 0))
    columns = slice(max(column, 0), max(min(column + wide, whole.shape[1]), 0))
    part = whole[rows, columns]
    top, left = rows.start - row, columns.start - column
    result[top : top + part.shape[0], left : left + part.shape[1]] = part
    return result
