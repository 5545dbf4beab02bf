"""Convolution and transposed convolution in one, two and three dimensions."""

from __future__ import annotations

import dataclasses
from math import prod
from typing import Any

import numpy as np

from fastconv.problem.activation import Activation
from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.values import (
    COMPLEX,
    FLOATS,
    INTEGERS,
    accumulator,
    channels_last,
    check_bias_dtype,
    check_dtype,
    check_same_dtype,
    integer,
    integers,
    join_shape,
    number,
    one_of,
    shown,
    split_shape,
)
from fastconv.problem.windows import (
    PADDING_MODES,
    Pairs,
    busy_taps,
    check_fits,
    check_padding_mode,
    output_size,
    resolve_padding,
    span,
)

DTYPES = FLOATS + INTEGERS + COMPLEX
DEFAULT_RTOL = 1e-4
# What products may be rounded to; their sums stay float32.
PRECISIONS = ("tf32", "3xtf32", "fp16", "bf16")


@record(frozen=True)
class ConvProblem(Problem):
    """Cross-correlation of a batch with a weight of shape (out, in / groups, *kernel).

    ``separable``: every filter is known to be an outer product of one line a dimension.
    ``precision``: what the factors of float32 products may be rounded to, at most; None: nothing.
    ``any_size``: the weights are packed for images of other sizes too, and so in a form that does
    not depend on the size.
    """

    batch: int
    in_channels: int
    out_channels: int
    groups: int
    input_size: Shape
    kernel_size: Shape
    stride: Shape
    padding: Pairs
    dilation: Shape
    padding_mode: str = "zeros"
    channels_last: bool = False
    bias: bool = False
    residual: bool = False
    activation: Activation | None = None
    rtol: float = DEFAULT_RTOL
    separable: bool = False
    precision: str | None = None
    any_size: bool = False

    @classmethod
    @remembered
    def of(
        cls,
        n: int,
        input: ArraySpec,
        weight: ArraySpec,
        bias: ArraySpec | None = None,
        *,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: Any = 1,
        padding_mode: str = "zeros",
        layout: str = "NCHW",
        activation: Any = None,
        residual: ArraySpec | None = None,
        rtol: Any = DEFAULT_RTOL,
        precision: Any = None,
    ) -> ConvProblem:
        """Validate the arguments of ``conv{n}d``; ``input`` is batched."""
        name = f"conv{n}d"
        dtype = _check_arrays(name, n, input, weight, bias)
        groups = integer(groups, "groups", least=1)
        last = channels_last(layout, n)
        batch, channels, size = split_shape(tuple(input.shape), last)
        out_channels, per_group, *kernel = weight.shape
        _check_groups(weight.shape, groups)
        if channels != per_group * groups:
            raise ValueError(
                f"Given groups={groups}, weight of size {list(weight.shape)}, expected "
                f"input{list(input.shape)} to have {per_group * groups} channels, but got "
                f"{channels} channels instead (layout {'channels last' if last else 'NC...'})"
            )
        _check_bias(weight, bias, out_channels)
        strides = _strides(stride, n)
        dilations = integers(dilation, n, "dilation", least=1)
        pairs = resolve_padding(padding, size, tuple(kernel), strides, dilations)
        one_of(padding_mode, PADDING_MODES, "padding_mode")
        check_padding_mode(padding_mode, size, pairs)
        _check_positive(size, "input")
        check_fits(size, tuple(kernel), pairs, dilations)
        problem = cls(
            dtype=dtype,
            batch=batch,
            in_channels=channels,
            out_channels=out_channels,
            groups=groups,
            input_size=size,
            kernel_size=tuple(kernel),
            stride=strides,
            padding=pairs,
            dilation=dilations,
            padding_mode=padding_mode,
            channels_last=last,
            bias=bias is not None,
            residual=residual is not None,
            activation=check_activation(activation, dtype),
            rtol=check_rtol(rtol),
            precision=check_precision(precision, dtype),
        )
        check_residual(problem, residual)
        return problem

    @property
    def n(self) -> int:
        """Number of spatial dimensions."""
        return len(self.kernel_size)

    @property
    def name(self) -> str:
        return f"conv{self.n}d"

    @property
    def input_shape(self) -> Shape:
        return join_shape(self.batch, self.in_channels, self.input_size, self.channels_last)

    @property
    def weight_shape(self) -> Shape:
        """(out, in / groups, *kernel)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    @property
    def output_size(self) -> Shape:
        """Spatial size of the output."""
        return output_size(
            self.input_size, self.kernel_size, self.stride, self.padding, self.dilation
        )

    @property
    def output_shape(self) -> Shape:
        return join_shape(self.batch, self.out_channels, self.output_size, self.channels_last)

    @property
    def output_dtype(self) -> np.dtype[Any]:
        return accumulator(self.dtype)

    @property
    def sum_length(self) -> int:
        """Products summed into one output element."""
        return self.in_channels // self.groups * prod(self.kernel_size)

    @property
    def macs(self) -> int:
        return self.batch * self.out_channels * prod(self.output_size) * self.sum_length

    @property
    def parameter_bytes(self) -> int:
        count = prod(self.weight_shape) + (self.out_channels if self.bias else 0)
        return count * self.dtype.itemsize

    @property
    def window(self) -> tuple[Shape, Shape]:
        """Input cells that one output sees, and the step between outputs, a dimension."""
        spans = tuple(span(k, d) for k, d in zip(self.kernel_size, self.dilation, strict=True))
        return spans, self.stride

    def without_idle(self) -> ConvProblem:
        """Return the problem without the outermost taps that see padding alone."""
        taps = self.busy_part
        if taps is None:
            return self
        padding = tuple(
            (before - first * d, after - (k - last) * d)
            for (first, last), (before, after), k, d in zip(
                taps, self.padding, self.kernel_size, self.dilation, strict=True
            )
        )
        kernel = tuple(last - first for first, last in taps)
        return dataclasses.replace(self, kernel_size=kernel, padding=padding)

    @property
    def busy_part(self) -> Any:
        taps = self._busy_taps()
        return None if taps == tuple((0, k) for k in self.kernel_size) else taps

    def busy(self, parameters: tuple[Any, ...]) -> tuple[Any, ...]:
        weight, *rest = parameters
        slices = tuple(slice(*taps) for taps in self._busy_taps())
        return (weight[(..., *slices)], *rest)

    def _busy_taps(self) -> tuple[tuple[int, int], ...]:
        """Return for each dimension the first tap that sees a cell, and the one after the last."""
        if self.padding_mode != "zeros":
            return tuple((0, k) for k in self.kernel_size)
        columns = zip(
            self.input_size, self.output_size, self.kernel_size, self.stride, self.padding,
            self.dilation, strict=True,
        )  # fmt: skip
        return tuple([busy_taps(*column) for column in columns])


@record(frozen=True)
class ConvTransposeProblem(Problem):
    """The transpose (gradient) of a cross-correlation; weight (in, out / groups, *kernel)."""

    batch: int
    in_channels: int
    out_channels: int
    groups: int
    input_size: Shape
    kernel_size: Shape
    stride: Shape
    padding: Pairs
    output_padding: Shape
    dilation: Shape
    channels_last: bool = False
    bias: bool = False
    residual: bool = False
    activation: Activation | None = None
    rtol: float = DEFAULT_RTOL
    precision: str | None = None

    @classmethod
    @remembered
    def of(
        cls,
        n: int,
        input: ArraySpec,
        weight: ArraySpec,
        bias: ArraySpec | None = None,
        *,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: Any = 1,
        dilation: Any = 1,
        layout: str = "NCHW",
        activation: Any = None,
        residual: ArraySpec | None = None,
        rtol: Any = DEFAULT_RTOL,
        precision: Any = None,
    ) -> ConvTransposeProblem:
        """Validate the arguments of ``conv_transpose{n}d``; ``input`` is batched."""
        dtype = _check_arrays(f"conv_transpose{n}d", n, input, weight, bias)
        groups = integer(groups, "groups", least=1)
        last = channels_last(layout, n)
        batch, channels, size = split_shape(tuple(input.shape), last)
        in_channels, per_group, *kernel = weight.shape
        _check_groups(weight.shape, groups)
        if channels != in_channels:
            raise ValueError(
                f"Given transposed=1, weight of size {list(weight.shape)}, expected "
                f"input{list(input.shape)} to have {in_channels} channels, but got {channels} "
                f"channels instead"
            )
        _check_bias(weight, bias, per_group * groups)
        if isinstance(padding, str) and padding != "valid":
            raise ValueError(
                f"padding of a transposed convolution must be an int, a tuple, (before, after) "
                f"pairs or 'valid', but got {shown(padding)}"
            )
        strides = _strides(stride, n)
        dilations = integers(dilation, n, "dilation", least=1)
        extra = integers(output_padding, n, "output_padding", least=0)
        for e, s, d in zip(extra, strides, dilations, strict=True):
            if e >= s and e >= d:
                raise ValueError(
                    f"output padding must be smaller than either stride or dilation, but got "
                    f"output_padding {extra}, stride {strides}, dilation {dilations}"
                )
        _check_positive(size, "input")
        problem = cls(
            dtype=dtype,
            batch=batch,
            in_channels=channels,
            out_channels=per_group * groups,
            groups=groups,
            input_size=size,
            kernel_size=tuple(kernel),
            stride=strides,
            padding=resolve_padding(padding, size, tuple(kernel), strides, dilations),
            output_padding=extra,
            dilation=dilations,
            channels_last=last,
            bias=bias is not None,
            residual=residual is not None,
            activation=check_activation(activation, dtype),
            rtol=check_rtol(rtol),
            precision=check_precision(precision, dtype),
        )
        if any(length < 1 for length in problem.output_size):
            raise ValueError(
                f"Given input size per channel: {size}. Calculated output size per channel: "
                f"{problem.output_size}. Output size is too small; take less padding"
            )
        check_residual(problem, residual)
        return problem

    @property
    def n(self) -> int:
        """Number of spatial dimensions."""
        return len(self.kernel_size)

    @property
    def name(self) -> str:
        return f"conv_transpose{self.n}d"

    @property
    def input_shape(self) -> Shape:
        return join_shape(self.batch, self.in_channels, self.input_size, self.channels_last)

    @property
    def weight_shape(self) -> Shape:
        """(in, out / groups, *kernel)."""
        return (self.in_channels, self.out_channels // self.groups, *self.kernel_size)

    @property
    def output_size(self) -> Shape:
        """Spatial size of the output."""
        columns = zip(
            self.input_size,
            self.kernel_size,
            self.stride,
            self.padding,
            self.output_padding,
            self.dilation,
            strict=True,
        )
        return tuple((size - 1) * s - sum(p) + span(k, d) + e for size, k, s, p, e, d in columns)

    @property
    def output_shape(self) -> Shape:
        return join_shape(self.batch, self.out_channels, self.output_size, self.channels_last)

    @property
    def output_dtype(self) -> np.dtype[Any]:
        return accumulator(self.dtype)

    @property
    def sum_length(self) -> int:
        """Products summed into one output element, at most."""
        taps = prod(-(-k // s) for k, s in zip(self.kernel_size, self.stride, strict=True))
        return self.in_channels // self.groups * min(taps, prod(self.kernel_size))

    @property
    def macs(self) -> int:
        return self.batch * prod(self.input_size) * prod(self.weight_shape)

    @property
    def parameter_bytes(self) -> int:
        count = prod(self.weight_shape) + (self.out_channels if self.bias else 0)
        return count * self.dtype.itemsize


def batched_shape(shape: Shape, n: int, name: str) -> Shape:
    """Return the shape with its batch dimension, adding one to an unbatched input's."""
    if len(shape) == n + 1:
        return (1, *shape)
    if len(shape) == n + 2:
        return shape
    raise ValueError(
        f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of "
        f"size: {list(shape)}"
    )


