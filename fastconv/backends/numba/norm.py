"""The kernels of normalisations: moments of chunks, their combination, a layer's affine step."""

from __future__ import annotations

import math

import numba
import numpy as np

from fastconv.backends.manifest.elements import (
    CombineMoments,
    PixelMoments,
    RowMoments,
    Standardise,
)
from fastconv.backends.numba.engine import array, kernel
from fastconv.backends.numba.softmax import total


@numba.njit(error_model="numpy", fastmath={"reassoc"})
def squares(x, mean):  # type: ignore[no-untyped-def]
    """Sum the squares of deviations in float64, as ``total`` sums."""
    result = 0.0
    for i in range(x.shape[0]):
        deviation = np.float64(x[i]) - mean
        result += deviation * deviation
    return result


@kernel(RowMoments)
def row_moments(name: str):  # type: ignore[no-untyped-def]
    """Mean and sum of squares about it of contiguous chunks of rows."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        rows, length, chunk = args.rows, args.row_length, args.row_chunk
        chunks, per_item = args.row_chunks, args.rows_per_item
        means = array(args.means, (rows * chunks,), np.float64)
        sums = array(args.sums, (rows * chunks,), np.float64)
        for item in range(first, last):
            block, part = divmod(item, chunks)
            count = min(chunk, length - part * chunk)
            for row in range(block * per_item, min((block + 1) * per_item, rows)):
                x = array(args.source + (row * length + part * chunk) * size, (count,), real)
                mean = total(x) / count
                means[row * chunks + part] = mean
                sums[row * chunks + part] = squares(x, mean)

    return body


@kernel(PixelMoments)
def pixel_moments(name: str):  # type: ignore[no-untyped-def]
    """Mean and sum of squares about it of each channel, over chunks of pixels."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        pixels, channels = args.pixels, args.channels
        chunk, chunks = args.chunk, args.chunks
        for item in range(first, last):
            image, part = divmod(item, chunks)
            count = min(chunk, pixels - part * chunk)
            start = args.source + (image * pixels + part * chunk) * channels * size
            means = array(args.means + item * channels * 8, (channels,), np.float64)
            sums = array(args.sums + item * channels * 8, (channels,), np.float64)
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


@kernel(CombineMoments)
def combine(name: str):  # type: ignore[no-untyped-def]
    """Put a group's parts together and give each of its channels a scale and a shift.

    A group has ``chunks`` x ``width`` parts: a work item is one group of one image.
    """
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        groups, chunks, width = args.groups, args.parts_down, args.parts_across
        chunk, length = args.part_length, args.group_length
        image_step, group_step = args.image_step, args.group_step
        chunk_step = args.part_step
        channels, eps = args.group_channels, args.epsilon
        weight = array(args.weights, (groups * channels,), real)
        bias = array(args.biases, (groups * channels,), real)
        for item in range(first, last):
            image, group = divmod(item, groups)
            seen, mean, squares_sum = 0.0, 0.0, 0.0
            for part in range(chunks):
                place = image * image_step + group * group_step + part * chunk_step
                means = array(args.means + place * size, (width,), real)
                sums = array(args.sums + place * size, (width,), real)
                count = real(min(chunk, length - part * chunk))
                for j in range(width):
                    step = means[j] - mean
                    share = count / (seen + count)
                    mean += step * share
                    squares_sum += sums[j] + step * (step * (seen * share))
                    seen += count
            deviation = math.sqrt(squares_sum / seen + eps)
            scale = array(args.scales + item * channels * size, (channels,), real)
            shift = array(args.shifts + item * channels * size, (channels,), real)
            for c in range(channels):
                scale[c] = weight[group * channels + c] / deviation
                shift[c] = bias[group * channels + c] - mean * scale[c]

    return body


@kernel(Standardise)
def standardise(name: str):  # type: ignore[no-untyped-def]
    """Scale and shift each row by its own numbers, then each place by the weight and bias."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        rows, length, chunk = args.rows, args.row_length, args.row_chunk
        chunks, per_item = args.row_chunks, args.rows_per_item
        scale = array(args.row_scales, (rows,), np.float64)
        shift = array(args.row_shifts, (rows,), np.float64)
        for item in range(first, last):
            block, part = divmod(item, chunks)
            count = min(chunk, length - part * chunk)
            weight = array(args.place_weights + part * chunk * 8, (count,), np.float64)
            bias = array(args.place_biases + part * chunk * 8, (count,), np.float64)
            for row in range(block * per_item, min((block + 1) * per_item, rows)):
                a, b = scale[row], shift[row]
                place = (row * length + part * chunk) * size
                source = array(args.source + place, (count,), real)
                target = array(args.target + place, (count,), real)
                for i in range(count):
                    target[i] = real((np.float64(source[i]) * a + b) * weight[i] + bias[i])

    return body
