"""Operations on regions of images: pooling them, and choosing among them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.network.limits import allow

Array = np.ndarray[Any, Any]


def _bilinear(start: float, size: float, out: int, ratio: int, length: int) -> Any:
    """Give the two cells and weights of each sample along one dimension, and samples a bin."""
    samples = ratio if ratio > 0 else max(int(np.ceil(size / out)), 1)
    allow((out, samples), np.float64)
    step = size / out
    x = start + (np.arange(out)[:, None] + (np.arange(samples) + 0.5) / samples) * step
    x = x.reshape(-1)
    valid = (x >= -1) & (x <= length)
    kept = np.clip(x, 0, length - 1)
    low = np.floor(kept).astype(np.int64)
    high = np.minimum(low + 1, length - 1)
    part = kept - low
    return low, high, np.where(valid, 1 - part, 0), np.where(valid, part, 0), samples


def roi_align(
    value: Any, regions: Any, images: Any, *, size: tuple[int, int], ratio: int, scale: float,
    half_pixel: bool, largest: bool,
) -> Any:  # fmt: skip
    """Pool regions by samples between cells. He et al., Mask R-CNN, 2017."""
    source, boxes = np.asarray(value), np.asarray(regions)
    places = np.asarray(images)
    channels, height, width = source.shape[1:]
    allow((len(boxes), channels, *size), source.dtype)
    result = np.zeros((len(boxes), channels, *size), source.dtype)
    for number, (box, place) in enumerate(zip(boxes, places, strict=True)):
        x1, y1, x2, y2 = box.astype(np.float64) * scale - (0.5 if half_pixel else 0.0)
        least = -np.inf if half_pixel else 1.0
        rows = _bilinear(y1, max(y2 - y1, least), size[0], ratio, height)
        columns = _bilinear(x1, max(x2 - x1, least), size[1], ratio, width)
        image = source[place]
        allow((channels, len(rows[0]), len(columns[0])), np.float64, what="a region's samples")
        parts = [
            image[:, r][:, :, c] * (a[:, None] * b)
            for r, a in ((rows[0], rows[2]), (rows[1], rows[3]))
            for c, b in ((columns[0], columns[2]), (columns[1], columns[3]))
        ]
        bins = (channels, size[0], rows[4], size[1], columns[4])
        if largest:
            best = np.maximum.reduce(parts).reshape(bins)
            result[number] = best.max(axis=(2, 4))
        else:
            result[number] = sum(parts).reshape(bins).mean(axis=(2, 4))
    return result


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
    """Choose boxes by score, each class by itself, leaving out those that overlap a chosen one."""
    limit = 0 if most is None else int(np.asarray(most).reshape(-1)[0])
    threshold = 0.0 if overlap is None else float(np.asarray(overlap).reshape(-1)[0])
    floor = None if least is None else float(np.asarray(least).reshape(-1)[0])
    chosen: list[tuple[int, int, int]] = []
    for image, (corners, classes) in enumerate(
        zip(np.asarray(boxes), np.asarray(scores), strict=True)
    ):
        edges = _edges(corners.astype(np.float64), centers)
        for kind, column in enumerate(classes):
            kept = _greedy(edges, column, limit, threshold, floor)
            chosen += [(image, kind, box) for box in kept]
    return np.array(chosen, np.int64).reshape(-1, 3)


def _edges(boxes: Array, centers: bool) -> tuple[Array, Array]:
    """Give the low and the high corner of each box."""
    if centers:
        middle, half = boxes[:, :2], boxes[:, 2:] / 2
        return middle - half, middle + half
    first, second = boxes[:, :2], boxes[:, 2:]
    return np.minimum(first, second), np.maximum(first, second)


def _greedy(
    edges: tuple[Array, Array], scores: Array, limit: int, threshold: float, floor: float | None
) -> list[int]:
    low, high = edges
    area = np.prod(high - low, axis=1)
    left = np.argsort(-scores.astype(np.float64), kind="stable")
    if floor is not None:
        left = left[scores[left] > floor]
    kept: list[int] = []
    while len(left) and len(kept) < limit:
        best, left = left[0], left[1:]
        kept.append(int(best))
        shared = np.minimum(high[best], high[left]) - np.maximum(low[best], low[left])
        common = np.prod(np.maximum(shared, 0), axis=1)
        union = area[best] + area[left] - common
        left = left[common <= threshold * np.where(union > 0, union, np.inf)]
    return kept


def columns_to_image(
    value: Any, image_shape: Any, block_shape: Any, *, dilation: Any, padding: Any, stride: Any
) -> Any:
    """Add blocks up where they lie in an image: what undoes `unfold`."""
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
