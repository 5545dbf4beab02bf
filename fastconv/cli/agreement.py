"""How far two engines' values of one name are apart, and whether that is within tolerance."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# Cells that are converted to float64 at one time.
_CHUNK = 1 << 20
# Cells beyond this part of a dtype's range stand for infinity, as masks' do: they have no part in
# the deviation, which they would hide all others behind.
_PRACTICALLY_INFINITE = 1e-3


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """What errors are allowed: ``rtol`` and ``atol`` as given, or where None by dtype.

    ``coarsest`` is the epsilon of the coarsest values that these stem from, and ``step`` what
    integers may differ by.
    """

    rtol: float | None = None
    atol: float | None = None
    coarsest: float = 0.0
    step: int = 0

    def of(self, dtype: np.dtype[Any], deviation: float) -> tuple[float, float]:
        """Return rtol and atol for values of a dtype and a standard deviation.

        By default half of the digits count: rtol is the square root of the coarsest epsilon, and
        atol that part of the deviation (where all values are the same, epsilon).
        """
        own = epsilon(dtype)
        eps = 0.0 if own is None else max(own, self.coarsest)
        rtol = eps**0.5 if self.rtol is None else self.rtol
        if self.atol is not None:
            return rtol, self.atol
        if own is None:
            return rtol, float(self.step)
        return rtol, rtol * deviation if deviation > 0 else eps


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Whether two values agree, and their errors where they are numbers.

    Errors and the deviation are over cells where both are finite, the deviation that of the
    expected value; ``rtol`` and ``atol`` are those that counted. ``note`` says what no error shows.
    """

    agrees: bool
    shape: tuple[int, ...] | None = None
    dtype: str = ""
    max_error: float | None = None
    mean_error: float | None = None
    deviation: float | None = None
    rtol: float | None = None
    atol: float | None = None
    note: str = ""

    @property
    def max_relative(self) -> float | None:
        """The largest error over the deviation; None where there is none."""
        return _over(self.max_error, self.deviation)

    @property
    def mean_relative(self) -> float | None:
        """The mean error over the deviation; None where there is none."""
        return _over(self.mean_error, self.deviation)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for programs."""
        own = dataclasses.asdict(self)
        own.update(max_relative=self.max_relative, mean_relative=self.mean_relative)
        # JSON has no infinities.
        numbers = (k for k, v in own.items() if isinstance(v, float) and not np.isfinite(v))
        return {**own, **dict.fromkeys(numbers)}


def compare_values(own: Any, expected: Any, tolerance: Tolerance) -> Agreement:
    """Compare two values: arrays, strings, sequences (lists), maps (dicts) or None.

    NaN agrees with NaN, and an infinity with the same. Shapes and dtypes have to be the same.
    """
    kinds = [_kind(value) for value in (own, expected)]
    if kinds[0] != kinds[1]:
        return Agreement(False, note=f"{kinds[0]} against {kinds[1]}")
    if kinds[0] == "nothing":
        return Agreement(True, note="nothing in both")
    if kinds[0] == "a map":
        return _compare_maps(own, expected, tolerance)
    if kinds[0] == "a sequence":
        return _compare_sequences(own, expected, tolerance)
    first, second = np.asarray(own), np.asarray(expected)
    if second.dtype in (np.uint8, np.uint16) and epsilon(first.dtype) is not None:
        # Some engines return the bits of floats that NumPy does not know.
        same = first.dtype.kind not in "fc" and first.dtype.itemsize == second.dtype.itemsize
        second = second.view(first.dtype) if same else second
    if first.shape != second.shape:
        return Agreement(
            False, second.shape, _name(second.dtype),
            note=f"shape {list(first.shape)} against {list(second.shape)}",
        )  # fmt: skip
    if _name(first.dtype) != _name(second.dtype):
        note = f"{_name(first.dtype)} against {_name(second.dtype)}"
        return Agreement(False, second.shape, _name(second.dtype), note=note)
    if first.dtype.kind in "OUS":
        count = sum(a != b for a, b in zip(first.flat, second.flat, strict=True))
        note = "equal" if not count else f"{count} of {first.size} differ"
        return Agreement(not count, second.shape, "string", note=note)
    return _compare_numbers(first, second, tolerance)


def epsilon(dtype: np.dtype[Any]) -> float | None:
    """Return a float dtype's distance from 1 to the next number; None for other dtypes."""
    if dtype.kind in "fc":
        return float(np.finfo(dtype).eps)
    if dtype.kind in "biuOUSMm":
        return None
    try:
        import ml_dtypes
    except ImportError:
        return None
    info: Any = ml_dtypes.finfo
    try:
        return float(info(dtype).eps)
    except (ValueError, TypeError):
        return None


