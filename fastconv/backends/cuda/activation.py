"""Activations of one number, as kernels' epilogues and elementwise kernels do them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import float32 as f32

from fastconv.problem.activation import Activation

Scalar = Callable[[Any], Any]


def _relu(x: Any) -> Any:
    # A NaN stays one.
    return f32(0) if x < f32(0) else x


def scalar(activation: Activation | None) -> Scalar | None:
    """Give an activation as a function of one float32; None: there is none to do."""
    return None if activation is None else _relu
