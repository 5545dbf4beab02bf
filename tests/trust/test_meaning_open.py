"""What others leave open, as DESIGN's table and docs/semantics.md settle it, on every backend.

Each case is worked out here by its definition, with loops, and not by fastconv's reference.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastconv.functional as F
from fastconv import nn
from tests.libraries import BACKENDS

Array = np.ndarray[Any, Any]
EVERY = pytest.mark.parametrize("backend", [None, *BACKENDS])
INDICES = {"return_indices": True}
SAYS = "what others leave open"


def served(backend: str | None, function: Any, *arguments: Any, **options: Any) -> Array | None:
    """Call a backend; None where it says that it has no kernel for this."""
    try:
        return np.asarray(function(*arguments, **options, backend=backend))
    except ValueError as error:
        if backend in (None, "reference") or "cannot run as asked" not in str(error):
            raise
        return None


@EVERY
def test_same_with_any_stride(backend: str | None, scale: Any, told: Callable[..., None]) -> None:
    rng, count = np.random.default_rng(0), 0
    sizes = range(1, scale(8, 14))
    for size, k, s, d in itertools.product(sizes, (1, 2, 3, 4), (1, 2, 3), (1, 2)):
        x, w = rng.integers(-4, 5, size).astype("f4"), rng.integers(-4, 5, k).astype("f4")
        length = -(-size // s)
        total = max(0, (length - 1) * s + d * (k - 1) + 1 - size)
        padded = np.pad(x, (total // 2, total - total // 2))
        want = [sum(padded[i * s + t * d] * w[t] for t in range(k)) for i in range(length)]
        options = {"stride": s, "padding": "same", "dilation": d}
        got = served(backend, F.conv1d, x[None, None], w[None, None], **options)
        assert got is not None
        np.testing.assert_array_equal(got[0, 0], want, f"{size} {k} {s} {d}")
        count += 1
    told(SAYS, f'"same" with strides, on {backend or "what is chosen"}', f"{count:,} equal")


@EVERY
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_nan_wins_in_a_max_pool_and_padding_never(backend: str | None, dtype: str) -> None:
    rng = np.random.default_rng(1)
    x = -1 - rng.random((2, 3, 9, 37)).astype(dtype)
    x[0, 1, 4, 20], x[1, 2, 0, 0] = np.nan, -np.inf
    for layout in ("NCHW", "NHWC"):
        given = x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
        got = served(backend, F.max_pool2d, given, 3, 1, 1, layout=layout)
        if got is None:
            return
        assert got.dtype == dtype
        got, wide = got.astype("f8"), x.astype("f8")
        got = got if layout == "NCHW" else np.moveaxis(got, -1, 1)
        for place in itertools.product(range(2), range(3), range(9), range(37)):
            n, c, i, j = place
            window = wide[n, c, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
            # Padding of zeros would be above all that is here.
            want = np.nan if np.isnan(window).any() else window.max()
            np.testing.assert_array_equal(got[place], want, f"{place}")


@EVERY
@pytest.mark.parametrize("dtype", ["float32", "int8", "int32"])
def test_ties_give_the_first_index_and_the_least_number_is_chosen(
    backend: str | None, dtype: str
) -> None:
    least = -np.inf if dtype == "float32" else np.iinfo(dtype).min
    x = np.full((1, 1, 5, 6), least, dtype)
    x[0, 0, 2:, 2:] = 7
    both = served(backend, lambda **options: F.max_pool2d(x, 2, 1, 1, **options), **INDICES)
    if both is None:
        return
    values, indices = both
    for i, j in itertools.product(range(6), range(7)):
        rows, columns = range(max(0, i - 1), min(5, i + 1)), range(max(0, j - 1), min(6, j + 1))
        cells = list(itertools.product(rows, columns))
        best = max(x[0, 0][cell] for cell in cells)
        first = next(cell for cell in cells if x[0, 0][cell] == best)
        assert (values[0, 0, i, j], indices[0, 0, i, j]) == (best, first[0] * 6 + first[1])


@EVERY
def test_means_of_windows_that_ceil_mode_cuts(backend: str | None, scale: Any) -> None:
    sizes = range(1, scale(8, 14))
    for size, k, s, p, counted in itertools.product(
        sizes, (1, 2, 3, 4), (1, 2, 3, 5), (0, 1, 2), (True, False)
    ):
        if p > k // 2 or size + 2 * p < k:
            continue
        x = np.arange(1, size + 1).astype("f8")
        want, start = [], -p
        # A window starts in the image or in the padding before it, and is cut at the padding.
        while start + k <= size + p or (start < size and start - s + k < size + p):
            cells = [t for t in range(start, start + k) if 0 <= t < size]
            inside = [t for t in range(start, start + k) if t < size + p]
            want.append(sum(x[cells]) / (len(inside) if counted else len(cells)))
            start += s
        options = {"ceil_mode": True, "count_include_pad": counted}
        got = served(backend, F.avg_pool1d, x[None, None], k, s, p, **options)
        assert got is not None
        assert got.shape[2] == len(want), (size, k, s, p)
        np.testing.assert_allclose(got[0, 0], want, rtol=1e-14, err_msg=f"{size} {k} {s} {p}")


@EVERY
@pytest.mark.parametrize("p", [1, 2, 3, 5, 1.5, np.inf])
def test_lp_pools_take_sizes(backend: str | None, p: float) -> None:
    x = np.random.default_rng(2).standard_normal((2, 3, 8, 19))
    windows = np.lib.stride_tricks.sliding_window_view(np.abs(x), (3, 3), axis=(2, 3))
    flat = windows.reshape(*windows.shape[:4], 9)
    want = flat.max(-1) if np.isinf(p) else (flat**p).sum(-1) ** (1 / p)
    for dtype, rtol in (("float64", 1e-13), ("float32", 1e-5)):
        got = served(backend, F.lp_pool2d, x.astype(dtype), p, 3, 1)
        if got is not None:
            np.testing.assert_allclose(got, want, rtol=rtol)


@EVERY
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_halves_are_summed_in_float32(backend: str | None, dtype: Any) -> None:
    # Each ends in a number that the dtype holds; sums of the dtype's own stop long before.
    x = np.ones((1, 96, 6, 8), dtype)
    w = np.ones((4, 96, 3, 3), dtype)
    got = served(backend, F.conv2d, x, w)
    if got is not None:
        np.testing.assert_array_equal(got.astype("f8"), np.full(got.shape, 864.0))
    got = served(backend, F.linear, np.ones((3, 4096), dtype), np.ones((5, 4096), dtype))
    if got is not None:
        np.testing.assert_array_equal(got.astype("f8"), np.full((3, 5), 4096.0))
    got = served(backend, F.avg_pool2d, np.full((1, 8, 64, 64), 1.5, dtype), 64)
    if got is not None:
        np.testing.assert_array_equal(got.astype("f8"), np.full((1, 8, 1, 1), 1.5))


@EVERY
@pytest.mark.parametrize(
    ("dtype", "sums"),
    [("int8", "int32"), ("int16", "int32"), ("int32", "int64"), ("uint8", "int64")],
)
def test_integers_are_exact(backend: str | None, dtype: str, sums: str) -> None:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(3)
    # Products of int16 fill int32 by themselves.
    channels, most = (1, min(limits.max, 8191)) if dtype == "int16" else (7, limits.max)
    x = rng.integers(max(limits.min, -most), most, (2, channels, 6, 7)).astype(dtype)
    w = rng.integers(max(limits.min, -most), most, (3, channels, 2, 2)).astype(dtype)
    got = served(backend, F.conv2d, x, w)
    if got is None:
        return
    want = np.zeros((2, 3, 5, 6), object)
    for o, c, i, j in itertools.product(range(3), range(channels), range(2), range(2)):
        want[:, o] += x[:, c, i : i + 5, j : j + 6].astype(object) * int(w[o, c, i, j])
    assert got.dtype == sums
    # int64 wraps; nothing else may.
    full = 2 ** (8 * got.dtype.itemsize)
    want = (want + full // 2) % full - full // 2
    np.testing.assert_array_equal(got, want.astype(sums))


@EVERY
def test_an_empty_batch_is_empty_and_an_empty_image_an_error(backend: str | None) -> None:
    empty = np.zeros((0, 3, 8, 9), "f4")
    w = np.zeros((5, 3, 3, 3), "f4")
    for got, shape in (
        (F.conv2d(empty, w, backend=backend), (0, 5, 6, 7)),
        (F.max_pool2d(empty, 2, backend=backend), (0, 3, 4, 4)),
        (F.avg_pool2d(empty, 2, backend=backend), (0, 3, 4, 4)),
        (F.relu(empty, backend=backend), empty.shape),
        (F.interpolate(empty, scale_factor=2, backend=backend), (0, 3, 16, 18)),
        (F.linear(empty, np.zeros((4, 9), "f4"), backend=backend), (0, 3, 8, 4)),
    ):
        assert np.shape(got) == shape
    for side in ((0, 9), (8, 0)):
        x = np.zeros((2, 3, *side), "f4")
        for function, *rest in ((F.conv2d, w), (F.max_pool2d, 2), (F.avg_pool2d, 2)):
            with pytest.raises(ValueError, match=r"(?i)expected|size"):
                function(x, *rest, backend=backend)


LAYERS: list[tuple[Any, tuple[int, ...]]] = [
    (lambda: nn.Conv2d(3, 4, 3), (3, 8, 9)),
    (lambda: nn.ConvTranspose2d(3, 4, 3, 2), (3, 8, 9)),
    (lambda: nn.MaxPool2d(2), (3, 8, 9)),
    (lambda: nn.AvgPool1d(2), (3, 9)),
    (lambda: nn.AvgPool3d(2), (3, 4, 5, 6)),
    (lambda: nn.LPPool2d(2, 2), (3, 8, 9)),
    (lambda: nn.AdaptiveAvgPool2d(3), (3, 8, 9)),
    (lambda: nn.AdaptiveMaxPool3d(2), (3, 4, 5, 6)),
    (lambda: nn.InstanceNorm1d(3), (3, 9)),
    (lambda: nn.InstanceNorm2d(3, affine=True, track_running_stats=True), (3, 8, 8)),
    (lambda: nn.InstanceNorm3d(3), (3, 4, 4, 4)),
    (lambda: nn.ReflectionPad2d(1), (3, 8, 9)),
    (lambda: nn.CircularPad3d(1), (3, 4, 5, 6)),
    (lambda: nn.Unfold(3), (3, 8, 9)),
    (lambda: nn.Fold((4, 4), 3), (27, 4)),
    (lambda: nn.Softmax2d(), (3, 8, 9)),
]


def test_an_image_without_a_batch_is_a_batch_of_one() -> None:
    rng = np.random.default_rng(4)
    for make, shape in LAYERS:
        layer, x = make(), rng.standard_normal(shape).astype("f4")
        np.testing.assert_array_equal(layer(x), layer(x[None])[0], f"{layer}")
    for layer in (nn.InstanceNorm2d(3), nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)):
        with pytest.raises(ValueError, match="input"):
            layer(np.ones((8, 9), "f4"))


@EVERY
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "weighted_pool2d"])
def test_an_empty_stride_is_the_kernels(name: str, backend: str | None) -> None:
    x = np.random.default_rng(5).standard_normal((1, 2, 9, 9)).astype("f4")
    pool = getattr(F, name)
    for stride in ((), []):
        got = pool(x, (2, 3), stride, backend=backend)
        np.testing.assert_array_equal(got, pool(x, (2, 3), backend=backend))


def arrays(x: Array) -> dict[str, Array]:
    """Return the same numbers in all the layouts that arrays may have."""
    flipped = np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    apart = np.repeat(x, 2, axis=-1)[..., ::2]
    memory = np.zeros(x.nbytes + 1, np.uint8)
    unaligned = memory[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    locked = x.copy()
    locked.flags.writeable = False

    class Other(np.ndarray):  # type: ignore[type-arg]
        pass

    return {
        "backwards": flipped, "apart": apart, "unaligned": unaligned, "locked": locked,
        "Fortran": np.asfortranarray(x), "swapped": x.astype(x.dtype.newbyteorder()),
        "subclass": x.view(Other),
    }  # fmt: skip


@EVERY
def test_arrays_may_lie_as_they_like(backend: str | None) -> None:
    rng = np.random.default_rng(6)
    x, w = rng.standard_normal((2, 3, 8, 9)), rng.standard_normal((4, 3, 3, 3))
    calls: tuple[Callable[[Array], Array], ...] = (
        lambda x: F.conv2d(x, w.astype(x.dtype.newbyteorder("=")), padding=1, backend=backend),
        lambda x: np.asarray(F.max_pool2d(x, 3, 2, 1, backend=backend)),
        lambda x: F.group_norm(x, 3, backend=backend),
    )
    for call in calls:
        want = call(x)
        for name, given in arrays(x).items():
            before = np.array(given)
            got = call(given)
            assert type(got) is np.ndarray
            assert got.flags.c_contiguous
            np.testing.assert_array_equal(got, want, name)
            np.testing.assert_array_equal(np.array(given), before, name)
