"""Arrays of more than 2^31 elements: every address is of 64 bits.

Inputs are memory that is promised and not there: pages that nobody touches cost nothing. So no
place beyond 2^31 bytes or elements is read but those that a wide stride meets.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from tests.libraries import COMPILED

Array = np.ndarray[Any, Any]
Told = Callable[[str, str, str], None]
NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
pytestmark = pytest.mark.skipif(
    not hasattr(mmap, "MAP_PRIVATE"), reason="memory cannot be promised here"
)


def promised(shape: tuple[int, ...], dtype: str) -> Array:
    """Give zeros that take no memory before they are written to."""
    size = prod(shape) * np.dtype(dtype).itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE
    return np.frombuffer(mmap.mmap(-1, size, flags=flags), dtype).reshape(shape)


def marked(
    shape: tuple[int, ...], steps: tuple[int, ...], dtype: str = "f4"
) -> tuple[Array, Array]:
    """Give zeros with a number at every place that strides meet, and these numbers alone."""
    x = promised(shape, dtype)
    x.flags.writeable = True
    met = x[tuple(slice(None, None, s) for s in steps)]
    met[...] = np.arange(1, met.size + 1).reshape(met.shape) % 113
    return x, met.copy()


# Images of 2^32 + elements: function, shape, stride, layout.
WIDE: dict[str, tuple[tuple[int, ...], tuple[int, ...], str]] = {
    "a line": ((1, 1, 2**32 + 7), (1, 1, 2**28), "NCW"),
    "a plane": ((1, 1, 2**16 + 1, 2**16), (1, 1, 2**12, 2**13), "NCHW"),
    "channels last": ((1, 2**12, 2**17, 9), (1, 2**9, 2**14, 1), "NHWC"),
    "channels": ((1, 2**5, 2**14, 2**13 + 1), (1, 1, 2**11, 2**12), "NCHW"),
    "images": ((33, 1, 2**13, 2**14 + 1), (1, 1, 2**11, 2**12), "NCHW"),
}
ONE = {"NCW": (1,), "NCHW": (1, 1), "NHWC": (1, 1)}


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("case", list(WIDE))
def test_places_beyond_32_bits(case: str, backend: str, told: Told) -> None:
    shape, steps, layout = WIDE[case]
    x, met = marked(shape, steps)
    last = layout == "NHWC"
    n = len(shape) - 2
    stride = steps[1:-1] if last else steps[2:]
    channels = shape[-1] if last else shape[1]
    options: dict[str, Any] = {"layout": layout, "backend": backend}
    tried = []
    eye = np.eye(channels, dtype="f4").reshape(channels, channels, *ONE[layout])
    for algorithm in ("direct", "im2col"):
        found = getattr(F, f"conv{n}d")(x, eye, stride=stride, algorithm=algorithm, **options)
        np.testing.assert_array_equal(found, met)
        tried.append(algorithm)
    for pool in ("max_pool", "avg_pool"):
        for algorithm in ("separable",):
            found = getattr(F, f"{pool}{n}d")(x, 1, stride, algorithm=algorithm, **options)
            np.testing.assert_array_equal(found, met)
            tried.append(pool)
    size = met.shape[1:-1] if last else met.shape[2:]
    if all(length % step == 0 for length, step in zip(shape, steps, strict=True)):
        found = F.interpolate(x, size=size, mode="nearest", **options)
        np.testing.assert_array_equal(found, met)
        tried.append("nearest")
    found = F.unfold(x, 1, stride=stride, **options) if n == 2 and not last else met
    np.testing.assert_array_equal(found.reshape(met.shape), met)
    assert x.size > 2**31
    told(
        "addresses have 64 bits",
        f"{case}: {list(shape)}, {x.size / 2**31:.1f} times 2^31 elements, on {backend}",
        f"{', '.join(tried)} exact",
    )


@pytest.mark.parametrize("backend", COMPILED)
def test_the_end_of_a_line_beyond_32_bits(backend: str) -> None:
    """Cut away all but the end: what is copied lies behind 2^32 elements."""
    length = 2**32 + 40
    x = promised((1, 1, length), "f4")
    x[0, 0, -64:] = np.arange(64)
    found = F.pad(x, (-(length - 50), 3), backend=backend)
    np.testing.assert_array_equal(found[0, 0], [*range(14, 64), 0, 0, 0])


def free_bytes() -> int:
    """Give the memory that is free, where the system tells."""
    path = Path("/proc/meminfo")
    if not path.exists():
        return 0
    lines = dict(line.split(":") for line in path.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


@pytest.mark.parametrize("backend", [b for b in COMPILED if b == "numba"])
def test_an_output_beyond_31_bits(
    backend: str, scale: Callable[[int, int], int], told: Told
) -> None:
    if scale(0, 1) == 0 or free_bytes() < 8 << 30:
        pytest.skip("full form: takes 4.3 GB of memory")
    height = 2**15 + 3
    x = np.arange(1, height + 1).astype("i1")[None, None, :, None]
    out = promised((1, 1, height, 2**16), "i1")
    out.flags.writeable = True
    F.interpolate(x, size=(height, 2**16), mode="nearest", backend=backend, out=out)
    np.testing.assert_array_equal(out[0, 0, :, ::4093], np.broadcast_to(x[0, 0], (height, 17)))
    largest = F.global_max_pool(out.reshape(1, 1, -1), backend=backend)
    assert int(largest) == 127
    told(
        "addresses have 64 bits",
        f"an output of 2^31 + {out.size - 2**31:,} bytes resized to, and pooled",
        "exact",
    )
