"""Layers without windows: matrices, identities, dropout, flattening."""

from __future__ import annotations

from math import prod
from typing import Any

from fastconv import functional as F
from fastconv.arrays import as_array
from fastconv.nn.initial import uniform
from fastconv.nn.module import Module
from fastconv.problem.values import flag, integer, is_sequence, items_of, number, shown


class Linear(Module):
    """Multiply the last axis by a matrix of (out, in); see `fastconv.functional.linear`."""

    weight: Any
    bias: Any

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = integer(in_features, "in_features", least=1)
        self.out_features = integer(out_features, "out_features", least=1)
        self.weight = uniform((self.out_features, self.in_features), self.in_features, dtype)
        self.register_parameter(
            "bias",
            uniform((self.out_features,), self.in_features, dtype) if flag(bias, "bias") else None,
        )

    def forward(self, input: Any) -> Any:
        """Run the layer."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Identity(Module):
    """Return the input itself; arguments of the constructor are accepted and ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        """Run the layer."""
        return input


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= number(p, "p") <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        """Run the layer."""
        return input

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Return the input itself: dropout is for training."""


class Dropout1d(_Dropout):
    """Return the input itself: dropout is for training."""


class Dropout2d(_Dropout):
    """Return the input itself: dropout is for training."""


class Dropout3d(_Dropout):
    """Return the input itself: dropout is for training."""


class AlphaDropout(_Dropout):
    """Return the input itself: dropout is for training."""


def flatten(input: Any, start_dim: int = 1, end_dim: int = -1) -> Any:
    """Make one axis of the axes from ``start_dim`` to ``end_dim``, both included."""
    x = as_array(input, "input")
    shape = tuple(x.shape) or (1,)
    start, end = _axis(start_dim, len(shape)), _axis(end_dim, len(shape))
    if start > end:
        raise ValueError(
            f"flatten() has invalid args: start_dim cannot come after end_dim, but got "
            f"start_dim={start_dim} and end_dim={end_dim} for input of size {list(shape)}"
        )
    return x.reshape((*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :]))


class Flatten(Module):
    """Make one axis of the axes from ``start_dim`` to ``end_dim``, both included."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = integer(start_dim, "start_dim")
        self.end_dim = integer(end_dim, "end_dim")

    def forward(self, input: Any) -> Any:
        """Run the layer."""
        return flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Make several axes of one: what `Flatten` undoes; one of the sizes may be -1."""

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        self.dim = integer(dim, "dim")
        if not is_sequence(unflattened_size):
            raise TypeError(
                f"unflattened_size must be a tuple of ints, not {shown(unflattened_size)}"
            )
        sizes = items_of(unflattened_size, "unflattened_size")
        self.unflattened_size = tuple(integer(s, "unflattened_size") for s in sizes)

    def forward(self, input: Any) -> Any:
        """Run the layer."""
        x = as_array(input, "input")
        shape = tuple(x.shape)
        dim = _axis(self.dim, len(shape))
        sizes = _completed(self.unflattened_size, shape[dim])
        return x.reshape((*shape[:dim], *sizes, *shape[dim + 1 :]))

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


def _axis(dim: int, rank: int) -> int:
    if not -rank <= dim < rank:
        raise ValueError(
            f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got "
            f"{dim})"
        )
    return dim % rank


def _completed(sizes: tuple[int, ...], length: int) -> tuple[int, ...]:
    known = prod(size for size in sizes if size != -1)
    free = sizes.count(-1)
    fits = length == known if free == 0 else free == 1 and known > 0 and length % known == 0
    if not fits or any(size < -1 for size in sizes):
        raise ValueError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of the dim, "
            f"{length}"
        )
    return tuple(length // known if size == -1 else size for size in sizes)
