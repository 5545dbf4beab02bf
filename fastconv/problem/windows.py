"""Sizes under a sliding window: padding in all its spellings, output sizes, receptive fields."""

from __future__ import annotations

import functools
from typing import Any

from fastconv.problem.base import Shape
from fastconv.problem.values import integer, integers, is_sequence, items_of, shown

Pairs = tuple[tuple[int, int], ...]
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def span(kernel: int, dilation: int) -> int:
    """Cells from a window's first to its last: d(k - 1) + 1."""
    return dilation * (kernel - 1) + 1


def pool_stride(stride: Any, kernel: Shape) -> Shape:
    """Return a pool's stride; None is the kernel's size, and so is an empty tuple, as in torch."""
    if stride is None or (isinstance(stride, (tuple, list)) and not stride):
        return kernel
    return integers(stride, len(kernel), "stride", least=1)


def busy_taps(
    size: int, outputs: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int
) -> tuple[int, int]:
    """Return the first tap that sees one of ``size`` cells, and the one after the last.

    Taps are left out at either end only as far as the padding there is left out with them.
    """
    before, after = padding

    def sees(tap: int) -> bool:
        start = tap * dilation - before
        low = max(0, -(start // stride))
        return low < outputs and low * stride + start < size

    if outputs == 0 or not (before or after) or (sees(0) and sees(kernel - 1)):
        return 0, kernel
    seen = [tap for tap in range(kernel) if sees(tap)]
    first, last = (seen[0], seen[-1] + 1) if seen else (kernel // 2, kernel // 2 + 1)
    return min(first, before // dilation), max(last, kernel - after // dilation)


def resolve_padding(
    padding: Any, input_size: Shape, kernel: Shape, stride: Shape, dilation: Shape
) -> Pairs:
    """Return padding as (before, after) pairs.

    Takes an int, a tuple of ints, "same" (ONNX SAME_UPPER), "valid", "causal" (1-D)
    or a sequence of (before, after) pairs.
    """
    n = len(kernel)
    if isinstance(padding, str):
        return _named_padding(padding, input_size, kernel, stride, dilation)
    if is_sequence(padding):
        padding = items_of(padding, "padding")
        if any(is_sequence(item) for item in padding):
            return _pairs(padding, n)
    return tuple((p, p) for p in integers(padding, n, "padding", least=0))


def _pairs(padding: list[Any], n: int) -> Pairs:
    if len(padding) != n or not all(is_sequence(item) for item in padding):
        raise ValueError(f"padding must hold {n} (before, after) pairs, but got {shown(padding)}")
    pairs = [
        tuple(integer(p, "padding", least=0) for p in items_of(item, "padding")) for item in padding
    ]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"padding must hold {n} (before, after) pairs, but got {shown(padding)}")
    return tuple((pair[0], pair[1]) for pair in pairs)


def _named_padding(
    padding: str, input_size: Shape, kernel: Shape, stride: Shape, dilation: Shape
) -> Pairs:
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "causal":
        if len(kernel) != 1:
            raise ValueError("padding='causal' is for one spatial dimension only")
        return ((span(kernel[0], dilation[0]) - 1, 0),)
    if padding != "same":
        raise ValueError(
            f"padding must be an int, a tuple, (before, after) pairs, 'same', 'valid' or "
            f"'causal', but got {shown(padding)}"
        )
    pairs = []
    for size, k, s, d in zip(input_size, kernel, stride, dilation, strict=True):
        total = max(0, (-(-size // s) - 1) * s + span(k, d) - size)
        pairs.append((total // 2, total - total // 2))
    return tuple(pairs)


@functools.lru_cache(maxsize=4096)
def output_size(
    input_size: Shape, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
) -> Shape:
    """Output size of a sliding window; torch's formula, floor."""
    return tuple(
        (size + sum(p) - span(k, d)) // s + 1
        for size, k, s, p, d in zip(input_size, kernel, stride, padding, dilation, strict=True)
    )


def check_fits(input_size: Shape, kernel: Shape, padding: Pairs, dilation: Shape) -> None:
    """Refuse a kernel larger than the padded input, in torch's words."""
    padded = tuple(size + sum(p) for size, p in zip(input_size, padding, strict=True))
    spans = tuple(span(k, d) for k, d in zip(kernel, dilation, strict=True))
    if any(s > p for s, p in zip(spans, padded, strict=True)):
        inner = " x ".join(map(str, padded))
        outer = " x ".join(map(str, spans))
        raise ValueError(
            f"Calculated padded input size per channel: ({inner}). Kernel size: ({outer}). "
            f"Kernel size can't be greater than actual input size; pad the input, or take a "
            f"smaller kernel or dilation"
        )


def check_padding_mode(mode: str, input_size: Shape, padding: Pairs) -> None:
    """Refuse padding that reflect or circular cannot fill from the input."""
    for size, pair in zip(input_size, padding, strict=True):
        if mode == "reflect" and max(pair) >= size:
            raise ValueError(
                f"Padding size should be less than the corresponding input dimension, "
                f"but got: padding {pair} at dimension of size {size} (padding_mode='reflect')"
            )
        if mode == "circular" and max(pair) > size:
            raise ValueError(
                f"Padding value causes wrapping around more than once: padding {pair} at "
                f"dimension of size {size} (padding_mode='circular')"
            )
