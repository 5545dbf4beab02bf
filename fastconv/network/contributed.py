"""Operations that other engines' own operators need besides ONNX's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.network.indexing import gather, told_beforehand
from fastconv.network.normalising import layer_norm_from


def channels_first(value: Any) -> Any:
    """Move the last dimension behind the first."""
    rank = len(value.shape)
    return np.transpose(value, (0, rank - 1, *range(1, rank - 1)))


def channels_last(value: Any) -> Any:
    """Move the second dimension to the end."""
    rank = len(value.shape)
    return np.transpose(value, (0, *range(2, rank), 1))


def pad_channels(value: Any, *, multiple: int) -> Any:
    """Add channels of zeros up to a multiple."""
    rest = -value.shape[1] % multiple
    if not rest:
        return value
    return functional.pad(value, [0, 0] * (len(value.shape) - 2) + [0, rest])


def first_channels(value: Any, *, count: int) -> Any:
    """Keep the first channels."""
    return value[:, :count]


def scaled(value: Any, *, factor: float) -> Any:
    """Multiply by a number, in the value's own dtype."""
    return value * value.dtype.type(factor)


def turned(value: Any, *, matrix: bool, batch: bool) -> Any:
    """Transpose matrices, and before that move the first dimension behind the batch's others."""
    rank = len(value.shape)
    axes = list(range(rank))
    if batch and rank > 2:
        axes = [*axes[1:-1], axes[0], axes[-1]]
    if matrix and rank > 1:
        axes[-2:] = axes[:-3:-1]
    return value if axes == sorted(axes) else np.transpose(value, axes)


def inverse(value: Any) -> Any:
    """Invert matrices; those that have no inverse are a ValueError."""

    def invert(matrices: Any) -> Any:
        wide = matrices.astype(np.promote_types(matrices.dtype, np.float32), copy=False)
        try:
            return np.linalg.inv(wide).astype(matrices.dtype)
        except np.linalg.LinAlgError as error:
            raise ValueError(f"a matrix has no inverse: {error}") from None

    return told_beforehand(invert, [(value.shape, value.dtype)], value)


def embed_layer_norm(
    words: Any,
    segments: Any,
    word_table: Any,
    place_table: Any,
    segment_table: Any,
    weight: Any,
    bias: Any,
    mask: Any = None,
    places: Any = None,
    *,
    eps: float,
) -> tuple[Any, Any, Any]:
    """Add the embeddings of words, places and segments, and normalise them.

    Returns the normalised sum, how many cells of the mask are set in each row (0 without a mask),
    and the sum.
    """
    total = gather(word_table, words)
    if places is None:
        total = total + place_table[: words.shape[1]]
    else:
        total = total + gather(place_table, places)
    if segments is not None and segment_table is not None:
        total = total + gather(segment_table, segments)
    counted = (
        np.zeros(words.shape[:1], np.int32)
        if mask is None
        else np.sum(mask, axis=1).astype(np.int32)
    )
    return layer_norm_from(total, weight, bias, axis=-1, eps=eps), counted, total


CONTRIBUTED: dict[str, Callable[..., Any]] = {
    "channels_first": channels_first,
    "channels_last": channels_last,
    "embed_layer_norm": embed_layer_norm,
    "first_channels": first_channels,
    "inverse": inverse,
    "pad_channels": pad_channels,
    "scaled": scaled,
    "turned": turned,
}
