"""Parameters that stay in their file, and are read when a plan is made of them.

They are read into memory of this process, not mapped: mapped pages count as a process's memory
like any other, and a file that is cut short would end the process.
"""

from __future__ import annotations

import math
import os
import time
import weakref
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

from fastconv.arrays import Array
from fastconv.dispatch.parameter import Parameter, Plans
from fastconv.problem.record import record

# Files and parameters that are smaller are read at once: to keep them takes little.
LEAST_FILE_BYTES = 1 << 20
LEAST_BYTES = 1 << 16
# Within this time of a change, a second one may leave the file's time as it is.
TICK_SECONDS = 0.02


class ChangedFile(ValueError):
    """A file that has changed since it was loaded."""


class WeightFile:
    """A file that parameters are in. It stays open: renaming or deleting it does no harm.

    Parameters
    ----------
    path : path
        It must not be changed in place while it is in use; where it was, reading it raises a
        `ChangedFile`, a ValueError.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._descriptor)
        self._stamp = self._now()
        age = time.time() - self._stamp[1] / 1e9
        if 0 <= age < TICK_SECONDS:
            time.sleep(TICK_SECONDS - age)
            self._stamp = self._now()

    def _now(self) -> tuple[int, int]:
        found = os.fstat(self._descriptor)
        return found.st_size, found.st_mtime_ns

    @property
    def size(self) -> int:
        """Bytes in it when it was opened."""
        return self._stamp[0]

    def read(self, offset: int, length: int) -> Array:
        """Return bytes of the file as it was opened.

        Raises
        ------
        ChangedFile
            Where it has changed since.
        """
        found = np.empty(length, np.uint8)
        memory, done = memoryview(found.data), 0
        while done < length:
            count = os.preadv(self._descriptor, [memory[done:]], offset + done)
            if not count:
                break
            done += count
        # Whatever was written before now shows now.
        if done < length or self._now() != self._stamp:
            raise ChangedFile(
                f"the file {self.path} has changed since it was loaded, so that weights which are "
                f"still in it cannot be read: load it again, and where files are changed in place "
                f"while they are in use, with in_memory=True"
            )
        return found

    def stream(self) -> BinaryIO:
        """Return the file from its beginning, to be read before anything else is."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return open(os.dup(self._descriptor), "rb")


def can_store() -> bool:
    """Return whether parameters can stay in files here.

    They cannot on Windows, where an open file can be neither renamed nor deleted.
    """
    return hasattr(os, "preadv")


class StoredParameter(np.lib.mixins.NDArrayOperatorsMixin):
    """A parameter that is stored in a file: a shape and a dtype, and an array on demand.

    `read` gives the array and keeps nothing. NumPy's functions and methods work too: what they
    need is read, and kept, since what computes with it will again.

    Parameters
    ----------
    file : WeightFile
    offset : int
        Of its first byte in the file, where it is contiguous, little end first.
    shape : tuple of ints
    dtype : dtype
    """

    __fastconv_passes__ = True
    # As for `Parameter`: it cannot be changed in place.
    frozen = True
    outer_products: bool | None = None
    largest_by_channel: tuple[int, Any] | None = None

    def __init__(self, file: WeightFile, offset: int, shape: Iterable[int], dtype: Any) -> None:
        self._file, self._offset = file, offset
        self._stored_shape: tuple[int, ...] = tuple(int(n) for n in shape)
        self.shape: tuple[int, ...] = self._stored_shape
        self._axes: tuple[int, ...] | None = None
        self.dtype = np.dtype(dtype)
        self._plans: dict[Any, Plans] = {}
        self._kept: Array | None = None
        self._turned: dict[tuple[int, ...], StoredParameter] = {}

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of its array."""
        return self.size * int(self.dtype.itemsize)

    @property
    def T(self) -> StoredParameter:
        """The parameter with its dimensions in reverse."""
        return self.transpose()

    def transpose(self, *axes: Any) -> StoredParameter:
        """Return the parameter with its dimensions permuted, the same one each time.

        It stays in its file.
        """
        given = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        order = [int(n) % self.ndim for n in given or range(self.ndim)[::-1]]
        if sorted(order) != list(range(self.ndim)):
            raise ValueError(f"axes {given} do not match a parameter of shape {self.shape}")
        known = self._turned.get(tuple(order))
        if known is not None:
            return known
        before = range(self.ndim) if self._axes is None else self._axes
        turned = StoredParameter(self._file, self._offset, self._stored_shape, self.dtype)
        turned._axes = tuple(before[n] for n in order)
        turned.shape = tuple(self.shape[n] for n in order)
        return self._turned.setdefault(tuple(order), turned)

    def read(self) -> Array:
        """Return the array.

        Raises
        ------
        ChangedFile
            Where the file has changed since it was loaded.
        """
        if self._kept is not None:
            return self._kept
        stored = self.dtype.newbyteorder("<")
        array = self._file.read(self._offset, self.nbytes).view(stored)
        array = array.astype(self.dtype, copy=False).reshape(self._stored_shape)
        array = array if self._axes is None else np.ascontiguousarray(array.transpose(self._axes))
        array.flags.writeable = False
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        self._kept = self.read()
        if copy:
            return np.array(self._kept, dtype)
        return self._kept if dtype is None else self._kept.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if any(hasattr(value, "__fastconv_record__") for value in inputs):
            return NotImplemented
        plain = (np.asarray(v) if isinstance(v, StoredParameter) else v for v in inputs)
        return getattr(ufunc, method)(*plain, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            # Protocols that it has not, which it is asked for.
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(np.asarray(self), name)

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key]

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> Any:
        return Parameter, (self.read(),)

    def __deepcopy__(self, memo: Any) -> StoredParameter:
        return self

    def __copy__(self) -> StoredParameter:
        return self

    def __repr__(self) -> str:
        return f"StoredParameter({self._file.path!r}, shape={self.shape}, dtype={self.dtype})"


@record(frozen=True)
class Span:
    """Where an array is stored in a file or in bytes."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def values_of(parameter: Any) -> Array:
    """Return a parameter's array, which is not kept where it is stored in a file."""
    if isinstance(parameter, StoredParameter):
        return parameter.read()
    return np.asarray(parameter)


def is_array(value: Any) -> bool:
    """Return whether a value is an array, in memory or in a file."""
    return isinstance(value, (np.ndarray, StoredParameter))
