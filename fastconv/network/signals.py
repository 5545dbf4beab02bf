"""Fourier transforms of signals, the windows that they are weighed by, and mel filters.

Transforms are NumPy's, which keep to the thread that calls them; 16-bit floats go by float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.network.indexing import told_beforehand
from fastconv.network.limits import allow
from fastconv.problem.values import axis_of

Array = np.ndarray[Any, Any]
_COMPLEX = {"float32": np.complex64, "float64": np.complex128}


def dft(
    value: Any, length: Any = None, axis: Any = None, *, default_axis: int, inverse: bool,
    onesided: bool,
) -> Any:  # fmt: skip
    """Return the discrete Fourier transform along an axis; the last one holds parts of a number.

    Parameters
    ----------
    value : array of floats, shape (..., 1) or (..., 2)
        Reals, or real and imaginary parts.
    length : int, optional
        Of the signal, which is cut or filled up with zeros.
    axis : int, optional
        ``default_axis`` where not given.
    inverse, onesided : bool
        Forward and one-sided, half of a spectrum is returned; inverse and one-sided, reals of
        half of one. Inverse transforms are divided by the length.
    """
    place = default_axis if axis is None else _single(axis)
    rank = len(value.shape)
    place = axis_of(place, rank, "axis")
    if rank < 2 or place == rank - 1 or value.shape[-1] not in (1, 2):
        raise ValueError(
            f"DFT takes reals (..., 1) or pairs (..., 2) and an axis before the last, but got "
            f"{list(value.shape)} and axis {place}"
        )
    real = inverse and onesided
    count = value.shape[place] if length is None else _single(length)
    if length is None and real:
        count = 2 * (value.shape[place] - 1)
    _check_length(count)
    shape = list(value.shape)
    shape[place] = count // 2 + 1 if onesided and not inverse else count
    shape[-1] = 1 if real else 2
    allow(shape, value.dtype)

    def dft(source: Any) -> Any:
        numbers = _numbers(source)
        if real:
            found = np.fft.irfft(numbers, count, place)[..., None]
        elif inverse:
            found = _pairs(np.fft.ifft(numbers, count, place))
        else:
            found = _pairs(_forward(numbers, count, place, onesided))
        return found.astype(source.dtype, copy=False)

    return told_beforehand(dft, [(tuple(shape), value.dtype)], value)


def stft(
    value: Any, step: Any, window: Any = None, length: Any = None, *, onesided: bool
) -> Any:  # fmt: skip
    """Return Fourier transforms of frames of signals, each weighed by a window.

    Parameters
    ----------
    value : array of floats, shape (N, length, 1) or (N, length, 2)
    step : int
        From a frame to the next.
    window : array, shape (frame length,), optional
    length : int, optional
        Of a frame: the window's, else the signal's.

    Returns
    -------
    array, shape (N, frames, frequencies, 2)
    """
    if len(value.shape) != 3 or value.shape[-1] not in (1, 2):
        raise ValueError(f"STFT takes signals (N, length, 1 or 2), but got {list(value.shape)}")
    hop, whole = _single(step), value.shape[1]
    own = whole if window is None else window.shape[0]
    size = own if length is None else _single(length)
    if window is not None and tuple(window.shape) != (size,):
        raise ValueError(
            f"STFT's window must have the frame's length of {size}, but got {list(window.shape)}"
        )
    if hop < 1 or not 1 <= size <= whole:
        raise ValueError(
            f"STFT needs a step of at least 1 and frames of 1 to {whole}, but got {hop} and {size}"
        )
    frames = (whole - size) // hop + 1
    shape = (value.shape[0], frames, size // 2 + 1 if onesided else size, 2)
    allow(shape, value.dtype)
    allow((value.shape[0], frames, size, value.shape[2]), value.dtype)

    def stft(source: Any, *weights: Any) -> Any:
        every = np.lib.stride_tricks.sliding_window_view(_numbers(source), size, 1)[:, ::hop]
        if weights and weights[0] is not None:
            every = every * weights[0].astype(every.real.dtype, copy=False)
        found = _pairs(_forward(every, size, 2, onesided))
        return found.astype(source.dtype, copy=False)

    given = (value,) if window is None else (value, window)
    return told_beforehand(stft, [(shape, value.dtype)], *given)


def _forward(numbers: Array, count: int, axis: int, onesided: bool) -> Array:
    if onesided and numbers.dtype.kind != "c":
        return np.fft.rfft(numbers, count, axis)
    found = np.fft.fft(numbers, count, axis)
    if not onesided:
        return found
    key = [slice(None)] * found.ndim
    key[axis] = slice(count // 2 + 1)
    return found[tuple(key)]


def _numbers(source: Array) -> Array:
    """Return reals or complex numbers of what the last axis holds."""
    wide = source if source.dtype.name in _COMPLEX else source.astype(np.float32)
    if wide.shape[-1] == 1:
        return wide[..., 0]
    return np.ascontiguousarray(wide).view(_COMPLEX[wide.dtype.name])[..., 0]


def _pairs(found: Array) -> Array:
    real = np.float32 if found.dtype == np.complex64 else np.float64
    return np.ascontiguousarray(found)[..., None].view(real)


def _single(value: Any) -> int:
    return int(np.asarray(value).reshape(-1)[0])


def _check_length(count: int) -> None:
    if count < 1:
        raise ValueError(f"Invalid number of data points ({count}) specified for a DFT")


# Harris, On the use of windows for harmonic analysis with the discrete Fourier transform, 1978:
# what cosines of the angle's multiples are weighed by, the first one of none.
_WINDOWS = {"hann": (0.5, -0.5), "hamming": (25 / 46, -21 / 46), "blackman": (0.42, -0.5, 0.08)}


def signal_window(size: Any, *, kind: str, periodic: bool, dtype: Any) -> Any:
    """Return a window of a length, in float64 rounded once; a symmetric one of length 1 is 1."""
    count = _single(size)
    allow((count,), np.float64)
    if count == 1 and not periodic:
        return np.ones(1, dtype)
    angles = np.arange(count) * (2 * np.pi / (count if periodic else count - 1 or 1))
    first, *rest = _WINDOWS[kind]
    total = np.full(count, first)
    for number, weight in enumerate(rest, 1):
        total += weight * np.cos(number * angles)
    return total.astype(dtype)


def mel_weights(
    bins: Any, length: Any, rate: Any, lowest: Any, highest: Any, *, dtype: Any
) -> Any:  # fmt: skip
    """Return triangles over a spectrum's frequencies, evenly apart in mel, of height 1.

    Stevens, Volkmann, Newman, A scale for the measurement of the psychological magnitude pitch,
    1937.
    """
    count, size, per_second = (_single(v) for v in (bins, length, rate))
    ends = [float(np.asarray(v).reshape(-1)[0]) for v in (lowest, highest)]
    if count < 0 or size < 1 or per_second < 1:
        raise ValueError(
            f"MelWeightMatrix needs lengths and a sample rate above 0, but got {count} bins, a "
            f"dft_length of {size} and a sample rate of {per_second}"
        )
    rows = size // 2 + 1
    allow((rows, count), np.float64)
    low, high = (2595 * np.log10(1 + end / 700) for end in ends)
    mel = low + np.arange(count + 2) * ((high - low) / (count + 2))
    cells = np.floor((size + 1) * (700 * (10 ** (mel / 2595) - 1)) / per_second)
    if not (cells.min() >= 0 and cells[:-1].max() < rows and cells.max() <= rows):
        raise ValueError(
            f"MelWeightMatrix's edges of {ends[0]:g} and {ends[1]:g} Hz are outside a spectrum of "
            f"{rows} frequencies at a sample rate of {per_second}"
        )
    left, centre, right = cells[:-2], cells[1:-1], cells[2:]
    place = np.arange(rows)[:, None]
    rising = (place - left) / np.maximum(centre - left, 1)
    falling = (right - place) / np.maximum(right - centre, 1)
    found = np.where((place >= left) & (place <= centre), rising, 0.0)
    found = np.where((place >= centre) & (place < right), falling, found)
    alone = (left == centre) & (place == centre)
    return np.where(alone & (right == centre), 1.0, found).astype(dtype)


SIGNALS: dict[str, Callable[..., Any]] = {
    "dft": dft,
    "mel_weights": mel_weights,
    "signal_window": signal_window,
    "stft": stft,
}
