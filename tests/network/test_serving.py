"""The server of docs/networks.md, from many threads; FastAPI itself need not be installed."""

from __future__ import annotations

import importlib.util
import io
import re
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import nn

PAGE = Path(__file__).resolve().parents[2] / "docs" / "networks.md"


def blocks() -> list[str]:
    section = PAGE.read_text().split("## Servers", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def stand_in() -> types.ModuleType:
    """Return what the page uses of FastAPI: routes are left as they are."""
    made: Any = types.ModuleType("fastapi")
    made.FastAPI = lambda: types.SimpleNamespace(post=lambda path: lambda function: function)
    made.File = lambda: b""
    made.Response = lambda content, media_type: types.SimpleNamespace(body=content)
    module: types.ModuleType = made
    return module


def test_server_of_the_page_from_many_threads_answers_as_the_network_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if importlib.util.find_spec("fastapi") is None:
        monkeypatch.setitem(sys.modules, "fastapi", stand_in())
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    network = fastconv.compile(module, (1, 3, 224, 224))
    network.save("model.fastconv")
    page: dict[str, Any] = {}
    threads = fastconv.get_num_threads()
    try:
        for block in blocks():
            exec(block.replace("model.onnx", "model.fastconv"), page)
        rng = np.random.default_rng(0)
        images = [rng.standard_normal((1 + i % 3, 3, 224, 224)).astype("f4") for i in range(12)]

        def ask(image: Any) -> Any:
            stream = io.BytesIO()
            np.save(stream, image)
            return np.load(io.BytesIO(page["post"](stream.getvalue()).body))

        with ThreadPoolExecutor(4) as pool:
            for image, given in zip(images, pool.map(ask, images), strict=True):
                np.testing.assert_array_equal(given, network(image))
    finally:
        fastconv.set_num_threads(threads)
