"""onnxruntime's values: arrays in main memory, with the element types of ONNX."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv.formats.onnx.errors import CallError
from fastconv.network.limits import allow
from fastconv.problem.values import integer, is_sequence, items_of, shown

# ONNX's names of element types that differ from NumPy's.
_NAMES = {
    "float32": "float", "float64": "double", "object": "string",
    "float8_e4m3fn": "float8e4m3fn", "float8_e4m3fnuz": "float8e4m3fnuz",
    "float8_e5m2": "float8e5m2", "float8_e5m2fnuz": "float8e5m2fnuz",
}  # fmt: skip


def type_of(dtype_name: str) -> str:
    """Return ONNX's name of the tensors of a dtype, such as "tensor(float)"."""
    return f"tensor({_NAMES.get(dtype_name, dtype_name)})"


def only_cpu(device_type: Any, device_id: Any = 0) -> None:
    """Refuse a device that is not the CPU.

    Raises
    ------
    ValueError
    """
    name = str(device_type).lower().split(":")[0]
    if name != "cpu":
        raise CallError(
            f"device {device_type!r} is not available: sessions have the CPU alone; to run on a "
            f"GPU call the network (session.network) on arrays in its memory"
        )
    if device_id is not None and integer(device_id, "device_id"):
        raise CallError(f"there is one CPU device, 0, but got {device_id!r}")


def element_dtype(element: Any) -> np.dtype[Any]:
    """Return the dtype of an element type: NumPy's, or a number of ``onnx.TensorProto``.

    Raises
    ------
    ValueError
        For anything else.
    """
    import onnx

    try:
        if isinstance(element, (int, np.integer)) and not isinstance(element, bool):
            found: Any = onnx.helper.tensor_dtype_to_np_dtype(int(element))
        elif element is None:
            raise TypeError
        else:
            found = np.dtype(element)
    except (KeyError, TypeError, ValueError):
        raise CallError(f"{element!r} is not an element type") from None
    dtype: np.dtype[Any] = np.dtype(found)
    return dtype


class OrtDevice:
    """A device: the CPU."""

    @staticmethod
    def make(ort_device_name: str, device_id: int, vendor_id: int = -1) -> OrtDevice:
        """Return a device by name.

        Raises
        ------
        ValueError
            For another than the CPU.
        """
        only_cpu(ort_device_name, device_id)
        return OrtDevice()

    def device_id(self) -> int:
        """Return 0."""
        return 0

    def device_type(self) -> int:
        """Return 0, which is the CPU."""
        return 0

    def device_mem_type(self) -> int:
        """Return 0, which is plain memory."""
        return 0

    def device_vendor_id(self) -> int:
        """Return 0: the vendor is not told."""
        return 0


