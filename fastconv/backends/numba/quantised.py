"""Integers for numbers and back, in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.backends.manifest.elements import Quantised
from fastconv.backends.numba.elementary import inlined, pick
from fastconv.backends.numba.engine import array, kernel, part

Function = Callable[..., Any]
# Added to numbers of at most 2^22 in size, it leaves them rounded, halves to even.
_MAGIC = np.float32(12582912)


def _quantized(name: str) -> Function:
    limits, integer = np.iinfo(name), np.dtype(name).type
    least, most = np.int32(limits.min), np.int32(limits.max)

    def quantized(x, scale, zero):  # type: ignore[no-untyped-def]
        shift = np.int32(zero)
        low, high = np.float32(least - shift), np.float32(most - shift)
        number = x / scale
        number = pick(number > low, number, low)
        number = pick(number < high, number, high)
        number = (number + _MAGIC) - _MAGIC
        return integer(np.int32(number) + shift)

    return quantized


def _dequantized(x: Any, scale: Any, zero: Any) -> Any:
    return (np.float32(x) - np.float32(zero)) * scale


def _rows(function: Function, source: Any, target: Any, integers: Any) -> Function:
    """Make a kernel's body: rows whose elements share a scale, or have one each."""
    apply, none = inlined(function), integers(0)
    from_size, to_size = np.dtype(source).itemsize, np.dtype(target).itemsize
    zero_size = np.dtype(integers).itemsize

    @part
    def line(to, of, scale, zero, each, n):  # type: ignore[no-untyped-def]
        result, given = array(to, (n,), target), array(of, (n,), source)
        scales = array(scale, (n,), np.float32)
        # A missing one stands for zeros: the scales' memory is read in its place.
        zeros = array(scale if zero == 0 else zero, (n,), integers)
        if each and zero != 0:
            for i in range(n):
                result[i] = apply(given[i], scales[i], zeros[i])
        elif each:
            for i in range(n):
                result[i] = apply(given[i], scales[i], none)
        else:
            only, shift = scales[0], none if zero == 0 else zeros[0]
            for i in range(n):
                result[i] = apply(given[i], only, shift)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        length, chunk, chunks = args.row_length, args.row_chunk, args.row_chunks
        per_item, rows, each = args.rows_per_item, args.rows, args.each
        for item in range(first, last):
            block, number = divmod(item, chunks)
            start = number * chunk
            count = min(chunk, length - start)
            for row in range(block * per_item, min((block + 1) * per_item, rows)):
                group, place = divmod(row, args.period)
                scale = group * args.scale_rows + place // args.step
                if each:
                    scale = scale * length + start
                zero = args.zeros
                if zero != 0:
                    zero += scale * zero_size
                line(
                    args.target + (row * length + start) * to_size,
                    args.source + (row * length + start) * from_size,
                    args.scales + scale * 4,
                    zero,
                    each,
                    count,
                )

    return body


@kernel(Quantised)
def quantize(name: str):  # type: ignore[no-untyped-def]
    """Quantise: a work item is a chunk of a row, or some short rows."""
    integers = np.dtype(name).type
    return _rows(_quantized(name), np.float32, integers, integers)


@kernel(Quantised)
def dequantize(name: str):  # type: ignore[no-untyped-def]
    """Make numbers of integers."""
    integers = np.dtype(name).type
    return _rows(_dequantized, integers, np.float32, integers)
