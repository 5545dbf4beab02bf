"""Arrays in another dtype: by kernels where NumPy's own conversion goes element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import settings
from fastconv.dispatch import solve
from fastconv.problem.cast import CASTS, CastProblem
from fastconv.problem.values import name_of

# NumPy casts fewer elements in less time than a call takes.
_FEWEST = 8192


def as_type(value: Any, dtype: Any) -> Any:
    """Return a value in another dtype."""
    wanted = np.dtype(dtype)
    if _has_kernel(value, wanted):
        return solve(CastProblem.of(value, wanted), (value,))
    return value.astype(wanted)


def as_type_into(out: Any, value: Any, dtype: Any) -> None:
    """Write it into an array of that dtype."""
    if _has_kernel(value, out.dtype) and out.flags.c_contiguous:
        solve(CastProblem.of(value, out.dtype), (value,), out=out)
    else:
        np.copyto(out, value, casting="unsafe")


as_type.into = as_type_into  # type: ignore[attr-defined]


def _has_kernel(value: Any, dtype: np.dtype[Any]) -> bool:
    return (
        type(value) is np.ndarray
        and value.size >= _FEWEST
        and (name_of(value.dtype), name_of(dtype)) in CASTS
        and value.dtype.isnative
        and value.flags.c_contiguous
        and settings.backend() in (None, "c")
    )
