"""Arrays and tensors of other makers, as parameters; no other maker's package is imported here."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np

from fastconv.arrays import Array, as_array
from fastconv.dispatch import Parameter
from fastconv.problem import Shape


def to_array(value: Any, name: str) -> Array:
    """Return a NumPy array, or a tensor on any device, as a NumPy array.

    bfloat16 tensors, which NumPy has no word for, become ml_dtypes' bfloat16 where that is
    installed, else float32: either way every value stays what it is.
    """
    if not (hasattr(value, "detach") and hasattr(value, "cpu")):
        array: Array = as_array(value, name)
        return array
    tensor = value.detach().cpu()
    if not str(tensor.dtype).endswith("bfloat16"):
        return np.asarray(tensor.numpy())
    wide = np.asarray(tensor.float().numpy())
    try:
        import ml_dtypes
    except ImportError:
        return wide
    return wide.astype(ml_dtypes.bfloat16)


def _is_immutable(array: Array) -> TypeGuard[Parameter]:
    """Return whether an array is a parameter, not a mutable array that was made from one."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(array, Parameter) and isinstance(base, bytes)


def freeze(value: Any, name: str, shape: Shape | None, dtype: Any = None) -> Parameter:
    """Return ``value`` as a parameter of that shape, and of that dtype where one is given.

    Raises
    ------
    ValueError
        For another shape.
    TypeError
        For what is not an array of numbers, or complex numbers where real ones are wanted.
    """
    array: Array = value if isinstance(value, Parameter) else to_array(value, name)
    if shape is not None and tuple(array.shape) != shape:
        raise ValueError(
            f"size mismatch for {name}: expected an array of shape {list(shape)}, but got "
            f"{list(array.shape)}"
        )
    # NumPy holds None to be equal to float64.
    if _is_immutable(array) and (dtype is None or array.dtype == dtype):
        return array
    if array.dtype.kind == "c" and dtype is not None and np.dtype(dtype).kind != "c":
        raise TypeError(f"{name} has dtype {np.dtype(dtype).name}, but got {array.dtype.name}")
    return Parameter(array, dtype)
