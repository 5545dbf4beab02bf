"""The complementary error function, in plain arithmetic like its kin in ``elementary``."""

from __future__ import annotations

import functools

import numpy as np

from fastconv.backends.native import coefficients
from fastconv.backends.numba.elementary import Function, inlined, make_exp, make_series, pick


@functools.cache
def make_erfc(name: str) -> Function:
    """Make erfc for a dtype; its error is a few units of 1, and relative to it grows as z^2."""
    real = np.dtype(name).type
    zero, two, k = real(0), real(2), real(coefficients.ERFC_SCALE)
    limit = real(28 if name == "float64" else 12)  # erfc is 0 beyond
    exp, scaled = make_exp(name), make_series(coefficients.erfc(name))

    @inlined
    def erfc(x):  # type: ignore[no-untyped-def]
        z = pick(x < zero, -x, x)
        z = pick(z > limit, limit, z)
        far = exp(-z * z) * scaled((z - k) / (z + k))
        return pick(x < zero, two - far, far)

    return erfc