def _compare_numbers(own: Array, expected: Array, tolerance: Tolerance) -> Agreement:
    deviation = _deviation(expected)
    rtol, atol = tolerance.of(expected.dtype, deviation)
    largest, total, counted, beyond, misplaced = 0.0, 0.0, 0, 0, 0
    for a, b, unequal in _chunks(own, expected):
        with np.errstate(all="ignore"):
            finite = np.isfinite(a) & np.isfinite(b)
            misplaced += int(np.count_nonzero(unequal & ~finite))
            sizes = np.abs(b[finite])
            errors = np.abs(a[finite] - b[finite])
            if own.dtype.kind in "biu":
                # 64-bit integers may become the same float64.
                errors = np.maximum(errors, unequal[finite])
        if errors.size:
            largest = max(largest, float(errors.max()))
            total += float(errors.sum())
            counted += errors.size
            beyond += int(np.count_nonzero(errors > atol + rtol * sizes))
    notes = []
    if misplaced:
        notes.append(f"NaN or infinities differ in {misplaced} of {own.size} places")
    if beyond:
        notes.append(f"{beyond} of {own.size} beyond tolerance")
    return Agreement(
        not notes,
        expected.shape,
        _name(expected.dtype),
        largest,
        total / counted if counted else 0.0,
        deviation,
        rtol,
        atol,
        "; ".join(notes),
    )


def _chunks(own: Array, expected: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Yield parts of both as float64 or complex128, and where they are unequal."""
    first, second = own.reshape(-1), expected.reshape(-1)
    wide = np.complex128 if own.dtype.kind == "c" else np.float64
    for start in range(0, first.size, _CHUNK):
        a, b = (values[start : start + _CHUNK] for values in (first, second))
        x, y = a.astype(wide), b.astype(wide)
        unequal = a != b if own.dtype.kind in "biu" else (x != y) & ~(np.isnan(x) & np.isnan(y))
        yield x, y, unequal


def _deviation(values: Array) -> float:
    """Return the standard deviation of the finite values; 0 where there are none."""
    flat = values.reshape(-1)
    parts = range(0, flat.size, _CHUNK)
    top, total, count = 0.0, 0.0 + 0.0j, 0
    limit = _PRACTICALLY_INFINITE * _largest(values.dtype)

    def part(start: int) -> Array:
        wide = np.complex128 if values.dtype.kind == "c" else np.float64
        found: Array = flat[start : start + _CHUNK].astype(wide)
        with np.errstate(all="ignore"):
            return found[np.abs(found) < limit]

    for start in parts:
        held = part(start)
        top = max(top, float(np.abs(held).max(initial=0.0)))
        count += held.size
    if not count or top == 0:
        return 0.0
    # Scaled, so that no square overflows.
    for start in parts:
        total += complex((part(start) / top).sum())
    mean = total / count if values.dtype.kind == "c" else (total / count).real
    squares = sum(float((np.abs(part(start) / top - mean) ** 2).sum()) for start in parts)
    return float(top * (squares / count) ** 0.5)


def _largest(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).max) if dtype.kind in "fc" else np.inf


def _compare_sequences(
    own: Sequence[Any], expected: Sequence[Any], tolerance: Tolerance
) -> Agreement:
    if len(own) != len(expected):
        return Agreement(False, note=f"{len(own)} elements against {len(expected)}")
    for place, (a, b) in enumerate(zip(own, expected, strict=True)):
        found = compare_values(a, b, tolerance)
        if not found.agrees:
            return dataclasses.replace(found, note=f"element {place}: {found.note}")
    return Agreement(True, note=f"{len(own)} elements agree")


def _compare_maps(
    own: Mapping[Any, Any], expected: Mapping[Any, Any], tolerance: Tolerance
) -> Agreement:
    if set(own) != set(expected):
        return Agreement(False, note="other keys")
    keys = list(expected)
    found = _compare_sequences([own[k] for k in keys], [expected[k] for k in keys], tolerance)
    return found if not found.agrees else Agreement(True, note=f"{len(keys)} keys agree")


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a map"
    return "a sequence" if isinstance(value, (list, tuple)) else "an array"


def _name(dtype: np.dtype[Any]) -> str:
    return "string" if dtype.kind in "OUS" else str(dtype.name)


def _over(error: float | None, deviation: float | None) -> float | None:
    return error / deviation if error is not None and deviation else None