class OrtValue:
    """An array, a sequence of arrays, or nothing, as onnxruntime's values hold them.

    Make one by the functions below. As in onnxruntime, ``ortvalue_from_numpy`` shares the array's
    memory, and so does `numpy`.
    """

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    @classmethod
    def ortvalue_from_numpy(
        cls, numpy_obj: Any, device_type: Any = "cpu", device_id: int = 0, vendor_id: int = -1
    ) -> OrtValue:
        """Return a value that shares an array's memory (a copy where it is not contiguous)."""
        only_cpu(device_type, device_id)
        if not isinstance(numpy_obj, np.ndarray):
            raise CallError(f"an OrtValue is made from an array, but got {shown(numpy_obj)}")
        if numpy_obj.dtype.kind not in "biuf" and numpy_obj.dtype.name != "bfloat16":
            raise CallError(f"an OrtValue takes numbers, but got {numpy_obj.dtype}")
        array = numpy_obj.astype(numpy_obj.dtype.newbyteorder("="), copy=False)
        # NumPy makes one dimension of none where it makes arrays contiguous.
        return cls(np.ascontiguousarray(array).reshape(array.shape))

    @classmethod
    def ortvalue_from_numpy_with_onnx_type(cls, data: Any, onnx_element_type: int) -> OrtValue:
        """Return a value whose elements are an array's bits, read as one of ONNX's types."""
        value = cls.ortvalue_from_numpy(data)
        dtype = element_dtype(int(onnx_element_type))
        if dtype.itemsize != data.dtype.itemsize:
            raise CallError(
                f"elements of {data.dtype.itemsize} bytes cannot be read as {dtype.name}"
            )
        return cls(value._value.view(dtype))

    @classmethod
    def ortvalue_from_shape_and_type(
        cls,
        shape: Sequence[int],
        element_type: Any,
        device_type: Any = "cpu",
        device_id: int = 0,
        vendor_id: int = -1,
        memory_info: Any = None,
    ) -> OrtValue:
        """Return a value of zeros."""
        only_cpu(device_type, device_id)
        sizes, dtype = _sizes(shape), element_dtype(element_type)
        allow(sizes, dtype, what="the value")
        return cls(np.zeros(sizes, dtype))

    @classmethod
    def from_dlpack(cls, data: Any) -> OrtValue:
        """Return a value that shares the memory of an array of another library."""
        return cls(np.from_dlpack(data))

    def _tensor(self) -> np.ndarray[Any, Any]:
        if not isinstance(self._value, np.ndarray):
            raise CallError(f"this value is not a tensor, but {self.data_type()}")
        return self._value

    def numpy(self) -> np.ndarray[Any, Any]:
        """Return the array, whose memory is this value's."""
        return self._tensor().view()

    def update_inplace(self, data: Any) -> None:
        """Copy an array of the same size and dtype here."""
        held, given = self._tensor(), data.numpy() if isinstance(data, OrtValue) else data
        if not isinstance(given, np.ndarray):
            raise CallError(f"a value is updated from an array, but got {shown(data)}")
        if given.dtype != held.dtype or given.size != held.size:
            raise CallError(
                f"the value holds {held.dtype}{list(held.shape)}, but got "
                f"{given.dtype}{list(given.shape)}"
            )
        if not held.flags.writeable:
            raise CallError("the value shares the memory of a read-only array")
        held[...] = given.reshape(held.shape)

    def data_ptr(self) -> int:
        """Return the address of the first element."""
        return int(self._tensor().ctypes.data)

    def device_name(self) -> str:
        """Return the kind of device that holds the value: "cpu"."""
        return "cpu"

    def shape(self) -> list[int]:
        """Return the shape."""
        return list(self._tensor().shape)

    def data_type(self) -> str:
        """Return ONNX's name of the type, such as "tensor(float)"."""
        if isinstance(self._value, list):
            return f"seq({OrtValue(self._value[0]).data_type()})" if self._value else "seq()"
        return "" if self._value is None else type_of(self._value.dtype.name)

    def element_type(self) -> int:
        """Return the number of the element type in ``onnx.TensorProto``."""
        import onnx

        return int(onnx.helper.np_dtype_to_tensor_dtype(self._tensor().dtype))

    def tensor_size_in_bytes(self) -> int:
        """Return how many bytes the elements take."""
        return int(self._tensor().nbytes)

    def has_value(self) -> bool:
        """Return whether it holds anything."""
        return self._value is not None

    def is_tensor(self) -> bool:
        """Return whether it holds an array."""
        return isinstance(self._value, np.ndarray)

    def is_sparse_tensor(self) -> bool:
        """Return False: no value here is sparse."""
        return False

    def is_tensor_sequence(self) -> bool:
        """Return whether it holds a sequence of arrays."""
        return isinstance(self._value, list)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        held = self._tensor()
        if dtype is not None and np.dtype(dtype) != held.dtype:
            if copy is False:
                raise ValueError(f"{held.dtype} cannot be made {np.dtype(dtype)} without a copy")
            return held.astype(dtype)
        return held.copy() if copy else held.view()

    def __dlpack__(self, **options: Any) -> Any:
        return self._tensor().__dlpack__(**{k: v for k, v in options.items() if v is not None})

    def __dlpack_device__(self) -> tuple[int, int]:
        kind, number = self._tensor().__dlpack_device__()
        return int(kind), int(number)

    def __repr__(self) -> str:
        sizes = list(self._value.shape) if isinstance(self._value, np.ndarray) else ""
        return f"OrtValue({self.data_type()}{sizes})"


class OrtValueVector(list[OrtValue]):
    """Values in a row."""

    def push_back(self, value: OrtValue) -> None:
        """Add a value."""
        self.append(value)


def copy_tensors(src: Sequence[OrtValue], dst: Sequence[OrtValue], stream: Any = None) -> None:
    """Copy values into others of the same sizes and dtypes."""
    if len(src) != len(dst):
        raise CallError(f"{len(src)} values cannot be copied into {len(dst)}")
    for source, target in zip(src, dst, strict=True):
        target.update_inplace(source)


def held(value: Any) -> Any:
    """Return what an OrtValue holds; anything else is itself."""
    return value._value if isinstance(value, OrtValue) else value


def _sizes(shape: Any) -> tuple[int, ...]:
    if not is_sequence(shape):
        raise TypeError(f"shape must be a sequence of integers, not {shown(shape)}")
    return tuple(integer(n, "shape", least=0) for n in items_of(shape, "shape"))


def at_address(address: Any, shape: Sequence[int], element: Any) -> np.ndarray[Any, Any]:
    """Return the array of contiguous elements at an address, which its owner must keep."""
    dtype, sizes = element_dtype(element), _sizes(shape)
    count = int(np.prod(sizes, dtype=object)) * dtype.itemsize
    if not isinstance(address, (int, np.integer)) or address < 0:
        raise CallError(f"there is no array of shape {list(sizes)} at address {address!r}")
    if not count:
        return np.zeros(sizes, dtype)
    if not address:
        raise CallError("an array of elements cannot begin at address 0")
    memory: Any = (ctypes.c_uint8 * count).from_address(int(address))
    cells: np.ndarray[Any, Any] = np.frombuffer(memory, np.uint8).view(dtype)
    return cells.reshape(sizes)
