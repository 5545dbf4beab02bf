"""The planar convolution on every library: edges of tiles, lines and chunks, the same sums."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv.functional as F
from fastconv.backends.native.conv import planar
from fastconv.dispatch.registry import backend_available
from fastconv.machine import available_isas, get_machine
from tests.exact import assert_drawn_exact, assert_exact, assert_stays_in_windows
from tests.libraries import ISAS
from tests.planes import assert_same_bits

BACKENDS = [name for name in ("numba", "c") if backend_available(name)]
needs_c = pytest.mark.skipif(not backend_available("c"), reason="the extension was not built")


@st.composite
def planar_cases(draw: Any) -> dict[str, Any]:
    """Draw a convolution of one or two dimensions, around the edges of tiles."""
    n = draw(st.sampled_from((1, 2, 2)))
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    per_group = draw(st.sampled_from((1, 1, 2, 5)))
    # One to two tiles of any shape.
    out = groups * draw(st.integers(1, 25))
    kernel = [draw(st.sampled_from((1, 1, 2, 3, 5))) for _ in range(n)]
    dilation = [draw(st.sampled_from((1, 1, 2, 3))) for _ in range(n)]
    padding = [draw(st.integers(0, 4)) for _ in range(n)]
    stride = [draw(st.integers(1, 10)) for _ in range(n)]
    size = [d * (k - 1) + draw(st.integers(1, 70)) for k, d in zip(kernel, dilation, strict=True)]
    modes = ["zeros", "zeros", "replicate"]
    if all(p < s for p, s in zip(padding, size, strict=True)):
        modes += ["reflect", "circular"]
    activation = st.sampled_from((None, "relu", "relu6", ("leaky_relu", 0.5), "hardtanh"))
    return {
        "n": n,
        "input": (draw(st.integers(1, 2)), groups * per_group, *size),
        "weight": (out, per_group, *kernel),
        "options": {
            "stride": tuple(stride),
            "padding": tuple(padding),
            "dilation": tuple(dilation),
            "padding_mode": draw(st.sampled_from(modes)),
            "groups": groups,
            "activation": draw(activation),
        },
        "bias": draw(st.booleans()),
        "residual": draw(st.booleans()),
        "dtype": draw(st.sampled_from(("float32", "float64"))),
    }


@needs_c
@pytest.mark.parametrize("isa", ISAS)
def test_drawn_problems_are_exact_at_every_instruction_set(
    isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_drawn_exact(isa, planar_cases(), "planar", monkeypatch)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=10, deadline=None)
@given(case=planar_cases())
def test_drawn_problems_are_exact(backend: str, case: dict[str, Any]) -> None:
    assert_exact(case, "planar", backend)


@needs_c
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_tile_covers_whole_and_ragged_edges(
    isa: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTCONV_ISA", isa)
    for out in (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 24):
        for width in (1, 15, 16, 17, 33, 129):
            for kernel in (1, 3):
                assert_exact(
                    {
                        "n": 2,
                        "input": (1, 2, 5, width),
                        "weight": (out, 2, kernel, kernel),
                        "options": {"padding": kernel // 2},
                        "bias": True,
                        "residual": width == 17,
                        "dtype": dtype,
                    },
                    "planar",
                    "c",
                )


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_not_finite_stays_in_its_windows(backend: str) -> None:
    assert_stays_in_windows("planar", backend, (7, 3, 3, 3))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_bits_depend_neither_on_batch_nor_on_threads(backend: str, stride: int) -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((5, 3, 40, 37)).astype("f4")
    w = rng.standard_normal((13, 3, 5, 5)).astype("f4")
    how: dict[str, Any] = {"backend": backend, "algorithm": "planar", "stride": stride}
    assert_same_bits(lambda v: F.conv2d(v, w, padding=2, **how), x)


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("stride", [1, 2])
def test_copied_panels_are_exact(isa: str, stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCONV_ISA", isa)
    machine = get_machine()
    figures = dataclasses.replace(machine.figures, panel_tiles=(1, 1))
    monkeypatch.setattr(planar, "FEWEST_PANEL_BYTES", 1)
    monkeypatch.setattr(
        planar, "get_machine", lambda: dataclasses.replace(machine, figures=figures)
    )
    # Not those of other tests, whose plans are kept.
    for out, width in ((1, 17), (5, 35), (13, 131), (26, 66)):
        case = {
            "n": 2,
            "input": (1, 19, 7, width),
            "weight": (2 * out, 19, 1, 1),
            "options": {"stride": stride},
            "bias": True,
            "residual": width == 35,
            "dtype": "float32",
        }
        for backend in BACKENDS:
            assert_exact(case, "planar", backend)
