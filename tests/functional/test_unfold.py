"""unfold and fold against PyTorch, over drawn options."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as torch_f
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv.functional as F
from tests.libraries import BACKENDS
from tests.tolerance import poisoned, small_integers

COMMON = settings(max_examples=80, deadline=None)


@st.composite
def cases(draw: Any) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """Draw an image's shape and (kernel, dilation, padding, stride)."""
    kernel = [draw(st.integers(1, 4)) for _ in range(2)]
    dilation = [draw(st.integers(1, 3)) for _ in range(2)]
    padding = [draw(st.integers(0, 3)) for _ in range(2)]
    stride = [draw(st.integers(1, 4)) for _ in range(2)]
    size = [
        max(1, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 10))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *size)
    return shape, (kernel, dilation, padding, stride)


@COMMON
@given(cases(), st.sampled_from(BACKENDS), st.sampled_from(("float32", "float64", "complex128")))
def test_unfold_and_fold_are_torch_s(case: Any, backend: str, dtype: str) -> None:
    shape, options = case
    x = small_integers(np.random.default_rng(0), shape, dtype)
    columns = torch_f.unfold(torch.from_numpy(x), *options)
    image = torch_f.fold(columns, shape[2:], *options).numpy()
    fold_backend = "reference" if dtype == "complex128" else backend
    for moved, layout in ((False, "NCHW"), (True, "NHWC")):
        given_x = np.moveaxis(x, 1, -1) if moved else x
        out = poisoned(columns.shape, dtype)
        assert F.unfold(given_x, *options, layout=layout, backend=backend, out=out) is out
        np.testing.assert_array_equal(out, columns.numpy())
        expected = np.moveaxis(image, 1, -1) if moved else image
        into = poisoned(expected.shape, dtype)
        F.fold(out, shape[2:], *options, layout=layout, backend=fold_backend, out=into)
        np.testing.assert_array_equal(into, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_unbatched(backend: str) -> None:
    x = small_integers(np.random.default_rng(0), (3, 6, 7), np.float32)
    columns = F.unfold(x, 3, padding=1, backend=backend)
    np.testing.assert_array_equal(columns, F.unfold(x[None], 3, padding=1)[0])
    image = F.fold(columns, (6, 7), 3, padding=1, backend=backend)
    assert image.shape == (3, 6, 7)
    np.testing.assert_array_equal(image, F.fold(columns[None], (6, 7), 3, padding=1)[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_in_all_its_spellings(backend: str) -> None:
    x = small_integers(np.random.default_rng(0), (1, 2, 5, 6), np.float32)
    pairs = ((1, 2), (0, 3))
    padded = np.pad(x, ((0, 0), (0, 0), *pairs))
    expected = torch_f.unfold(torch.from_numpy(padded), 3, stride=2).numpy()
    result = F.unfold(x, 3, padding=pairs, stride=2, backend=backend)
    np.testing.assert_array_equal(result, expected)
    whole = torch_f.fold(torch.from_numpy(expected), padded.shape[2:], 3, stride=2).numpy()
    image = F.fold(result, (5, 6), 3, padding=pairs, stride=2, backend=backend)
    np.testing.assert_array_equal(image, whole[:, :, 1:6, :6])
    assert F.unfold(x, 3, padding="same", stride=2).shape == (1, 18, 9)


def test_sums_are_exact_in_wider_types() -> None:
    small = np.full((1, 9, 49), 127, np.int8)
    result = F.fold(small, 9, 3)
    assert result.dtype == np.int32
    assert result.max() == 9 * 127
    for dtype in (np.float16, ml_dtypes.bfloat16):
        # 2048 + 1 is lost in float16, and 256 + 1 in bfloat16, unless the sum is wider.
        big = np.ones((1, 4, 1), np.float32)
        big[0, 0] = 2048
        columns = big.repeat(4, axis=2).astype(dtype)
        total = F.fold(columns, 3, 2)[0, 0, 1, 1]
        assert total == np.array(2051).astype(dtype)


def test_empty_batch() -> None:
    assert F.unfold(np.zeros((0, 2, 5, 5)), 3).shape == (0, 18, 9)
    assert F.fold(np.zeros((0, 18, 9)), 5, 3).shape == (0, 2, 5, 5)


def test_refusals_name_the_shapes() -> None:
    with pytest.raises(ValueError, match=r"Expected 3D \(unbatched\) or 4D \(batched\) input"):
        F.unfold(np.zeros((5, 5)), 3)
    with pytest.raises(ValueError, match=r"Expected 2D \(unbatched\) or 3D \(batched\) input"):
        F.fold(np.zeros(5), 3, 3)
    with pytest.raises(ValueError, match="out must have shape"):
        F.unfold(np.zeros((1, 1, 5, 5)), 3, out=np.zeros((1, 9, 8)))