def check_activation(activation: Any, dtype: np.dtype[Any]) -> Activation | None:
    """Read an epilogue's activation; integers take relu and relu6 alone, complex none."""
    read = Activation.of(activation)
    if read is not None and (
        dtype.name in COMPLEX or (dtype.name in INTEGERS and read.name not in ("relu", "relu6"))
    ):
        raise TypeError(
            f"activation {read} is not for {dtype.name}; accepted are {', '.join(FLOATS)}"
        )
    return read


def check_rtol(rtol: Any) -> float:
    """Read ``rtol``; zero means the most exact algorithm there is."""
    value = number(rtol, "rtol")
    if value < 0:
        raise ValueError(f"rtol must not be negative, but got {value}")
    return value


def check_precision(precision: Any, dtype: np.dtype[Any]) -> str | None:
    """Read ``precision``: asked for by float32 arrays alone, since others are what they are."""
    if precision is None:
        return None
    found = one_of(precision, PRECISIONS, "precision")
    if dtype.name != "float32":
        raise TypeError(f"precision {found} is not for {dtype.name}; accepted is float32")
    return found


def check_residual(problem: ConvProblem | ConvTransposeProblem, residual: ArraySpec | None) -> None:
    """Refuse a residual whose shape or dtype is not the output's."""
    if residual is None:
        return
    if tuple(residual.shape) != problem.output_shape:
        raise ValueError(
            f"residual must have the output's shape {list(problem.output_shape)}, but got "
            f"{list(residual.shape)}"
        )
    if np.dtype(residual.dtype) != problem.output_dtype:
        raise TypeError(
            f"residual must have the output's dtype {problem.output_dtype.name}, but got "
            f"{np.dtype(residual.dtype).name}"
        )


