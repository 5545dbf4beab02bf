"""Arrays that say that they are stored on a GPU, in memory that the simulator can reach."""

from __future__ import annotations

from typing import Any

import numpy as np


class OnDevice:
    """An array of an unknown library, by the CUDA array interface alone."""

    def __init__(self, array: Any, stream: int | None = None) -> None:
        self.array, self.stream = array, stream

    @property
    def shape(self) -> Any:
        return self.array.shape

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        told = self.array.__array_interface__
        keys = ("shape", "typestr", "data", "strides")
        return {**{key: told[key] for key in keys}, "version": 3, "stream": self.stream}


def on_host(result: Any) -> Any:
    """Return a result on the simulated GPU as a NumPy array."""
    told = result.__cuda_array_interface__
    return np.asarray(_Told({**told, "version": 3, "data": told["data"]}, result))


class _Told:
    def __init__(self, told: dict[str, Any], owner: Any) -> None:
        self.__array_interface__ = {k: v for k, v in told.items() if k != "stream"}
        self._owner = owner
