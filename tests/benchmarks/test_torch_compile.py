"""The comparison of modules as torch runs them with the same compiled by fastconv."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("numba")

from benchmarks import torch_compile


def test_a_module_is_measured_both_ways() -> None:
    done = CliRunner().invoke(torch_compile.main, ["shufflenet_v2", "--seconds", "0.01"])
    assert done.exit_code == 0, done.output
    (row,) = (line for line in done.output.splitlines() if "shufflenet_v2" in line)
    name, eager, compiled, ratio, error = (cell.strip() for cell in row.strip("│").split("│"))
    assert name == "shufflenet_v2"
    assert float(ratio) == pytest.approx(float(eager) / float(compiled), rel=0.05)
    assert float(error) < 1e-4
    assert "geomean" in done.output
