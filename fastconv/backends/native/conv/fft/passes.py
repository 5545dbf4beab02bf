"""Fourier transforms as passes in place: their radices, their twiddle factors, and their order.

Forward passes decimate in frequency and leave the spectrum in digit-reversed order; inverse
passes decimate in time and take it so: nothing is ever reordered (Gentleman and Sande, 1966;
Cooley and Tukey, 1965).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.manifest.convolutions import FftPass

RADICES = (4, 3, 2)
# Operations of a butterfly without twiddle factors.
BUTTERFLY_OPERATIONS = {4: 16, 3: 16, 2: 4}


def factors(length: int) -> list[int]:
    """Split a length into radices, large ones first.

    Raises
    ------
    ValueError
        For a length with other prime factors than 2 and 3.
    """
    found = []
    for radix in RADICES:
        while length % radix == 0:
            found.append(radix)
            length //= radix
    if length != 1:
        raise ValueError(f"transforms are of lengths 2^a 3^b, but got a factor of {length}")
    return found


def transform_operations(length: int) -> int:
    """Count the operations of a complex transform; a multiply-add is two, as everywhere."""
    count, step = 0, length
    for radix in factors(length):
        step //= radix
        # The last pass's twiddle factors are all 1.
        turned = 6 * (radix - 1) * (step > 1)
        count += length // radix * (BUTTERFLY_OPERATIONS[radix] + turned)
    return count


def pass_tables(
    length: int, dtype: np.dtype[Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the table of passes and all twiddle factors, (real, imaginary) for each q and j."""
    rows, twiddles, done = [], [], 0
    rest = length
    for radix in factors(length):
        step = rest // radix
        angles = np.outer(np.arange(step), np.arange(1, radix)) * (-2 * np.pi / rest)
        table = np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(dtype)
        rows.append([*FftPass(radix=radix, length=rest, twiddles=done)])
        twiddles.append(table.ravel())
        done += table.nbytes
        rest = step
    return np.array(rows, np.int64), np.concatenate(twiddles)
