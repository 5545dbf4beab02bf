"""Functions that write their result into memory that is given: no array is made, nor copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Writing = Callable[..., None]


def writing(function: Any) -> Writing | None:
    """Return the form of a function that takes its output first, and writes it; None: it has none.

    A function of this package names its own as its attribute ``into``; where it has several
    outputs, those are one tuple.
    """
    own: Writing | None = getattr(function, "into", None)
    if own is not None:
        return own
    if (isinstance(function, np.ufunc) and function.nout == 1) or function in _TAKE_OUT:

        def into(out: Any, *arguments: Any, **options: Any) -> None:
            function(*arguments, out=out, **options)

        return into
    return None


_TAKE_OUT = (
    np.sum, np.prod, np.max, np.min, np.amax, np.amin, np.mean, np.cumsum, np.cumprod,
    np.concatenate, np.stack, np.argmax, np.argmin,
)  # fmt: skip
