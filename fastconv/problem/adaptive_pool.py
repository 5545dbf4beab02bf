"""Pooling to a given output size: adaptive pools, and global ones, whose windows see it all."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.problem.base import ArraySpec, Shape
from fastconv.problem.pool import AnyPool, Windows, check_norm_type, read_input
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.values import flag, integer, is_sequence, items_of, shown


@record(frozen=True, kw_only=True)
class AdaptivePoolProblem(AnyPool):
    """A pool whose windows share out the input evenly among the outputs.

    Along one dimension output ``o`` of ``m`` sees the cells from floor(o size / m) up to
    ceil((o + 1) size / m), as in torch.
    """

    pooled: Shape
    is_global: bool = False

    @classmethod
    @remembered
    def of(
        cls,
        kind: str,
        n: int,
        input: ArraySpec,
        output_size: Any,
        *,
        return_indices: Any = False,
        layout: str = "NCHW",
    ) -> AdaptivePoolProblem:
        """Validate the arguments of ``adaptive_{kind}_pool{n}d``; ``input`` is batched."""
        name = f"adaptive_{kind}_pool{n}d"
        dtype, batch, channels, size, last = read_input(name, kind, n, input, layout)
        return cls(
            dtype=dtype,
            kind=kind,
            batch=batch,
            channels=channels,
            input_size=size,
            channels_last=last,
            return_indices=flag(return_indices, "return_indices"),
            pooled=_read_output_size(output_size, size),
        )

    @classmethod
    @remembered
    def of_global(
        cls, kind: str, input: ArraySpec, *, p: Any = None, layout: str = "NCHW"
    ) -> AdaptivePoolProblem:
        """Validate the arguments of ``global_{kind}_pool``: a batch, any number of dimensions."""
        name = f"global_{kind}_pool"
        n = len(input.shape) - 2
        if n < 1:
            raise ValueError(
                f"Expected input of {name} to have a batch, channels and at least one spatial "
                f"dimension, but got input of size: {list(input.shape)}"
            )
        dtype, batch, channels, size, last = read_input(name, kind, n, input, layout)
        return cls(
            dtype=dtype,
            kind=kind,
            batch=batch,
            channels=channels,
            input_size=size,
            channels_last=last,
            norm_type=check_norm_type(p) if kind == "lp" else None,
            pooled=(1,) * n,
            is_global=True,
        )

    @property
    def name(self) -> str:
        if self.is_global:
            return f"global_{self.kind}_pool"
        return f"adaptive_{self.kind}_pool{self.n}d"

    @property
    def output_size(self) -> Shape:
        return self.pooled

    @property
    def window(self) -> tuple[Shape, Shape] | None:
        """Cells that one output sees and the step between outputs; None where they vary."""
        pairs = list(zip(self.input_size, self.pooled, strict=True))
        if any(size % length for size, length in pairs):
            return None
        spans = tuple(size // length for size, length in pairs)
        return spans, spans

    def windows(self) -> tuple[Windows, ...]:
        """Return the windows of each dimension."""
        return tuple(
            _share(size, length) for size, length in zip(self.input_size, self.pooled, strict=True)
        )


def _share(size: int, length: int) -> Windows:
    place = np.arange(length, dtype=np.int64)
    start = place * size // length
    stop = -(-(place + 1) * size // length)
    zero = np.zeros_like(start)
    return Windows(start, stop, 1, zero, zero, stop - start)


def _read_output_size(output_size: Any, size: Shape) -> Shape:
    n = len(size)
    items = items_of(output_size, "output_size") if is_sequence(output_size) else [output_size]
    if len(items) == 1:
        items *= n
    if len(items) != n:
        raise ValueError(f"output_size must be {n} ints or None, but got {shown(output_size)}")
    return tuple(
        length if item is None else integer(item, "output_size", least=1)
        for item, length in zip(items, size, strict=True)
    )
