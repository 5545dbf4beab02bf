"""Planar pools by the C kernels."""

from __future__ import annotations

from fastconv.backends.c import library
from fastconv.backends.native.pool import planar, whole


class Planar(planar.Planar):
    """Pools of channels-first images."""

    backend = "c"
    library = library


class Whole(whole.Whole):
    """Global pools of channels-first images."""

    backend = "c"
    library = library
