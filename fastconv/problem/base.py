"""What every problem has in common: shapes in, shapes out, and the work between them."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import numpy as np

from fastconv.problem.record import record, replaced

Shape = tuple[int, ...]


class ArraySpec(Protocol):
    """Anything with a shape and a dtype: an array, or a value that is only being traced."""

    @property
    def shape(self) -> Shape: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...


P = TypeVar("P", bound="Problem")


@record(frozen=True)
class Problem:
    """One operation described without its data; validated when made, hashable, immutable.

    Subclasses are built by their classmethod ``of``, which takes what the caller gave
    (anything with ``shape`` and ``dtype`` for arrays) and holds all the validation.
    """

    dtype: np.dtype[Any]

    @property
    def name(self) -> str:
        """The public function's name, such as ``conv2d``."""
        raise NotImplementedError

    @property
    def input_shape(self) -> Shape:
        """Shape of the first input, with its batch, in the problem's layout."""
        raise NotImplementedError

    @property
    def output_shape(self) -> Shape:
        """Shape of the (first) output, with its batch, in the problem's layout."""
        raise NotImplementedError

    @property
    def output_dtype(self) -> np.dtype[Any]:
        """Dtype of the output."""
        return self.dtype

    @property
    def macs(self) -> int:
        """Multiply-accumulates that the definition asks for, padding included."""
        return 0

    @property
    def flops(self) -> int:
        """Floating point operations: 2 a multiply-accumulate."""
        return 2 * self.macs

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the weights and their like."""
        return 0

    @property
    def parameter_count(self) -> int:
        """Learnable numbers: weights and biases, not statistics."""
        return self.parameter_bytes // self.dtype.itemsize

    @property
    def window(self) -> tuple[Shape, Shape] | None:
        """Input cells that one output sees, and the step between outputs, a dimension.

        None for an operation that has no sliding window.
        """
        return None

    @property
    def bytes(self) -> int:
        """Bytes that must move at least once: inputs, parameters, outputs."""
        return (
            _size(self.input_shape) * self.dtype.itemsize
            + _size(self.output_shape) * self.output_dtype.itemsize
            + self.parameter_bytes
        )

    def without_idle(self: P) -> P:
        """Return the same problem without the parameters that no output depends on."""
        return self

    @property
    def busy_part(self) -> Any:
        """Which part of the parameters `busy` gives; None: all."""
        return None

    def busy(self, parameters: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the parameters of `without_idle` out of this problem's."""
        return parameters

    def for_one_image(self: P) -> P:
        """Return the same problem for a batch of one: what every choice is made from."""
        if getattr(self, "batch", 1) == 1:
            return self
        return replaced(self, batch=1)


def _size(shape: Shape) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
