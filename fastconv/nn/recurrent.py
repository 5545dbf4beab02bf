"""Recurrent layers over sequences, with torch's keys and gates."""

from __future__ import annotations

from typing import Any

from fastconv.arrays import as_array
from fastconv.functional.recurrent import layers
from fastconv.nn.initial import uniform
from fastconv.nn.module import Module
from fastconv.problem.recurrent import GATES
from fastconv.problem.values import flag, integer, number, one_of


class _Recurrent(Module):
    """Layers of one kind, one after the other."""

    kind: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = integer(input_size, "input_size", least=1)
        self.hidden_size = integer(hidden_size, "hidden_size", least=1)
        self.num_layers = integer(num_layers, "num_layers", least=1)
        self.bias = flag(bias, "bias")
        self.batch_first = flag(batch_first, "batch_first")
        self.dropout = number(dropout, "dropout")
        if not 0 <= self.dropout <= 1:
            raise ValueError(
                f"dropout should be a number in range [0, 1] representing the probability of an "
                f"element being zeroed, but got {dropout}"
            )
        self.bidirectional = flag(bidirectional, "bidirectional")
        if integer(proj_size, "proj_size", least=0):
            raise ValueError(
                f"proj_size must be 0, but got {proj_size}: outputs that are projected are not "
                f"supported; convert the module by fastconv.torch.convert"
            )
        self.proj_size = 0
        rows, hidden = len(GATES[self.kind]) * self.hidden_size, self.hidden_size
        for suffix, features in self._layers():
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (rows, features),
                "weight_hh": (rows, hidden),
            }
            if self.bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            for name, shape in shapes.items():
                self.register_parameter(f"{name}_{suffix}", uniform(shape, hidden, dtype))

    def _layers(self) -> list[tuple[str, int]]:
        """Return the suffix of each layer's and direction's names, and its input's size."""
        directions = ("", "_reverse") if self.bidirectional else ("",)
        later = len(directions) * self.hidden_size
        return [
            (f"l{layer}{direction}", later if layer else self.input_size)
            for layer in range(self.num_layers)
            for direction in directions
        ]

    def _run(self, input: Any, *states: Any, **options: Any) -> Any:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        parameters = [
            tuple(getattr(self, f"{name}_{suffix}") for name in names[: 4 if self.bias else 2])
            for suffix, _ in self._layers()
        ]
        x = as_array(input, "input")
        return layers(
            self.kind, x, parameters, *states, num_layers=self.num_layers,
            batch_first=self.batch_first, **options,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Show the arguments."""
        named = {
            "num_layers": (self.num_layers, 1), "bias": (self.bias, True),
            "batch_first": (self.batch_first, False), "dropout": (self.dropout, 0.0),
            "bidirectional": (self.bidirectional, False),
        }  # fmt: skip
        others = (f", {name}={value}" for name, (value, usual) in named.items() if value != usual)
        return f"{self.input_size}, {self.hidden_size}{''.join(others)}"


class LSTM(_Recurrent):
    """Layers of long short-term memory; see `fastconv.functional.lstm`.

    ``forward(input, (h_0, c_0))`` returns ``output, (h_n, c_n)``. There is no projection
    (``proj_size``), and sequences of several lengths come padded, not packed.
    """

    kind = "lstm"

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run the layers."""
        states: tuple[Any, ...] = ()
        if hx is not None:
            if not isinstance(hx, (tuple, list)) or len(hx) != 2:
                raise TypeError("hx of LSTM must be a tuple of two arrays, (h_0, c_0)")
            states = tuple(hx)
        output, h, c = self._run(input, *states)
        return output, (h, c)


class GRU(_Recurrent):
    """Layers of gated recurrent units; see `fastconv.functional.gru`.

    ``forward(input, h_0)`` returns ``output, h_n``.
    """

    kind = "gru"

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run the layers."""
        return self._run(input, hx)


class RNN(_Recurrent):
    """Layers of a plain recurrent network; see `fastconv.functional.rnn`.

    ``forward(input, h_0)`` returns ``output, h_n``.
    """

    kind = "rnn"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            dtype=dtype,
        )  # fmt: skip
        self.nonlinearity = one_of(nonlinearity, ("tanh", "relu"), "nonlinearity")

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run the layers."""
        return self._run(input, hx, activations=(self.nonlinearity,))