def _check_arrays(
    name: str, n: int, input: ArraySpec, weight: ArraySpec, bias: ArraySpec | None
) -> np.dtype[Any]:
    batched_shape(tuple(input.shape), n, name)
    if len(weight.shape) != n + 2:
        raise ValueError(
            f"Expected {n + 2}-dimensional weight for {name} (see its docstring for the order of "
            f"the axes), but got weight of size {list(weight.shape)}"
        )
    if 0 in weight.shape:
        raise ValueError(f"weight of {name} must not be empty, but got size {list(weight.shape)}")
    dtype = check_dtype(input, DTYPES, f"input of {name}")
    check_dtype(weight, DTYPES, f"weight of {name}")
    check_same_dtype(input, weight, ("input", "weight"))
    if dtype.name in INTEGERS and bias is not None:
        check_bias_dtype(bias, dtype)
    else:
        check_same_dtype(input, bias, ("input", "bias"))
    return dtype


def _check_groups(weight_shape: Shape, groups: int) -> None:
    if weight_shape[0] < groups or weight_shape[0] % groups:
        raise ValueError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
            f"but got weight of size {list(weight_shape)} instead"
        )


def _check_bias(weight: ArraySpec, bias: ArraySpec | None, channels: int) -> None:
    if bias is not None and tuple(bias.shape) != (channels,):
        raise ValueError(
            f"Given weight of size {list(weight.shape)}, expected bias to be 1-dimensional with "
            f"{channels} elements, but got bias of size {list(bias.shape)} instead"
        )


def _strides(stride: Any, n: int) -> Shape:
    strides = integers(stride, n, "stride")
    if any(s < 1 for s in strides):
        raise ValueError(f"non-positive stride is not supported, but got stride {strides}")
    return strides


def _check_positive(size: Shape, name: str) -> None:
    if any(length < 1 for length in size):
        raise ValueError(f"{name} must have a spatial size of at least 1, but got {list(size)}")
