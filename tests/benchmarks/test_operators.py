"""The comparison of operators: its cases are valid models, and it tells wrong answers."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from benchmarks.operator_cases import Case, cases  # noqa: E402
from benchmarks.operators import disagreement  # noqa: E402


def test_cases_are_valid_models_with_names_of_their_own() -> None:
    names = []
    for case in cases():
        names.append(case.name)
        onnx.checker.check_model(onnx.load_from_string(case.model()))
    assert len(set(names)) == len(names)


def test_answers_that_differ_are_told() -> None:
    case = Case("Relu", "Relu", ())
    floats = np.arange(9, dtype="f4")
    assert disagreement([floats], [floats], case) is None
    assert "off by" in (disagreement([floats], [floats + np.float32(0.1)], case) or "")
    assert "not float32" in (disagreement([floats.astype("f8")], [floats], case) or "")
    places = np.arange(9)
    assert "of the cells differ" in (disagreement([places], [places[::-1]], case) or "")
    pixels = np.arange(9, dtype="u1")
    assert disagreement([pixels], [pixels + np.uint8(1)], case) is None
    assert "off by 2" in (disagreement([pixels], [pixels + np.uint8(2)], case) or "")
