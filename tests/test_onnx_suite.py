"""Every one of onnx's backend tests passes, or is in the list of gaps."""

from __future__ import annotations

import unittest
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="these are onnx's tests")

from tests import onnx_suite
from tests.onnx_gaps import GAPS, gap, is_random

NAMES = {
    name: test
    for group, tests in onnx_suite.groups().items()
    for name, test in tests.items()
    if group != "Real" or name in onnx_suite.QUICK_NETWORKS
}


@pytest.mark.parametrize("name", sorted(name for name in NAMES if not is_random(name)))
@pytest.mark.filterwarnings("ignore::RuntimeWarning:onnx", "ignore::DeprecationWarning:onnx")
def test_backend(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where the runner keeps what it makes of the light networks.
    monkeypatch.setenv("ONNX_HOME", str(tmp_path))
    monkeypatch.delenv("ONNX_MODELS", raising=False)
    if gap(name) is None:
        NAMES[name]()
        return
    with pytest.raises((ValueError, TypeError, AssertionError, unittest.SkipTest)):
        NAMES[name]()


@pytest.mark.parametrize("name", sorted(filter(is_random, NAMES)))
def test_draws_of_random_numbers_have_shape_and_dtype(name: str) -> None:
    from fastconv.formats.onnx.backend import prepare

    case = onnx_suite.models()[name]
    for inputs, outputs in case.data_sets:
        for result, wanted in zip(prepare(case.model).run(inputs), outputs, strict=True):
            assert (result.shape, result.dtype) == (wanted.shape, wanted.dtype)
            assert set(np.unique(result).tolist()) <= {0.0, 1.0}


def test_every_gap_is_one() -> None:
    assert {reason for _, reason in GAPS} == {gap(name) for name in NAMES} - {None}


def test_nearly_all_of_the_suite_passes() -> None:
    passing = [name for name in NAMES if gap(name) is None and not is_random(name)]
    assert len(passing) >= 2015


def test_the_page_lists_the_operators_and_the_gaps_as_they_are() -> None:
    import onnx

    from tests.onnx_report import DOC, operators

    page = DOC.read_text(encoding="utf-8")
    if f"(onnx {onnx.__version__})" not in page:
        pytest.skip(f"the page was not written with onnx {onnx.__version__}")
    assert "\n".join(operators()) in page
    for name in NAMES:
        assert (f"`{name}`:" in page) == (gap(name) is not None or is_random(name)), name
