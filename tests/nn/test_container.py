"""Sequential, ModuleList and ModuleDict against torch's."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch

from fastconv import nn


def kinds(modules: Any) -> list[str]:
    """Names of classes, in order."""
    return [type(module).__name__ for module in modules]


@pytest.mark.parametrize("make", [lambda m: nn.Sequential(*m), nn.ModuleList])
def test_rows_are_lists(make: Any) -> None:
    row = make([nn.ReLU(), nn.Tanh()])
    row.append(nn.ELU())
    row.extend([nn.SiLU(), nn.Mish()])
    row.insert(1, nn.GELU())
    assert kinds(row) == ["ReLU", "GELU", "Tanh", "ELU", "SiLU", "Mish"]
    assert [name for name, _ in row.named_children()] == list("012345")
    assert kinds([row[0], row[-1]]) == ["ReLU", "Mish"]
    assert kinds(row[1:3]) == ["GELU", "Tanh"]
    assert type(row[1:3]) is type(row)
    row[1] = nn.CELU()
    del row[2]
    del row[-2:]
    assert kinds(row) == ["ReLU", "CELU", "ELU"]
    assert [name for name, _ in row.named_children()] == list("012")
    assert len(row) == 3
    with pytest.raises(IndexError, match="index 3 is out of range"):
        row[3]
    with pytest.raises(TypeError, match="is not a Module"):
        row.append(3)
    with pytest.raises(TypeError, match="is not a Module"):
        row.insert(0, 3)
    assert kinds(row) == ["ReLU", "CELU", "ELU"]


def test_sequential_runs_in_order() -> None:
    layers = OrderedDict(first=nn.Linear(3, 4), second=nn.ReLU(), third=nn.Linear(4, 2))
    model = nn.Sequential(layers)
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    np.testing.assert_array_equal(model(x), model.third(model.second(model.first(x))))
    assert list(model.state_dict()) == [
        "first.weight", "first.bias", "third.weight", "third.bias",
    ]  # fmt: skip
    assert model[:2].state_dict().keys() == {"first.weight", "first.bias"}
    same = nn.ReLU()
    assert len(list(nn.Sequential(same, same).modules())) == 2
    assert nn.Sequential()(x) is x


def test_repr_of_nested_modules() -> None:
    def make(library: Any) -> Any:
        return library.Sequential(
            library.Sequential(library.Linear(2, 3), library.ReLU()),
            library.ModuleDict({"a": library.Tanh()}),
            library.Identity(),
        )

    assert repr(make(nn)) == repr(make(torch.nn))
    assert repr(nn.Sequential()) == repr(torch.nn.Sequential())


def test_module_dict() -> None:
    modules = nn.ModuleDict({"a": nn.ReLU()})
    modules["b"] = nn.Tanh()
    modules.update({"c": nn.ELU(), "a": nn.GELU()})
    assert list(modules) == list(modules.keys()) == ["a", "b", "c"]
    assert kinds(modules.values()) == ["GELU", "Tanh", "ELU"]
    assert "b" in modules
    assert kinds([modules.pop("b")]) == ["Tanh"]
    assert dict(modules.items()).keys() == {"a", "c"}
    del modules["a"]
    assert len(modules) == 1
    modules.clear()
    assert len(modules) == 0
