"""The comparison of whole networks with those that run their ONNX files."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

pytest.importorskip("torch")

from benchmarks import networks


def test_networks_are_measured_with_the_peers_that_are_installed() -> None:
    done = CliRunner().invoke(networks.main, ["lenet5", "--seconds", "0.05"])
    assert done.exit_code == 0, done.output
    (row,) = (line for line in done.output.splitlines() if "lenet5" in line and "│" in line)
    _, own, by_torch, *_, ratio, error = (cell.strip() for cell in row.strip("│").split("│"))
    assert float(own) > 0
    assert float(by_torch) > 0
    assert float(ratio) > 0
    assert float(error) < 1e-4
    assert "geomean" in done.output
