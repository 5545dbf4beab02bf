"""Regions of images pooled by samples between cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.reference.common import Reference, narrow
from fastconv.problem.choosing import RoiAlignProblem


def _bilinear(start: float, size: float, out: int, ratio: int, length: int) -> Any:
    """Return the two cells and weights of each sample along one dimension, and samples a bin."""
    samples = ratio if ratio > 0 else max(int(np.ceil(size / out)), 1)
    step = size / out
    x = start + (np.arange(out)[:, None] + (np.arange(samples) + 0.5) / samples) * step
    x = x.reshape(-1)
    valid = (x >= -1) & (x <= length)
    kept = np.clip(np.where(valid, x, 0), 0, length - 1)
    low = np.floor(kept).astype(np.int64)
    high = np.minimum(low + 1, length - 1)
    part = kept - low
    return low, high, np.where(valid, 1 - part, 0), np.where(valid, part, 0), samples


class RoiAlign(Reference):
    """A region after the other, in float64."""

    def compute(self, problem: RoiAlignProblem, parameters: Any, *inputs: Any) -> Array:
        source, boxes, places = inputs
        (channels, height, width), size = problem.image[1:], problem.size
        result = np.zeros(problem.output_shape)
        shift = 0.5 if problem.half_pixel else 0.0
        least = -np.inf if problem.half_pixel else 1.0
        for number, (box, place) in enumerate(zip(boxes, places, strict=True)):
            x1, y1, x2, y2 = box.astype(np.float64) * problem.scale - shift
            rows = _bilinear(y1, max(y2 - y1, least), size[0], problem.ratio, height)
            columns = _bilinear(x1, max(x2 - x1, least), size[1], problem.ratio, width)
            image = source[place].astype(np.float64)
            parts = [
                image[:, r][:, :, c] * (a[:, None] * b)
                for r, a in ((rows[0], rows[2]), (rows[1], rows[3]))
                for c, b in ((columns[0], columns[2]), (columns[1], columns[3]))
            ]
            bins = (channels, size[0], rows[4], size[1], columns[4])
            if problem.largest:
                best = np.maximum.reduce(parts).reshape(bins)
                result[number] = best.max(axis=(2, 4))
            else:
                result[number] = sum(parts).reshape(bins).mean(axis=(2, 4))
        return narrow(result, problem.dtype)
