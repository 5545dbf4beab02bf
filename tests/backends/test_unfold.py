"""Kernels of unfold and fold: the same bits for any batch and any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.backends.native import arena
from fastconv.dispatch.registry import backend_available
from tests.libraries import ISAS
from tests.tolerance import poisoned

BACKENDS = [name for name in ("numba", "c") if backend_available(name)]

OPTIONS = [
    {"kernel_size": 3},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (2, 5), "padding": (0, 4), "stride": (3, 2)},
    {"kernel_size": (11, 13)},
    {"kernel_size": 2, "dilation": 5, "padding": 3, "stride": 7},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_bits_do_not_depend_on_batch_or_threads(
    options: dict[str, Any], layout: str, backend: str
) -> None:
    x = np.random.default_rng(7).standard_normal((2, 5, 11, 13)).astype(np.float32)
    x = x if layout == "NCHW" else np.moveaxis(x, 1, -1)
    threads = fastconv.get_num_threads()
    try:
        results = []
        for count in (1, 3):
            fastconv.set_num_threads(count)
            columns = F.unfold(x, **options, layout=layout, backend=backend)
            image = F.fold(columns, (11, 13), **options, layout=layout, backend=backend)
            results.append(columns.tobytes() + image.tobytes())
    finally:
        fastconv.set_num_threads(threads)
    assert results[0] == results[1]
    one = F.fold(columns[1:], (11, 13), **options, layout=layout, backend=backend)
    assert one.tobytes() == image[1:].tobytes()
    np.testing.assert_array_equal(
        columns, F.unfold(x, **options, layout=layout, backend="reference")
    )
    wide = F.fold(
        columns.astype(np.float64), (11, 13), **options, layout=layout, backend="reference"
    )
    taps = np.prod(np.broadcast_to(options["kernel_size"], 2))
    bound = np.finfo(np.float32).eps * taps * float(np.abs(wide).max())
    np.testing.assert_allclose(image, wide, rtol=0, atol=bound)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.skipif("c" not in BACKENDS, reason="the extension was not built")
def test_every_instruction_set_gives_the_same_sums(
    dtype: str, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 11, 39
    for options in OPTIONS:
        for layout in ("NCHW", "NHWC"):
            shape = (2, 5, *size) if layout == "NCHW" else (2, *size, 5)
            columns = F.unfold(np.zeros(shape, dtype), **options, layout=layout)
            columns = np.random.default_rng(1).standard_normal(columns.shape).astype(dtype)
            how = {**options, "layout": layout}
            expected = F.fold(columns, size, **how, backend=BACKENDS[0])
            memory = poisoned(expected.size + 64, dtype)
            out = memory[32:-32].reshape(shape)
            with monkeypatch.context() as patch:
                patch.setenv("FASTCONV_ISA", isa)
                arena.take(1 << 16)
                arena.poison()
                F.fold(columns, size, **how, backend="c", out=out)
            assert out.tobytes() == expected.tobytes()
            assert np.isnan(memory[:32]).all()
            assert np.isnan(memory[-32:]).all()
