"""Padding by index: one table a dimension says which input cell each padded cell shows."""

from __future__ import annotations

import numpy as np

from fastconv.backends.base import Array
from fastconv.problem.windows import Pairs


def pad_spatial(x: Array, pairs: Pairs, mode: str, value: float = 0.0) -> Array:
    """Pad the spatial axes of an NC... array; ``mode`` as in ``padding_mode``."""
    if not any(map(any, pairs)):
        return x
    kinds = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    width = ((0, 0), (0, 0), *pairs)
    if mode == "zeros":
        return np.pad(x, width, constant_values=value)
    return np.pad(x, width, mode=kinds[mode])  # type: ignore[call-overload,no-any-return]
