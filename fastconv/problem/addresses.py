"""What no process can address: said before anything is planned for it."""

from __future__ import annotations

from math import prod
from typing import Any

from fastconv.problem.base import Problem

# Bytes of an array: what a process's addresses reach on today's machines.
MOST_BYTES = 2**47
# Bytes from a window's first place to its last, all dimensions together: they travel as int64.
MOST_REACH = 2**60


def check_addresses(problem: Problem) -> None:
    """Refuse a problem whose output, or whose windows' places, no address can name."""
    size = prod(problem.output_shape) * problem.output_dtype.itemsize
    if size > MOST_BYTES:
        raise ValueError(
            f"the output of {problem.name} would have shape {list(problem.output_shape)}: "
            f"{size:,} bytes are more than a process can address"
        )
    reach = _reach(problem)
    if reach is not None and prod(reach) * prod(problem.input_shape[:2]) * 16 > MOST_REACH:
        raise ValueError(
            f"the windows of {problem.name} would reach over {' x '.join(map(str, reach))} cells, "
            f"which is more than can be addressed; take a smaller stride, padding, dilation or "
            f"kernel_size"
        )


def _reach(problem: Any) -> tuple[int, ...] | None:
    """Return the cells a dimension from the padded input's start to one stride after its end."""
    if not hasattr(problem, "stride"):
        return None
    size = problem.image_size if hasattr(problem, "image_size") else problem.input_size
    columns = zip(
        size, problem.kernel_size, problem.stride, problem.padding, problem.dilation, strict=True
    )
    return tuple(n + d * k + s + max(0, *p) * 2 for n, k, s, p, d in columns)
