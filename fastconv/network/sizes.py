"""Operations on sizes that are known only at run time, and what is done with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.problem import Shape


def size_of(value: Any, *, axis: int) -> Any:
    """Give one length of a value's shape as int64."""
    return np.array(value.shape[axis], np.int64)


def stack_sizes(*sizes: Any, template: Sequence[int | None]) -> Any:
    """Give numbers as an int64 array: those of the template, and ``sizes`` where it has None."""
    given = iter(sizes)
    return np.array([int(next(given)) if n is None else n for n in template], np.int64)


def require_sizes(*values: Any, conditions: Sequence[tuple[str, Callable[..., bool]]]) -> Any:
    """Give the first value, if the shapes of all satisfy the conditions.

    Raises
    ------
    ValueError
        That names the first condition which does not hold.
    """
    shapes: list[Shape] = [tuple(value.shape) for value in values]
    for text, holds in conditions:
        if not holds(*shapes):
            given = ", ".join(str(list(shape)) for shape in shapes)
            raise ValueError(
                f"sizes must satisfy {text}, but got inputs of shape {given}; convert the module "
                f"again with example inputs of such sizes"
            )
    return values[0]


def interpolate_to(value: Any, size: Any, **options: Any) -> Any:
    """Resize to a size that is known only at run time."""
    return functional.interpolate(value, size=tuple(int(n) for n in size), **options)


def pad_by(value: Any, pad: Any, **options: Any) -> Any:
    """Pad by numbers of cells that are known only at run time."""
    return functional.pad(value, [int(n) for n in pad], **options)


SIZES: dict[str, Callable[..., Any]] = {
    "size_of": size_of,
    "stack_sizes": stack_sizes,
    "require_sizes": require_sizes,
    "interpolate_to": interpolate_to,
    "pad_by": pad_by,
}
