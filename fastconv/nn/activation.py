"""Elementwise layers, and softmax."""

from __future__ import annotations

from typing import Any, ClassVar

from fastconv import functional as F
from fastconv.arrays import as_array
from fastconv.nn.initial import constant
from fastconv.nn.module import Module
from fastconv.problem.values import flag, integer, number, one_of


class _Activation(Module):
    """A function of `fastconv.functional` with some attributes of the layer as its arguments."""

    _function: ClassVar[str]
    _arguments: ClassVar[tuple[str, ...]] = ()

    def forward(self, input: Any) -> Any:
        """Apply the function to every element."""
        arguments = {name: getattr(self, name) for name in self._arguments}
        return getattr(F, self._function)(input, **arguments)

    def extra_repr(self) -> str:
        """Show the arguments."""
        parts = [f"{name}={getattr(self, name)}" for name in self._arguments]
        return ", ".join(parts + (["inplace=True"] if getattr(self, "inplace", False) else []))


class _Plain(_Activation):
    """A function without arguments; ``inplace`` is accepted, and inputs are left as they are."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = flag(inplace, "inplace")


class ReLU(_Plain):
    """The larger of 0 and x; see `fastconv.functional.relu`. Inputs are never written to."""

    _function = "relu"


class ReLU6(_Plain):
    """Between 0 and 6; see `fastconv.functional.relu6`."""

    _function = "relu6"


class SELU(_Plain):
    """See `fastconv.functional.selu`."""

    _function = "selu"


class SiLU(_Plain):
    """x sigmoid(x); see `fastconv.functional.silu`."""

    _function = "silu"


class Mish(_Plain):
    """See `fastconv.functional.mish`."""

    _function = "mish"


class Hardswish(_Plain):
    """See `fastconv.functional.hardswish`."""

    _function = "hardswish"


class Hardsigmoid(_Plain):
    """See `fastconv.functional.hardsigmoid`."""

    _function = "hardsigmoid"


class Sigmoid(_Activation):
    """1 / (1 + exp(-x)); see `fastconv.functional.sigmoid`."""

    _function = "sigmoid"


class Tanh(_Activation):
    """See `fastconv.functional.tanh`."""

    _function = "tanh"


class Softsign(_Activation):
    """x / (1 + abs(x)); see `fastconv.functional.softsign`."""

    _function = "softsign"


class LeakyReLU(_Activation):
    """x above 0, ``negative_slope`` x below; see `fastconv.functional.leaky_relu`."""

    _function = "leaky_relu"
    _arguments = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = _checked(negative_slope, "negative_slope")
        self.inplace = flag(inplace, "inplace")


class _Exponential(_Activation):
    _arguments = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = _checked(alpha, "alpha")
        self.inplace = flag(inplace, "inplace")


class ELU(_Exponential):
    """x above 0, alpha (exp(x) - 1) below; see `fastconv.functional.elu`."""

    _function = "elu"


class CELU(_Exponential):
    """x above 0, alpha (exp(x / alpha) - 1) below; see `fastconv.functional.celu`."""

    _function = "celu"


class GELU(_Activation):
    """See `fastconv.functional.gelu`; ``approximate`` is "none" or "tanh"."""

    _function = "gelu"
    _arguments = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = one_of(approximate, ("none", "tanh"), "approximate")

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"approximate={self.approximate!r}"


class Hardtanh(_Activation):
    """Between ``min_val`` and ``max_val``; see `fastconv.functional.hardtanh`."""

    _function = "hardtanh"
    _arguments = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.min_val = _checked(min_val, "min_val")
        self.max_val = _checked(max_val, "max_val")
        self.inplace = flag(inplace, "inplace")
        if self.max_val <= self.min_val:
            raise ValueError(f"max_val must be above min_val, but got {min_val} and {max_val}")


class Softplus(_Activation):
    """log(1 + exp(beta x)) / beta; see `fastconv.functional.softplus`."""

    _function = "softplus"
    _arguments = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = _checked(beta, "beta")
        self.threshold = _checked(threshold, "threshold")


class PReLU(Module):
    """x above 0, a learned slope times x below; see `fastconv.functional.prelu`."""

    weight: Any

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = integer(num_parameters, "num_parameters", least=1)
        self.init = number(init, "init")
        self.weight = constant((self.num_parameters,), self.init, dtype)

    def forward(self, input: Any) -> Any:
        """Apply the function to every element."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"num_parameters={self.num_parameters}"


class _Softmax(Module):
    _function: ClassVar[str]

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = None if dim is None else integer(dim, "dim")

    def forward(self, input: Any) -> Any:
        """Normalise along ``dim``."""
        return getattr(F, self._function)(input, dim=self.dim)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"dim={self.dim}"


class Softmax(_Softmax):
    """exp(x) over its sum along ``dim``; see `fastconv.functional.softmax`."""

    _function = "softmax"


class LogSoftmax(_Softmax):
    """The logarithm of `Softmax`; see `fastconv.functional.log_softmax`."""

    _function = "log_softmax"


class Softmax2d(Module):
    """`Softmax` over the channels of (N, C, H, W) or (C, H, W)."""

    def forward(self, input: Any) -> Any:
        """Normalise along the channels."""
        input = as_array(input, "input")
        if len(input.shape) not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {len(input.shape)}D")
        return F.softmax(input, dim=-3)


def _checked(value: Any, name: str) -> Any:
    """Return the number as it was given, so that the repr shows it so."""
    number(value, name)
    return value
