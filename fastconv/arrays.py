"""Arrays as callers give them, brought into the one form that plans take; ``out`` checked."""

from __future__ import annotations

import sys
from math import prod
from typing import Any

import numpy as np

from fastconv.device_arrays import as_device_array
from fastconv.problem.base import Shape
from fastconv.settings import memory_allowed

Array = np.ndarray[Any, Any]


def as_array(value: Any, name: str) -> Any:
    """Return ``value`` as a plain array, without copying where it is one.

    What says of itself that it may pass (a traced value, a Parameter) passes as it is; an array in
    a GPU's memory stays there, as a `DeviceArray`.

    Raises
    ------
    TypeError
        For object arrays, strings, ragged lists and None.
    """
    if hasattr(value, "__fastconv_passes__") or hasattr(value, "__fastconv_record__"):
        return value
    if value is None:
        raise TypeError(f"{name} must be an array, not None")
    if type(value) is np.ndarray:
        array = value
    else:
        on_device = as_device_array(value)
        if on_device is not None:
            return on_device
        check_unmasked(value, name)
        try:
            array = np.asarray(value)
        except MemoryError as error:
            raise ValueError(f"{name} must fit in memory: {error}") from None
        except Exception as error:  # whatever a foreign object's own conversion raises
            raise TypeError(f"{name} must be an array: {error}") from None
    if array.dtype.kind in "OSUmM" or array.dtype.names is not None:
        raise TypeError(f"{name} must be an array of numbers, not of dtype {array.dtype}")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def check_unmasked(value: Any, name: str) -> None:
    """Refuse arrays with masked cells.

    Raises
    ------
    ValueError
        For these.
    """
    if type(value) is not np.ndarray and _is_masked(value) and np.any(value.mask):
        raise ValueError(
            f"{name} has masked cells, and nothing here leaves cells out; give them values first, "
            f"as its method filled(0) does"
        )


def as_optional_array(value: Any, name: str) -> Any:
    """Return None as None, else as ``as_array``."""
    return None if value is None else as_array(value, name)


def ready(array: Any) -> Array:
    """Return an array, or what gives one, as an array that plans want: C-contiguous and aligned."""
    given: Array = array if isinstance(array, np.ndarray) else np.asarray(array)
    flags = given.flags
    if flags.c_contiguous and flags.aligned:
        return given
    return np.require(given, requirements=("C", "A"))


def check_out(
    out: Any, shape: Shape, dtype: np.dtype[Any], inputs: tuple[Array | None, ...]
) -> None:
    """Refuse an ``out`` of another shape or dtype, read-only, or overlapping an input."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, not {type(out).__name__}")
    if _is_masked(out):
        raise TypeError("out must be a NumPy array without a mask, not MaskedArray: pass out.data")
    if out.shape != tuple(shape):
        raise ValueError(f"out must have shape {list(shape)}, but got {list(out.shape)}")
    if out.dtype != dtype:
        order = "" if out.dtype.isnative else f" of another byte order, {out.dtype.str!r}"
        raise TypeError(f"out must have dtype {dtype.name}, but got {out.dtype.name}{order}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable, but it is read-only")
    if _overlaps_itself(out):
        raise ValueError(
            f"out must not overlap itself: with strides {out.strides} some of its elements have "
            f"one place in memory"
        )
    if any(array is not None and _overlap(out, array) for array in inputs):
        raise ValueError("out must not overlap an input or a parameter in memory")


def check_memory(shape: Shape, dtype: np.dtype[Any], what: str) -> None:
    """Refuse an array that no memory of this process holds, before anything is made for it."""
    size, most = prod(shape) * dtype.itemsize, memory_allowed()
    if size > most:
        raise ValueError(
            f"{what} of size {list(shape)} in {dtype.name} takes {size:,} bytes, and this "
            f"process may have {most:,}"
        )


def _overlap(a: Array, b: Array) -> bool:
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _overlaps_itself(array: Array) -> bool:
    """Return whether two elements share memory; True too where that would take long to find out."""
    if array.flags.c_contiguous or array.size < 2:
        return False
    reach = array.itemsize
    for step, length in sorted(
        (abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1
    ):
        if step < reach:
            return array.size > LARGE or _shares_places(array)
        reach += step * (length - 1)
    return False


# Elements of an array whose places are not compared one by one.
LARGE = 2**20


def _shares_places(array: Array) -> bool:
    places = np.zeros(array.shape, np.int64)
    for axis, (step, length) in enumerate(zip(array.strides, array.shape, strict=True)):
        ones = (1,) * (array.ndim - axis - 1)
        places += (np.arange(length) * step).reshape(length, *ones)
    return bool((np.diff(np.sort(places, axis=None)) < array.itemsize).any())


def _is_masked(value: Any) -> bool:
    # No array has a mask before that module is loaded.
    module = sys.modules.get("numpy.ma")
    return module is not None and isinstance(value, module.MaskedArray)
