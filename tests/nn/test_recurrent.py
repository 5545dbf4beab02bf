"""Recurrent layers, and modules that are converted, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import nn
from tests.tolerance import sum_tolerance

torch = pytest.importorskip("torch")

# A layer's sums of 6 + 5 and of 10 + 5 products, two layers of them.
ALLOWED = 4 * sum_tolerance("f4", 15) / 15**0.5
LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("LSTM", {}),
    ("LSTM", {"num_layers": 2, "bidirectional": True}),
    ("LSTM", {"bias": False, "batch_first": True}),
    ("GRU", {}),
    ("GRU", {"num_layers": 3, "batch_first": True}),
    ("RNN", {"nonlinearity": "relu", "bidirectional": True}),
    ("RNN", {}),
]


def states(value: Any) -> list[Any]:
    """List last states, one or two."""
    return list(value) if isinstance(value, tuple) else [value]


@pytest.mark.parametrize(("name", "options"), LAYERS, ids=str)
@pytest.mark.parametrize("shape", [(4, 3, 6), (4, 6)])
def test_recurrent_layer_as_torch(name: str, options: Any, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(6, 5, **options)
    ours = getattr(nn, name)(6, 5, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(shape)
    with torch.no_grad():
        wanted, last = theirs(x)
        first = tuple(torch.randn(s.shape) for s in states(last))
        hx = first if name == "LSTM" else first[0]
        from_states, last_from = theirs(x, hx)
    found, end = ours(x.numpy())
    given = tuple(s.numpy() for s in first)
    found_from, end_from = ours(x.numpy(), given if name == "LSTM" else given[0])
    pairs = [(found, wanted), (found_from, from_states)]
    pairs += zip(states(end) + states(end_from), states(last) + states(last_from), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=ALLOWED)


class First(torch.nn.Module):  # type: ignore[misc]
    """The output of a layer of several results."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x)[0]


@pytest.mark.parametrize(("name", "options"), [*LAYERS, ("LSTM", {"proj_size": 3})], ids=str)
@pytest.mark.filterwarnings("ignore:The tensor attribute", "ignore:LSTM with projections")
def test_recurrent_module_converted_as_torch(name: str, options: Any) -> None:
    torch.manual_seed(0)
    module = First(getattr(torch.nn, name)(6, 5, **options)).eval()
    x = torch.randn(4, 3, 6)
    network = fastconv.torch.convert(module, (x,))
    with torch.no_grad():
        np.testing.assert_allclose(network(x.numpy()), module(x).numpy(), rtol=0, atol=ALLOWED)


def test_recurrent_layers_compiled_saved_and_loaded(tmp_path: Any) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sequence = nn.LSTM(6, 5, 2, bidirectional=True)
            self.last = nn.Linear(10, 3)

        def forward(self, x: Any) -> Any:
            return self.last(self.sequence(x)[0])

    model = Model()
    x = np.random.default_rng(0).standard_normal((4, 3, 6)).astype("f4")
    network = fastconv.compile(model, x.shape)
    np.testing.assert_array_equal(network(x), model(x))
    network.save(tmp_path / "n.fastconv")
    np.testing.assert_array_equal(fastconv.load(tmp_path / "n.fastconv")(x), model(x))


def test_lstm_projection_refused() -> None:
    with pytest.raises(ValueError, match="proj_size"):
        nn.LSTM(6, 5, proj_size=3)
