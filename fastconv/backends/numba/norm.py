"""The kernels of normalisations: moments of chunks, their combination, a layer's affine step."""

from __future__ import annotations

import math

import numba
import numpy as np

from fastconv.backends.native import norm as w
from fastconv.backends.native.channelwise import (
    ROW_CHUNK,
    ROW_CHUNKS,
    ROW_LENGTH,
    ROWS,
    ROWS_PER_ITEM,
)
from fastconv.backends.numba.engine import array, as_float, kernel
from fastconv.backends.numba.softmax import total


@numba.njit(error_model="numpy", fastmath={"reassoc"})
def squares(x, mean):  # type: ignore[no-untyped-def]
    """Sum the squares of deviations in float64, as ``total`` sums."""
    result = 0.0
    for i in range(x.shape[0]):
        deviation = np.float64(x[i]) - mean
        result += deviation * deviation
    return result


@kernel
def row_moments(name: str):  # type: ignore[no-untyped-def]
    """Mean and sum of squares about it of contiguous chunks of rows."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        rows, length, chunk = args[ROWS], args[ROW_LENGTH], args[ROW_CHUNK]
        chunks, per_item = args[ROW_CHUNKS], args[ROWS_PER_ITEM]
        means = array(args[w.ROW_MEANS], (rows * chunks,), np.float64)
        sums = array(args[w.ROW_SUMS], (rows * chunks,), np.float64)
        for item in range(first, last):
            block, part = divmod(item, chunks)
            count = min(chunk, length - part * chunk)
            for row in range(block * per_item, min((block + 1) * per_item, rows)):
                x = array(args[w.SOURCE] + (row * length + part * chunk) * size, (count,), real)
                mean = total(x) / count
                means[row * chunks + part] = mean
                sums[row * chunks + part] = squares(x, mean)

    return body


@kernel
def pixel_moments(name: str):  # type: ignore[no-untyped-def]
    """Mean and sum of squares about it of each channel, over chunks of pixels."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        pixels, channels = args[w.PIXELS], args[w.CHANNELS]
        chunk, chunks = args[w.PIXEL_CHUNK], args[w.PIXEL_CHUNKS]
        for item in range(first, last):
            image, part = divmod(item, chunks)
            count = min(chunk, pixels - part * chunk)
            start = args[w.SOURCE] + (image * pixels + part * chunk) * channels * size
            means = array(args[w.PIXEL_MEANS] + item * channels * 8, (channels,), np.float64)
            sums = array(args[w.PIXEL_SUMS] + item * channels * 8, (channels,), np.float64)
            for c in range(channels):
                means[c] = 0.0
                sums[c] = 0.0
            for p in range(count):
                x = array(start + p * channels * size, (channels,), real)
                for c in range(channels):
                    means[c] += np.float64(x[c])
            for c in range(channels):
                means[c] /= count
            for p in range(count):
                x = array(start + p * channels * size, (channels,), real)
                for c in range(channels):
                    deviation = np.float64(x[c]) - means[c]
                    sums[c] += deviation * deviation

    return body


@kernel
def combine(name: str):  # type: ignore[no-untyped-def]
    """Put a group's parts together and give each of its channels a scale and a shift.

    A group has ``chunks`` x ``width`` parts: a work item is one group of one image.
    """
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        groups, chunks, width = args[w.GROUPS], args[w.PARTS_DOWN], args[w.PARTS_ACROSS]
        chunk, length = args[w.PART_LENGTH], args[w.GROUP_LENGTH]
        image_step, group_step = args[w.IMAGE_STEP], args[w.GROUP_STEP]
        chunk_step = args[w.PART_STEP]
        channels, eps = args[w.GROUP_CHANNELS], as_float(args[w.EPSILON])
        weight = array(args[w.WEIGHTS], (groups * channels,), real)
        bias = array(args[w.BIASES], (groups * channels,), real)
        for item in range(first, last):
            image, group = divmod(item, groups)
            seen, mean, squares_sum = 0.0, 0.0, 0.0
            for part in range(chunks):
                place = image * image_step + group * group_step + part * chunk_step
                means = array(args[w.MEANS] + place * size, (width,), real)
                sums = array(args[w.SUMS] + place * size, (width,), real)
                count = real(min(chunk, length - part * chunk))
                for j in range(width):
                    step = means[j] - mean
                    share = count / (seen + count)
                    mean += step * share
                    squares_sum += sums[j] + step * (step * (seen * share))
                    seen += count
            deviation = math.sqrt(squares_sum / seen + eps)
            scale = array(args[w.SCALES] + item * channels * size, (channels,), real)
            shift = array(args[w.SHIFTS] + item * channels * size, (channels,), real)
            for c in range(channels):
                scale[c] = weight[group * channels + c] / deviation
                shift[c] = bias[group * channels + c] - mean * scale[c]

    return body


@kernel
def standardise(name: str):  # type: ignore[no-untyped-def]
    """Scale and shift each row by its own numbers, then each place by the weight and bias."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        rows, length, chunk = args[ROWS], args[ROW_LENGTH], args[ROW_CHUNK]
        chunks, per_item = args[ROW_CHUNKS], args[ROWS_PER_ITEM]
        scale = array(args[w.ROW_SCALES], (rows,), np.float64)
        shift = array(args[w.ROW_SHIFTS], (rows,), np.float64)
        for item in range(first, last):
            block, part = divmod(item, chunks)
            count = min(chunk, length - part * chunk)
            weight = array(args[w.PLACE_WEIGHTS] + part * chunk * 8, (count,), np.float64)
            bias = array(args[w.PLACE_BIASES] + part * chunk * 8, (count,), np.float64)
            for row in range(block * per_item, min((block + 1) * per_item, rows)):
                a, b = scale[row], shift[row]
                place = (row * length + part * chunk) * size
                source = array(args[w.SOURCE] + place, (count,), real)
                target = array(args[w.TARGET] + place, (count,), real)
                for i in range(count):
                    target[i] = real((np.float64(source[i]) * a + b) * weight[i] + bias[i])

    return body
