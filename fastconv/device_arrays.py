"""Arrays in a GPU's memory, as callers give them: what they are, and how to make more of a kind.

PyTorch's, CuPy's, JAX's and Numba's are known by name, so that results come back as the same kind,
on the stream on which the caller works. Any other object that tells its address by
``__cuda_array_interface__`` or DLPack serves too; its results are `DeviceArray`s, which tell
theirs. No driver is asked here, and no library imported that its own arrays have not brought.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from fastconv.problem.base import Shape

# Device types of DLPack whose memory is a GPU's: kDLCUDA and kDLCUDAManaged.
_DLPACK_DEVICES = (2, 13)


class DeviceArray:
    """An array in the memory of a GPU, and whose it is.

    ``owner`` keeps the memory; ``strides`` are in bytes. What is made of it by `reshape` and
    indexing with None are views.
    """

    __fastconv_passes__ = True

    def __init__(
        self,
        kind: Kind,
        owner: Any,
        pointer: int,
        shape: Shape,
        dtype: np.dtype[Any],
        strides: Shape | None = None,
        device: int = 0,
        stream: int | None = None,
    ) -> None:
        self.kind, self.owner, self.pointer = kind, owner, pointer
        self.shape, self.dtype, self.device, self.stream = tuple(shape), dtype, device, stream
        self.strides = contiguous_strides(shape, dtype) if strides is None else tuple(strides)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return self.size * self.dtype.itemsize

    @property
    def extent(self) -> tuple[int, int]:
        """The addresses of the first byte in memory, and of the one after the last."""
        if self.size == 0:
            return self.pointer, self.pointer
        reach = [(n - 1) * s for n, s in zip(self.shape, self.strides, strict=True)]
        low = self.pointer + sum(step for step in reach if step < 0)
        return low, self.pointer + sum(step for step in reach if step > 0) + self.dtype.itemsize

    @property
    def is_contiguous(self) -> bool:
        """Whether elements follow one another, the last dimension first."""
        return _same_places(self.shape, self.strides, contiguous_strides(self.shape, self.dtype))

    @property
    def is_channels_last(self) -> bool:
        """Whether an image whose channels are its second dimension has them last in memory.

        Only where that is another order than the plain one.
        """
        if self.ndim < 3 or self.size == 0 or self.is_contiguous:
            return False
        order = (0, *range(2, self.ndim), 1)
        turned = tuple(self.shape[i] for i in order)
        own = tuple(self.strides[i] for i in order)
        return _same_places(turned, own, contiguous_strides(turned, self.dtype))

    def reshape(self, *shape: Any) -> DeviceArray:
        """Return the same elements in another shape.

        Raises
        ------
        ValueError
            For elements that do not follow one another, unless only ones come or go.
        """
        wanted = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
        if -1 in wanted:
            known = prod(size for size in wanted if size != -1)
            wanted = tuple(self.size // max(known, 1) if n == -1 else n for n in wanted)
        if prod(wanted) != self.size:
            raise ValueError(f"cannot reshape array of shape {list(self.shape)} into {wanted}")
        if self.is_contiguous:
            return self._with(wanted, contiguous_strides(wanted, self.dtype))
        own = [(n, s) for n, s in zip(self.shape, self.strides, strict=True) if n != 1]
        if [n for n, _ in own] != [n for n in wanted if n != 1]:
            raise ValueError(f"a GPU array of strides {self.strides} has no view of shape {wanted}")
        rest = iter(s for _, s in own)
        return self._with(wanted, tuple(next(rest) if n != 1 else 0 for n in wanted))

    def __getitem__(self, key: None) -> DeviceArray:
        """Return a view with one more dimension in front: ``array[None]`` is all there is."""
        if key is not None:
            raise TypeError("a GPU array is indexed by its own library")
        return self._with((1, *self.shape), (0, *self.strides))

    def transposed(self, order: Shape) -> DeviceArray:
        """Return a view with its dimensions in another order."""
        return self._with(
            tuple(self.shape[i] for i in order), tuple(self.strides[i] for i in order)
        )

    def _with(self, shape: Shape, strides: Shape) -> DeviceArray:
        return DeviceArray(
            self.kind, self.owner, self.pointer, shape, self.dtype, strides, self.device,
            self.stream,
        )  # fmt: skip

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": None if self.is_contiguous else self.strides,
            "stream": self.stream or None,
            "version": 3,
        }

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("an array on the GPU is not copied to main memory unless asked for")

    def __repr__(self) -> str:
        return f"DeviceArray({self.kind.name}, {list(self.shape)}, {self.dtype.name})"


@dataclasses.dataclass(frozen=True)
class Kind:
    """A library's arrays.

    ``describe`` gives a `DeviceArray` of one of its own, ``stream`` the handle of the stream that
    its calls on a device go to now, ``empty`` a new array, and ``turned`` one's view with its
    dimensions in another order.
    """

    name: str
    describe: Callable[[Any, Kind], DeviceArray]
    stream: Callable[[int], int | None]
    empty: Callable[[Shape, np.dtype[Any], int], Any] | None = None
    turned: Callable[[Any, Shape], Any] | None = None
    # What a library that makes no empty arrays makes of one of ours.
    given: Callable[[DeviceArray], Any] = lambda result: result


def as_device_array(value: Any) -> DeviceArray | None:
    """Return a GPU's array as one; None: it is something else.

    Raises
    ------
    TypeError
        For a dtype that NumPy and ml_dtypes have no name for.
    """
    if isinstance(value, DeviceArray):
        return value
    library = type(value).__module__.partition(".")[0]
    if library == "torch":
        return _TORCH.describe(value, _TORCH) if getattr(value, "is_cuda", False) else None
    if library in ("numpy", "builtins"):
        return None
    if library in ("jax", "jaxlib"):
        return _JAX.describe(value, _JAX) if _by_dlpack(value) else None
    if hasattr(value, "__cuda_array_interface__"):
        kind = {"cupy": _CUPY, "numba": _NUMBA, "numba_cuda": _NUMBA}.get(library, _OTHER)
        return kind.describe(value, kind)
    return _from_dlpack(value, _OTHER) if _by_dlpack(value) else None


def contiguous_strides(shape: Shape, dtype: np.dtype[Any]) -> Shape:
    """Return the strides, in bytes, of elements that follow one another."""
    strides, step = [], dtype.itemsize
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def _same_places(shape: Shape, left: Shape, right: Shape) -> bool:
    pairs = zip(shape, left, right, strict=True)
    return 0 in shape or all(size == 1 or a == b for size, a, b in pairs)


def _by_dlpack(value: Any) -> bool:
    device = getattr(value, "__dlpack_device__", None)
    try:
        return device is not None and device()[0] in _DLPACK_DEVICES
    except (BufferError, RuntimeError, TypeError, ValueError):
        return False


def _from_interface(value: Any, kind: Kind) -> DeviceArray:
    """Read the CUDA array interface, version 2 or 3."""
    told = value.__cuda_array_interface__
    dtype = np.dtype(told["typestr"])
    device = getattr(getattr(value, "device", None), "id", 0)
    return DeviceArray(
        kind, value, int(told["data"][0]), tuple(told["shape"]), dtype, told.get("strides"),
        device if isinstance(device, int) else 0, told.get("stream"),
    )  # fmt: skip


def _from_dlpack(value: Any, kind: Kind) -> DeviceArray:
    """Read DLPack; the stream that the memory is wanted on waits for what is still to come."""
    from cuda.core.utils import StridedMemoryView

    ordinal = int(value.__dlpack_device__()[1])
    # Streams 1 is the legacy default one, which is what waits where the library names no other.
    view = StridedMemoryView.from_dlpack(value, stream_ptr=kind.stream(ordinal) or 1)
    dtype = np.dtype(view.dtype)
    strides = None
    if view.strides is not None:
        strides = tuple(int(s) * dtype.itemsize for s in view.strides)
    shape = tuple(int(n) for n in view.shape)
    return DeviceArray(kind, view, int(view.ptr), shape, dtype, strides, ordinal)


def _torch() -> Any:
    return sys.modules["torch"]


def _from_torch(value: Any, kind: Kind) -> DeviceArray:
    tensor = value.detach()
    size, name = tensor.element_size(), str(tensor.dtype).removeprefix("torch.")
    return DeviceArray(
        kind, tensor, int(tensor.data_ptr()), tuple(tensor.shape), _named(name),
        tuple(stride * size for stride in tensor.stride()), tensor.device.index,
        kind.stream(tensor.device.index),
    )  # fmt: skip


def _named(name: Any) -> np.dtype[Any]:
    if name == "bfloat16":
        import ml_dtypes

        name = ml_dtypes.bfloat16
    try:
        dtype: np.dtype[Any] = np.dtype(name)
    except TypeError:
        raise TypeError(f"arrays of {name} are not served") from None
    return dtype


def _empty_torch(shape: Shape, dtype: np.dtype[Any], device: int) -> Any:
    torch = _torch()
    return torch.empty(shape, dtype=getattr(torch, dtype.name), device=f"cuda:{device}")


def _empty_cupy(shape: Shape, dtype: np.dtype[Any], device: int) -> Any:
    cupy = sys.modules["cupy"]
    with cupy.cuda.Device(device):
        return cupy.empty(shape, dtype)


def _stream_of_cupy(device: int) -> int:
    cuda = sys.modules["cupy"].cuda
    with cuda.Device(device):
        return int(cuda.get_current_stream().ptr)


def _empty_numba(shape: Shape, dtype: np.dtype[Any], device: int) -> Any:
    from numba import cuda

    return cuda.device_array(shape, dtype)


_TORCH = Kind(
    "torch",
    _from_torch,
    lambda device: int(_torch().cuda.current_stream(device).cuda_stream),
    _empty_torch,
    lambda value, order: value.permute(order),
)
_CUPY = Kind(
    "cupy",
    _from_interface,
    _stream_of_cupy,
    _empty_cupy,
    lambda value, order: value.transpose(order),
)
_NUMBA = Kind(
    "numba", _from_interface, lambda device: None, _empty_numba,
    lambda value, order: value.transpose(order),
)  # fmt: skip
_JAX = Kind(
    "jax", _from_dlpack, lambda device: None,
    given=lambda result: sys.modules["jax"].numpy.asarray(result),
)  # fmt: skip
_OTHER = Kind("cuda_array_interface", _from_interface, lambda device: None)
