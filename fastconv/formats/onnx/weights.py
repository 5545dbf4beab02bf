"""A model's large initializers, which stay in its file, or in files next to it, where they can."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastconv.dispatch import Parameter, stored
from fastconv.dispatch.stored import Span, StoredParameter, WeightFile
from fastconv.formats.onnx.lean import DTYPES, Lean, without_weights
from fastconv.formats.onnx.values import Home, external_file, external_span
from fastconv.network.limits import TooLarge, allow


@dataclasses.dataclass
class Weights:
    """Where large initializers are.

    Parameters
    ----------
    home : Home, optional
        Where files next to the model may be.
    own : WeightFile or bytes, optional
        The model's own, of which ``spans`` tells where tensors of its main graph are.
    in_memory : bool
        Whether all are to be read at once.
    """

    home: Home | None = None
    own: WeightFile | memoryview | None = None
    spans: Mapping[str, Span] = dataclasses.field(default_factory=dict)
    in_memory: bool = False
    _files: dict[Path, WeightFile] = dataclasses.field(default_factory=dict)

    def get(self, tensor: Any, *, main: bool) -> Any:
        """Return an initializer as a parameter; None: it is read as any tensor is.

        Raises
        ------
        ValueError
            For one that is larger than the memory limit in force.
        """
        source: WeightFile | memoryview | None = None
        if main and tensor.name in self.spans:
            source, span = self.own, self.spans[tensor.name]
        elif tensor.external_data and tensor.data_location == tensor.EXTERNAL:
            source, span = self._beside(tensor)
        if source is None:
            return None
        label = f"tensor {tensor.name!r}"
        try:
            allow(span.shape, span.dtype, what=label)
        except TooLarge as error:
            raise ValueError(f"{label} cannot be read: {error}") from None
        if isinstance(source, WeightFile) and not self.in_memory:
            return StoredParameter(source, span.offset, span.shape, span.dtype)
        stop = span.offset + span.nbytes
        held = (
            source[span.offset : stop]
            if isinstance(source, memoryview)
            else source.read(span.offset, span.nbytes)
        )
        array = np.frombuffer(held, span.dtype.newbyteorder("<"))
        return Parameter(array.reshape(span.shape))

    def _beside(self, tensor: Any) -> tuple[WeightFile | None, Span]:
        """Return the file that a tensor is in, and where; None: it is not large and plain."""
        nowhere = None, Span(0, (), np.dtype("b1"))
        if self.in_memory or not stored.can_store() or tensor.data_type not in DTYPES:
            return nowhere
        path = external_file(tensor, self.home)
        file = self._files.get(path) or self._files.setdefault(path, WeightFile(path))
        offset, length = external_span(tensor, path.name, file.size)
        span = Span(offset, tuple(tensor.dims), np.dtype(DTYPES[tensor.data_type]))
        plain = all(n > 0 for n in span.shape) and span.nbytes == length
        return (file, span) if plain and length >= stored.LEAST_BYTES else nowhere


def lean_file(path: Path) -> tuple[Lean, WeightFile | memoryview] | None:
    """Return a model's file without its large weights, and what holds them; None: as it is."""
    if path.stat().st_size < stored.LEAST_FILE_BYTES:
        return None
    if not stored.can_store():
        return lean_bytes(memoryview(path.read_bytes()))
    file = WeightFile(path)
    lean = without_weights(file.read, file.size)
    return None if lean is None else (lean, file)


def lean_bytes(data: memoryview) -> tuple[Lean, memoryview] | None:
    """Return a model's bytes without its large weights, and those bytes; None: as they are."""
    if data.nbytes < stored.LEAST_FILE_BYTES:
        return None
    data = data.cast("B")
    lean = without_weights(lambda offset, length: data[offset : offset + length], data.nbytes)
    return None if lean is None else (lean, data)
