"""Operations on regions of images: pooling them, and choosing among them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.dispatch import solve
from fastconv.network.indexing import told_beforehand
from fastconv.network.limits import allow
from fastconv.problem import NonMaxSuppressionProblem, RoiAlignProblem

Array = np.ndarray[Any, Any]


def roi_align(
    value: Any, regions: Any, images: Any, *, size: tuple[int, int], ratio: int, scale: float,
    half_pixel: bool, largest: bool,
) -> Any:  # fmt: skip
    """Pool regions by samples between cells. He et al., Mask R-CNN, 2017."""
    dtype = value.dtype if value.dtype.name in ("float32", "float64") else np.dtype(np.float32)

    def roi_align(source: Any, boxes: Any, places: Any) -> Any:
        count, rank, own = len(boxes), boxes.ndim, source.shape
        if source.ndim != 4 or rank != 2 or boxes.shape[1] != 4 or len(places) != count:
            raise ValueError(
                f"regions must be (regions, 4) with an image each, of images (N, C, H, W), but got "
                f"{list(boxes.shape)}, {list(places.shape)} and {list(own)}"
            )
        wanted = (count, own[1], *size)
        allow(wanted, source.dtype)
        if 0 in wanted or 0 in own:
            return np.zeros(wanted, source.dtype)
        if places.min() < 0 or places.max() >= own[0]:
            raise ValueError(
                f"regions of images {places.min()} to {places.max()}, but there are {own[0]}"
            )
        corners = boxes.astype(np.float64) * scale
        most = _most_samples(corners, size, ratio, half_pixel)
        problem = RoiAlignProblem(
            dtype, own, count, size, max(0, ratio), scale, half_pixel, largest, most
        )
        inputs = source.astype(dtype, copy=False), boxes.astype(dtype, copy=False)
        found = solve(problem, (*inputs, places.astype(np.int64, copy=False)))
        return found.astype(source.dtype, copy=False)

    spec = (*regions.shape[:1], value.shape[1], *size), value.dtype
    return told_beforehand(roi_align, [spec], value, regions, images)


def _most_samples(
    corners: Array, size: tuple[int, int], ratio: int, half_pixel: bool
) -> tuple[int, int]:
    """Return the samples along all bins of the largest region, a power of two of them or more."""
    found = []
    for axis, bins in ((1, size[0]), (0, size[1])):
        each = ratio
        if ratio <= 0:
            lengths = corners[:, axis + 2] - corners[:, axis]
            longest = max(float(np.nanmax(lengths, initial=1.0)), 0.0 if half_pixel else 1.0)
            cells = np.ceil(longest / bins)
            if not np.isfinite(cells):
                raise ValueError("regions must be finite")
            each = 1 << max(0, int(cells) - 1).bit_length()
        allow((bins, each, 4), np.float64, what="a region's samples")
        found.append(bins * each)
    return found[0], found[1]


def max_roi_pool(value: Any, regions: Any, *, size: tuple[int, int], scale: float) -> Any:
    """Take the largest cell of each bin of regions. Girshick, Fast R-CNN, 2015."""
    source, boxes = np.asarray(value), np.asarray(regions)
    channels, height, width = source.shape[1:]
    allow((len(boxes), channels, *size), source.dtype)
    result = np.zeros((len(boxes), channels, *size), source.dtype)
    for number, box in enumerate(boxes):
        corners = [int(np.floor(abs(c) + 0.5) * np.sign(c)) for c in box[1:] * scale]
        rows = _bins(corners[1], corners[3], size[0], height)
        columns = _bins(corners[0], corners[2], size[1], width)
        for i, (top, bottom) in enumerate(rows):
            for j, (left, right) in enumerate(columns):
                if bottom > top and right > left:
                    cells = source[int(box[0]), :, top:bottom, left:right]
                    result[number, :, i, j] = cells.max(axis=(1, 2))
    return result


def _bins(first: int, last: int, out: int, length: int) -> list[tuple[int, int]]:
    step = max(last - first + 1, 1) / out
    edges = [(int(np.floor(i * step)) + first, int(np.ceil((i + 1) * step)) + first)
             for i in range(out)]  # fmt: skip
    return [(min(max(a, 0), length), min(max(b, 0), length)) for a, b in edges]


def non_max_suppression(
    boxes: Any, scores: Any, most: Any = None, overlap: Any = None, least: Any = None, *,
    centers: bool,
) -> Any:  # fmt: skip
    """Choose boxes by score, each class by itself, leaving out those that overlap a chosen one.

    Neubeck, Van Gool, Efficient non-maximum suppression, 2006.
    """
    limit = 0 if most is None else int(np.asarray(most).reshape(-1)[0])
    threshold = 0.0 if overlap is None else float(np.asarray(overlap).reshape(-1)[0])
    floor = None if least is None else float(np.asarray(least).reshape(-1)[0])
    narrow = np.dtype(np.float32)
    first, second = (np.asarray(v).astype(narrow, copy=False) for v in (boxes, scores))
    problem = NonMaxSuppressionProblem.of(
        first, second, limit, overlap=threshold, least=floor, centers=centers
    )
    allow(problem.output_shape, np.int64)
    if 0 in problem.output_shape:
        return np.zeros((0, 3), np.int64)
    chosen, counts = solve(problem, (first, second))
    kept = np.arange(problem.most) < counts[..., None]
    image, kind, _ = np.nonzero(kept)
    return np.stack([image, kind, chosen[kept]], axis=1)


def columns_to_image(
    value: Any, image_shape: Any, block_shape: Any, *, dilation: Any, padding: Any, stride: Any
) -> Any:
    """Add blocks up where they are in an image: what undoes `unfold`."""
    size = tuple(int(n) for n in np.asarray(image_shape))
    block = tuple(int(n) for n in np.asarray(block_shape))
    n = len(size)
    pads = tuple(padding) or (0,) * (2 * n)
    gaps, steps = (tuple(v) * (n if len(v) == 1 else 1) for v in (dilation, stride))
    pairs = list(zip(pads[:n], pads[n:], strict=True))
    padded = tuple(length + sum(pair) for length, pair in zip(size, pairs, strict=True))
    crop = tuple(slice(a, a + length) for (a, _), length in zip(pairs, size, strict=True))
    lead = (slice(None), slice(None))
    batch, channels = value.shape[0], value.shape[1] // max(prod(block), 1)
    allow((batch, channels, *padded), value.dtype)
    if n == 2:
        return functional.fold(value, padded, block, gaps, 0, steps)[(*lead, *crop)]
    counts = tuple(
        (length - (k - 1) * d - 1) // s + 1
        for length, k, d, s in zip(padded, block, gaps, steps, strict=True)
    )
    columns = np.asarray(value).reshape(batch, channels, prod(block), *counts)
    total = np.zeros((batch, channels, *padded), value.dtype)
    for number, tap in enumerate(np.ndindex(*block)):
        key = tuple(
            slice(t * d, t * d + (c - 1) * s + 1, s)
            for t, d, c, s in zip(tap, gaps, counts, steps, strict=True)
        )
        total[(*lead, *key)] += columns[:, :, number]
    return total[(*lead, *crop)]


REGIONS: dict[str, Callable[..., Any]] = {
    "columns_to_image": columns_to_image,
    "max_roi_pool": max_roi_pool,
    "non_max_suppression": non_max_suppression,
    "roi_align": roi_align,
}
