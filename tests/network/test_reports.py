"""What a compiled network tells of itself: what runs for which layers, passes, memory."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from fastconv import models, nn
from fastconv.network import Network, Port, compile_module


def test_explain_names_what_is_folded_and_fused() -> None:
    told = compile_module(models.resnet18(), (1, 3, 64, 64)).explain()
    by_layer = {report.layer: report for report in told.reports}
    assert by_layer["conv1"].fused == ("bn1 (BatchNorm2d)", "relu (ReLU)")
    assert by_layer["layer1.0.conv2"].fused == (
        "layer1.0.bn2 (BatchNorm2d)", "layer1.0 (add)", "layer1.0.relu (ReLU)",
    )  # fmt: skip
    assert not {"bn1", "relu", "layer1.0.relu"} & by_layer.keys()
    assert len(by_layer["layer1.0.conv2"].input_shapes) == 2
    assert "  with bn1 (BatchNorm2d), relu (ReLU)\n" in str(told)
    assert max(map(len, str(told).splitlines())) <= 80
    assert told.passes == ()
    assert told.footprint is None
    assert "pass " not in str(told)


def test_explain_names_padding_clamps_and_gates() -> None:
    def forward(x: Any) -> Any:
        x = F.conv2d(F.pad(x, (1, 1, 1, 1)), np.ones((4, 2, 3, 3), "f4"))
        x = np.minimum(np.maximum(x, np.float32(0)), np.float32(6))
        return x * F.sigmoid(F.max_pool2d(x, 2)) if x.shape[1] > 4 else x * F.sigmoid(x)

    told = compile_module(forward, (1, 2, 8, 8)).explain()
    fused = [report.fused for report in told.reports if report.algorithm != "numpy"]
    assert ("pad", "minimum", "maximum") in fused
    assert ("sigmoid",) in fused


def test_explain_tells_of_passes_and_memory() -> None:
    network = compile_module(models.convnet1(), (1, 1, 28, 28))
    told = network.explain(passes=True)
    text = str(told)
    assert "pass fold_affine: 2 changed, " in text
    assert "  Fold batch norm, and what scales or shifts channels" in text
    compiled = network.compiled()
    assert compiled is not None
    assert told.footprint == compiled.footprint
    assert compiled.footprint.native_calls == compiled.calls == 1
    assert compiled.memory_bytes >= compiled.live_bytes > 0
    last = text.splitlines()[-1]
    assert last.startswith("memory: an arena of ")
    assert last.endswith("; 1 native call")
    plain = json.loads(json.dumps(told.as_dict()))
    assert [each["name"] for each in plain["passes"]] == [each.name for each in compiled.passes]
    assert plain["memory"]["arena_bytes"] == compiled.footprint.arena_bytes
    assert 1 <= plain["memory"]["ratio"] < 1.15


def test_pythons_calls_are_counted() -> None:
    network = compile_module(lambda x: np.cos(F.relu(np.sin(F.relu(x)))), (1, 4))
    compiled = network.compiled()
    assert compiled is not None
    assert str(compiled.footprint).endswith("; 2 native calls, 2 of Python's")
    assert [report.algorithm for report in network.explain().reports].count("numpy") == 2


def test_summary_ends_with_the_memory() -> None:
    network = compile_module(models.lenet5(), (1, 1, 28, 28))
    summary = network.summary((4, 1, 28, 28))
    compiled = network.compiled((4, 1, 28, 28))
    assert compiled is not None
    assert str(summary).splitlines()[-1] == str(compiled.footprint)
    assert [row.layer for row in summary.rows if row.kind == "Conv2d"] == ["conv1", "conv2"]
    tight = compile_module(models.lenet5(), (1, 1, 28, 28), max_memory=5000)
    told = str(tight.summary()).splitlines()[-1]
    assert told.startswith("memory: ")
    assert "max_memory" in told
    with pytest.raises(ValueError, match="max_memory"):
        tight.explain()


def test_a_network_that_looks_at_data_is_told_of_as_far_as_it_goes() -> None:
    port = Port("x", ("n", 3), "float32")
    network = Network(lambda x: np.sort(F.relu(x)), [port], [port])
    assert network.compiled() is None
    with pytest.raises(TypeError, match=r"numpy\.sort"):
        network.explain()
    module = compile_module(nn.ReLU(), (1, 3))
    assert module.explain((0, 3)).reports
