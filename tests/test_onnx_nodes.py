"""Every one of onnx's node tests of the operators that are read passes, or stands in the list."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx", reason="these are onnx's tests")

from tests import onnx_cases
from tests.onnx_gaps import GAPS, gap


@pytest.mark.parametrize("name", sorted(onnx_cases.cases()))
def test_node(name: str) -> None:
    case = onnx_cases.cases()[name]
    reason = gap(name)
    if reason is None:
        onnx_cases.run(case)
        return
    with pytest.raises((ValueError, TypeError, AssertionError)):
        onnx_cases.run(case)


def test_every_gap_is_one() -> None:
    used = {gap(name) for name in onnx_cases.cases()}
    assert [reason for _, reason in GAPS if reason not in used] == []


def test_most_of_what_is_read_passes() -> None:
    names = onnx_cases.cases()
    passing = [name for name in names if gap(name) is None]
    assert len(passing) >= 750
