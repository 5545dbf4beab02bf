"""Planar and global pools by Numba's kernels."""

from __future__ import annotations

from fastconv.backends.native.pool import planar, whole
from fastconv.backends.numba import library


class Planar(planar.Planar):
    """Pools of channels-first images."""

    backend = "numba"
    library = library


class Whole(whole.Whole):
    """Global pools of channels-first images."""

    backend = "numba"
    library = library
