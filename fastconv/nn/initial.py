"""First weights: drawn when they are first looked at, the same for one seed whatever the order."""

from __future__ import annotations

import contextlib
import contextvars
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastconv import forks
from fastconv.arrays import check_memory
from fastconv.dispatch import Parameter
from fastconv.problem import Shape
from fastconv.problem.values import COMPLEX, FLOATS, INTEGERS, dtype_of, integer

DTYPES = FLOATS + INTEGERS + COMPLEX

_lock = forks.reentrant_lock()
_shapes_only: contextvars.ContextVar[bool] = contextvars.ContextVar("shapes_only", default=False)


class _Seeds:
    """A seed for each parameter, in the order in which layers are made."""

    def __init__(self) -> None:
        self.seed: int | None = None
        self.count = 0

    def next(self) -> tuple[int, int]:
        """Return the next parameter's seed."""
        with _lock:
            if self.seed is None:
                # As NumPy does it, but without loading its generators: nothing may ever be drawn.
                self.seed = int.from_bytes(os.urandom(8), "little")
            self.count += 1
            return self.seed, self.count


_seeds = _Seeds()


def manual_seed(seed: int) -> None:
    """Fix the first weights of the layers made from now on.

    Parameters
    ----------
    seed : int
        Not negative. The same seed and the same layers in the same order give the same weights,
        though not those that PyTorch draws.
    """
    with _lock:
        _seeds.seed = integer(seed, "seed", least=0)
        _seeds.count = 0


class Initial:
    """A parameter that is not drawn yet: uniform in [-bound, bound), as torch's layers are.

    Making a large network so takes no time, and loading weights into it draws none.
    """

    def __init__(self, shape: Shape, dtype: np.dtype[Any], bound: float) -> None:
        self.shape = shape
        self.dtype = dtype
        self._bound = bound
        self._seed = _seeds.next()
        self._drawn: Parameter | None = None
        self._placeholder: np.ndarray[Any, Any] | None = None

    def get(self) -> Any:
        """Return the parameter, drawn once; inside `shapes_only` something of its shape alone."""
        if self._drawn is None and _shapes_only.get():
            if self._placeholder is None:
                self._placeholder = np.broadcast_to(np.zeros((), self.dtype), self.shape)
            return self._placeholder
        with _lock:
            if self._drawn is None:
                self._drawn = Parameter(self._draw(), self.dtype)
                self._placeholder = None
        return self._drawn

    def twin(self, dtype: np.dtype[Any] | None = None) -> Initial:
        """Return another parameter that will have the same values, rounded to ``dtype``."""
        twin = Initial.__new__(Initial)
        twin.__dict__.update(self.__dict__)
        twin.dtype = dtype or self.dtype
        twin._placeholder = twin._drawn = None
        return twin

    def _draw(self) -> np.ndarray[Any, Any]:
        check_memory(self.shape, self.dtype, "a layer's parameter")
        # In float32 for every dtype, so that casting a layer before it is drawn or after is one.
        if self.dtype.name in INTEGERS:
            return np.zeros(self.shape, self.dtype)
        generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence(self._seed)))
        values = self._uniform(generator)
        return values + 1j * self._uniform(generator) if self.dtype.name in COMPLEX else values

    def _uniform(self, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        values = generator.random(self.shape, np.float32)
        values -= np.float32(0.5)
        values *= np.float32(2 * self._bound)
        return values


def shown(held: dict[str, Any], name: str) -> Any:
    """Return what a module holds under ``name``; a parameter not drawn yet is drawn."""
    value = held[name]
    if isinstance(value, Initial):
        value = value.get()
        if isinstance(value, Parameter):
            held[name] = value
    return value


@contextlib.contextmanager
def shapes_only() -> Iterator[None]:
    """Inside, weights that are not drawn yet show shape and dtype alone: for counting."""
    token = _shapes_only.set(True)
    try:
        yield
    finally:
        _shapes_only.reset(token)


def layer_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the dtype of a layer's parameters; None is float32."""
    read = dtype_of(np.float32 if dtype is None else dtype, "dtype").newbyteorder("=")
    if read.name not in DTYPES:
        raise TypeError(f"dtype of a layer must be one of {', '.join(DTYPES)}, not {read.name}")
    return read


def uniform(shape: Shape, fan_in: int, dtype: Any) -> Initial:
    """Return torch's default for weights and biases: uniform within 1 / sqrt(fan_in).

    For weights it is Kaiming's uniform distribution with a slope of sqrt(5) (He et al., 2015).
    """
    return Initial(shape, layer_dtype(dtype), 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0)


def constant(shape: Shape, value: float, dtype: Any) -> Parameter:
    """Return a parameter of one value."""
    kind = layer_dtype(dtype)
    check_memory(shape, kind, "a layer's parameter")
    return Parameter(np.full(shape, value, kind))
