"""What the functional modules share: batching a single image, flipping nothing, hiding nothing."""

from __future__ import annotations

from typing import Any

from fastconv.problem.conv import batched_shape


def batched(value: Any, n: int, name: str) -> tuple[Any, bool]:
    """Return an input with its batch dimension, and whether it came without one."""
    shape = batched_shape(tuple(value.shape), n, name)
    if len(shape) == len(value.shape):
        return value, False
    return value.reshape(shape), True


def with_batch(value: Any, single: bool) -> Any:
    """Return ``out`` or a residual the batch dimension that its unbatched input was given.

    Of an array it is a view, so that writing to it writes to the caller's.
    """
    # What is not an array stays as it is: `check_out` says so.
    return value[None] if single and hasattr(value, "shape") else value


def without_batch(value: Any, single: bool) -> Any:
    """Take the batch dimension away again from what an unbatched input gave."""
    if not single:
        return value
    if isinstance(value, tuple):
        return tuple(without_batch(item, True) for item in value)
    return value.reshape(value.shape[1:])
