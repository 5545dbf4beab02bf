"""The kernels of local response normalisation: a window summed again for each channel."""

from __future__ import annotations

import math

import numpy as np

from fastconv.backends.manifest.elements import Response
from fastconv.backends.numba.elementary import Function, inlined
from fastconv.backends.numba.engine import array, kernel

PIXELS = Response.PIXELS


def _make_power(root: bool) -> Function:
    """Make x to the power of beta; three quarters, which all known networks take, from roots."""
    if root:
        return inlined(lambda x, beta: math.sqrt(x) * math.sqrt(math.sqrt(x)))
    return inlined(lambda x, beta: math.pow(x, beta))


@kernel(Response)
def response_planes(name: str, root: bool):  # type: ignore[no-untyped-def]
    """Channels before pixels: a work item is a block of an image's pixels, in all channels."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize
    power = _make_power(root)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        channels, pixels = args.channels, args.pixels
        before, after = args.before, args.after
        factor, beta = args.factor, args.beta
        k = args.term
        scratch = args.scratch_base + worker * args.scratch_stride
        blocks = (pixels + PIXELS - 1) // PIXELS
        for item in range(first, last):
            image, block = divmod(item, blocks)
            count = min(PIXELS, pixels - block * PIXELS)
            start = (image * channels * pixels + block * PIXELS) * size
            sums = array(scratch, (count,), np.float64)
            for c in range(channels):
                for i in range(count):
                    sums[i] = 0.0
                for j in range(max(0, c - before), min(channels, c + after + 1)):
                    x = array(args.source + start + j * pixels * size, (count,), real)
                    for i in range(count):
                        sums[i] += np.float64(x[i]) * np.float64(x[i])
                source = array(args.source + start + c * pixels * size, (count,), real)
                target = array(args.target + start + c * pixels * size, (count,), real)
                for i in range(count):
                    target[i] = real(np.float64(source[i]) / power(k + factor * sums[i], beta))

    return body


@kernel(Response)
def response_pixels(name: str, root: bool):  # type: ignore[no-untyped-def]
    """Channels last: a work item is some pixels."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize
    power = _make_power(root)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        channels, pixels = args.channels, args.pixels
        before, after = args.before, args.after
        factor, beta = args.factor, args.beta
        k = args.term
        per_item = max(1, PIXELS // channels)
        scratch = args.scratch_base + worker * args.scratch_stride
        sums = array(scratch, (channels,), np.float64)
        for pixel in range(first * per_item, min(last * per_item, pixels)):
            source = array(args.source + pixel * channels * size, (channels,), real)
            target = array(args.target + pixel * channels * size, (channels,), real)
            for c in range(channels):
                sums[c] = 0.0
            for shift in range(max(-before, 1 - channels), min(after, channels - 1) + 1):
                place, count = max(0, shift), channels - abs(shift)
                x = array(args.source + (pixel * channels + place) * size, (count,), real)
                own = sums[max(0, -shift) :]
                for i in range(count):
                    own[i] += np.float64(x[i]) * np.float64(x[i])
            for c in range(channels):
                target[c] = real(np.float64(source[c]) / power(k + factor * sums[c], beta))

    return body
