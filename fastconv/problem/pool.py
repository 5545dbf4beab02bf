"""Pooling under a sliding window: max, average, Lp and weighted average, 1-D to 3-D."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.conv import batched_shape
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.values import (
    FLOATS,
    INTEGERS,
    channels_last,
    check_dtype,
    flag,
    integer,
    integers,
    is_sequence,
    items_of,
    join_shape,
    number,
    one_of,
    split_shape,
)
from fastconv.problem.windows import Pairs, pool_stride, resolve_padding, span

WEIGHTS = ("gaussian", "inverse_distance")
GIVEN = "given"  # The weights of a weighted pool are an array: the problem's one parameter.

Integers = np.ndarray[Any, np.dtype[np.int64]]


@record(frozen=True)
class Windows:
    """What the windows of one dimension see; one entry an output.

    Output ``o`` sees the cells ``start[o], start[o] + step, ...`` below ``stop[o]``, all inside
    the image; the first of them is under tap ``first_tap[o]`` of the kernel. A mean is taken
    over the taps from ``counted_from[o]`` up to ``counted_to[o]``.
    """

    start: Integers
    stop: Integers
    step: int
    first_tap: Integers
    counted_from: Integers
    counted_to: Integers

    @property
    def counted(self) -> Integers:
        """Cells that a mean is taken over."""
        return self.counted_to - self.counted_from


@record(frozen=True, kw_only=True)
class AnyPool(Problem):
    """What pools of every shape of window have in common."""

    kind: str
    batch: int
    channels: int
    input_size: Shape
    channels_last: bool = False
    return_indices: bool = False
    norm_type: float | None = None

    @property
    def n(self) -> int:
        """Number of spatial dimensions."""
        return len(self.input_size)

    @property
    def input_shape(self) -> Shape:
        return join_shape(self.batch, self.channels, self.input_size, self.channels_last)

    @property
    def output_size(self) -> Shape:
        """Spatial size of the output."""
        raise NotImplementedError

    @property
    def output_shape(self) -> Shape:
        return join_shape(self.batch, self.channels, self.output_size, self.channels_last)

    @property
    def output_shapes(self) -> list[tuple[Shape, np.dtype[Any]]] | None:
        """Shape and dtype of each output where there are several, else None."""
        if not self.return_indices:
            return None
        return [(self.output_shape, self.dtype), (self.output_shape, np.dtype(np.int64))]

    @property
    def bytes(self) -> int:
        indices = int(np.prod(self.output_shape)) * 8 if self.return_indices else 0
        return super().bytes + indices

    def windows(self) -> tuple[Windows, ...]:
        """Return the windows of each dimension."""
        raise NotImplementedError


@record(frozen=True, kw_only=True)
class PoolProblem(AnyPool):
    """A pool whose windows all have one shape and are one stride apart."""

    kernel_size: Shape
    stride: Shape
    padding: Pairs
    dilation: Shape
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None
    weights: str | None = None

    @classmethod
    @remembered
    def of(
        cls,
        kind: str,
        n: int,
        input: ArraySpec,
        kernel_size: Any,
        *,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: Any = False,
        return_indices: Any = False,
        count_include_pad: Any = True,
        divisor_override: Any = None,
        norm_type: Any = None,
        weights: str | ArraySpec | None = None,
        layout: str = "NCHW",
    ) -> PoolProblem:
        """Validate the arguments of ``{kind}_pool{n}d``; ``input`` is batched."""
        name = f"{kind}_pool{n}d"
        dtype, batch, channels, size, last = read_input(name, kind, n, input, layout)
        kernel = integers(kernel_size, n, "kernel_size", least=1)
        strides = pool_stride(stride, kernel)
        dilations = integers(dilation, n, "dilation", least=1)
        problem = cls(
            dtype=dtype,
            kind=kind,
            batch=batch,
            channels=channels,
            input_size=size,
            channels_last=last,
            return_indices=flag(return_indices, "return_indices"),
            norm_type=check_norm_type(norm_type) if kind == "lp" else None,
            kernel_size=kernel,
            stride=strides,
            padding=read_padding(padding, size, kernel, strides, dilations),
            dilation=dilations,
            ceil_mode=flag(ceil_mode, "ceil_mode"),
            count_include_pad=flag(count_include_pad, "count_include_pad"),
            divisor_override=_read_divisor(divisor_override),
            weights=_read_weights(weights, kernel) if kind == "weighted" else None,
        )
        _check_output(problem)
        return problem

    @property
    def name(self) -> str:
        return f"{self.kind}_pool{self.n}d"

    @property
    def output_size(self) -> Shape:
        columns = zip(
            self.input_size, self.kernel_size, self.stride, self.padding, self.dilation, strict=True
        )
        return tuple(pooled_size(*column, ceil_mode=self.ceil_mode) for column in columns)

    @property
    def window(self) -> tuple[Shape, Shape]:
        """Input cells that one output sees, and the step between outputs, a dimension."""
        spans = tuple(span(k, d) for k, d in zip(self.kernel_size, self.dilation, strict=True))
        return spans, self.stride

    def windows(self) -> tuple[Windows, ...]:
        """Return the windows of each dimension, clipped to the image."""
        return tuple(self._windows(dimension) for dimension in range(self.n))

    def _windows(self, i: int) -> Windows:
        size, kernel, step = self.input_size[i], self.kernel_size[i], self.dilation[i]
        before, after = self.padding[i]
        first = np.arange(self.output_size[i], dtype=np.int64) * self.stride[i] - before
        low = np.maximum(0, -(first // step))
        high = np.maximum(low, np.minimum(kernel, -((first - size) // step)))
        whole = np.minimum(kernel, -((first - size - after) // step))
        inclusive = self.count_include_pad
        return Windows(
            start=first + low * step,
            stop=np.where(high > low, first + (high - 1) * step + 1, first + low * step),
            step=step,
            first_tap=low,
            counted_from=np.zeros_like(low) if inclusive else low,
            counted_to=whole if inclusive else high,
        )


def pooled_size(
    size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int, *, ceil_mode: bool
) -> int:
    """Windows along one dimension; torch's formula: none starts in the right padding."""
    room = size + sum(padding) - span(kernel, dilation)
    if not ceil_mode:
        return room // stride + 1
    length = -(-room // stride) + 1
    return length - 1 if (length - 1) * stride >= size + padding[0] else length


def window_weights(name: str, kernel_size: Shape) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the weights of a named weighting for a kernel; not normalised.

    "gaussian": exp(-sum of u^2 / 2), u a cell's distance from the window's centre in units of
    sigma = kernel / 6 a dimension. "inverse_distance": 1 / (1 + distance from the centre).
    """
    grid = np.indices(kernel_size, dtype=np.float64)
    column = (-1, *(1,) * len(kernel_size))
    kernel = np.array(kernel_size, dtype=np.float64).reshape(column)
    offset = grid - (kernel - 1) / 2
    if name == "gaussian":
        weights = np.exp(-np.square(offset / (kernel / 6)).sum(axis=0) / 2)
    else:
        weights = 1 / (1 + np.sqrt(np.square(offset).sum(axis=0)))
    return np.asarray(weights, dtype=np.float64)


def read_input(
    name: str, kind: str, n: int, input: ArraySpec, layout: str
) -> tuple[np.dtype[Any], int, int, Shape, bool]:
    """Validate a pool's input: give dtype, batch, channels, spatial size, and channels last."""
    shape = batched_shape(tuple(input.shape), n, name)
    accepted = FLOATS + INTEGERS if kind == "max" else FLOATS
    dtype = check_dtype(input, accepted, f"input of {name}")
    last = channels_last(layout, min(n, 3))
    if 0 in shape[1:]:
        raise ValueError(
            f"Expected {n + 2}D (batch mode) input with optional 0 dim batch size to {name}, but "
            f"got: {list(shape)}; every other dimension must be at least 1"
        )
    return (dtype, *split_shape(shape, last), last)


def read_padding(padding: Any, size: Shape, kernel: Shape, stride: Shape, dilation: Shape) -> Pairs:
    """Return padding as pairs; no window may be in the padding alone.

    An int or a tuple may be half of the kernel, as in torch; (before, after) pairs and names
    need only be smaller than the kernel.
    """
    # It is looked at twice.
    padding = items_of(padding, "padding") if is_sequence(padding) else padding
    pairs = resolve_padding(padding, size, kernel, stride, dilation)
    spans = tuple(span(k, d) for k, d in zip(kernel, dilation, strict=True))
    if _is_symmetric(padding):
        if any(pair[0] > s // 2 for pair, s in zip(pairs, spans, strict=True)):
            raise ValueError(
                f"pad should be at most half of effective kernel size, but got pad={padding}, "
                f"kernel_size={kernel} and dilation={dilation}; (before, after) pairs may be larger"
            )
    elif any(max(pair) >= s for pair, s in zip(pairs, spans, strict=True)):
        raise ValueError(
            f"pad should be smaller than the effective kernel size, but got pad={padding}, "
            f"kernel_size={kernel} and dilation={dilation}"
        )
    return pairs


def _is_symmetric(padding: Any) -> bool:
    if isinstance(padding, str):
        return False
    return not (is_sequence(padding) and any(is_sequence(item) for item in padding))


def check_norm_type(norm_type: Any) -> float:
    """Read the p of an Lp pool: positive, infinity allowed."""
    p = number(norm_type, "norm_type")
    if p <= 0:
        raise ValueError(f"norm_type should be greater than zero, but got {norm_type}")
    return p


def _read_divisor(divisor: Any) -> int | None:
    if divisor is None:
        return None
    divisor = integer(divisor, "divisor_override")
    if divisor == 0:
        raise ValueError("divisor must be not zero, but got divisor_override=0; None counts cells")
    return int(divisor)


def _read_weights(weights: Any, kernel: Shape) -> str:
    if isinstance(weights, str):
        return one_of(weights, WEIGHTS, "weights")
    if tuple(weights.shape) != kernel:
        raise ValueError(
            f"weights must be one of {', '.join(WEIGHTS)} or an array of the kernel's shape "
            f"{list(kernel)}, but got an array of shape {list(weights.shape)}"
        )
    if np.dtype(weights.dtype).kind == "c":
        raise TypeError(f"weights must be real, but got {np.dtype(weights.dtype).name}")
    return GIVEN


def _check_output(problem: PoolProblem) -> None:
    if any(length < 1 for length in problem.output_size):
        before, after = (
            "x".join(map(str, (problem.channels, *size)))
            for size in (problem.input_size, problem.output_size)
        )
        raise ValueError(
            f"Given input size: ({before}). Calculated output size: ({after}). Output size is too "
            f"small; pad the input, or take a smaller kernel"
        )
