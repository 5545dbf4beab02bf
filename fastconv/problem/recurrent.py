"""Recurrent layers over sequences: LSTM, GRU and plain (Elman) networks, in one or two directions.

Gates are in torch's order (LSTM i f g o, GRU r z n) or in ONNX's (i o f c, z r h).
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.record import record
from fastconv.problem.remember import Spec, remembered
from fastconv.problem.values import (
    FLOATS,
    check_dtype,
    check_same_dtype,
    flag,
    is_sequence,
    items_of,
    number,
    one_of,
    shown,
)

KINDS = ("lstm", "gru", "rnn")
DIRECTIONS = ("forward", "reverse", "bidirectional")
# Steps, batch, directions and hidden units as the output's axes; "TBH" and "BTH" have the
# directions' units one after the other in the last.
LAYOUTS = ("TBH", "BTH", "TDBH")
STATE_LAYOUTS = ("DBH", "BDH")
GATE_ORDERS = ("torch", "onnx")
# The gates of a kind in the order that kernels want (ONNX's), and where each is in torch's.
GATES: dict[str, tuple[int, ...]] = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}
# name -> how many parameters (alpha, beta) it takes, and their defaults.
FUNCTIONS: dict[str, tuple[int, tuple[float, float]]] = {
    "sigmoid": (0, (0.0, 0.0)),
    "tanh": (0, (0.0, 0.0)),
    "relu": (0, (0.0, 0.0)),
    "affine": (2, (1.0, 0.0)),
    "leaky_relu": (1, (0.01, 0.0)),
    "thresholded_relu": (1, (1.0, 0.0)),
    "scaled_tanh": (2, (1.0, 1.0)),
    "hard_sigmoid": (2, (0.2, 0.5)),
    "elu": (1, (1.0, 0.0)),
    "softsign": (0, (0.0, 0.0)),
    "softplus": (0, (0.0, 0.0)),
}
# Of the gates, the cell's input (GRU, RNN: the candidate), and the cell's output.
DEFAULTS: dict[str, tuple[str, ...]] = {
    "lstm": ("sigmoid", "tanh", "tanh"),
    "gru": ("sigmoid", "tanh"),
    "rnn": ("tanh",),
}
# The parameters of one direction, in order: those of the other follow.
PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "peepholes")


@record(frozen=True)
class Function:
    """A gate's function: its name and two parameters, of which it uses the first few."""

    name: str
    alpha: float
    beta: float

    @classmethod
    def of(cls, value: Any) -> Function:
        """Read a name, or (name, alpha, beta) as callers write it."""
        if isinstance(value, Function):
            return value
        name, *given = items_of(value, "activations") if is_sequence(value) else [value]
        if not isinstance(name, str):
            raise TypeError(f"activations must be names, or names and numbers, not {shown(value)}")
        if name not in FUNCTIONS:
            raise ValueError(
                f"activations must be of {', '.join(FUNCTIONS)}, but got {shown(name)}"
            )
        count, defaults = FUNCTIONS[name]
        if len(given) > count:
            raise ValueError(f"activation {name} takes {count} parameters, got {len(given)}")
        read = tuple(number(item, f"activation {name}'s parameter") for item in given)
        return cls(name, *(read + defaults[len(read) :]))

    @property
    def given(self) -> tuple[float, ...]:
        """The parameters that it takes."""
        return (self.alpha, self.beta)[: FUNCTIONS[self.name][0]]


@record(frozen=True, kw_only=True)
class RecurrentProblem(Problem):
    """A layer over ``steps`` of ``batch`` sequences.

    Its inputs are (input, lengths, initial_h, initial_c), its parameters `PARAMETERS` of each
    direction. ``functions`` are those of each direction, one after the other. An entry whose
    length is over has outputs of zero and keeps its state.
    """

    kind: str
    steps: int
    batch: int
    input_size: int
    hidden_size: int
    direction: str
    functions: tuple[Function, ...]
    gate_order: str = "torch"
    layout: str = "TBH"
    state_layout: str = "DBH"
    bias: bool = False
    lengths: bool = False
    initial_h: bool = False
    initial_c: bool = False
    peepholes: bool = False
    clip: float = inf
    reset_after: bool = True
    input_forget: bool = False

    @classmethod
    @remembered
    def of(
        cls,
        kind: str,
        input: ArraySpec,
        weight_ih: ArraySpec,
        weight_hh: ArraySpec,
        bias_ih: ArraySpec | None = None,
        bias_hh: ArraySpec | None = None,
        initial_h: ArraySpec | None = None,
        initial_c: ArraySpec | None = None,
        lengths: ArraySpec | None = None,
        peepholes: ArraySpec | None = None,
        weight_ih_reverse: ArraySpec | None = None,
        weight_hh_reverse: ArraySpec | None = None,
        bias_ih_reverse: ArraySpec | None = None,
        bias_hh_reverse: ArraySpec | None = None,
        peepholes_reverse: ArraySpec | None = None,
        *,
        direction: Any = "forward",
        activations: Any = None,
        gate_order: Any = "torch",
        layout: Any = "TBH",
        state_layout: Any = "DBH",
        clip: Any = None,
        reset_after: Any = True,
        input_forget: Any = False,
    ) -> RecurrentProblem:
        """Validate the arguments of ``lstm``, ``gru`` and ``rnn``."""
        dtype = check_dtype(input, FLOATS, f"input of {kind}")
        one_of(direction, DIRECTIONS, "direction")
        one_of(layout, LAYOUTS, "layout")
        if len(input.shape) != 3:
            raise ValueError(
                f"{kind}: expected input to be 2D or 3D, got {len(input.shape)}D instead: an input "
                f"of {kind} is (steps, batch, input_size), or (batch, steps, input_size) with "
                f"layout 'BTH'"
            )
        steps, batch, input_size = input.shape
        if layout == "BTH":
            steps, batch = batch, steps
        own = (weight_ih, weight_hh, bias_ih, bias_hh, peepholes)
        other = (
            weight_ih_reverse, weight_hh_reverse, bias_ih_reverse, bias_hh_reverse,
            peepholes_reverse,
        )  # fmt: skip
        hidden_size = _check_weights(kind, dtype, input_size, own)
        if (direction == "bidirectional") != (other[0] is not None):
            raise ValueError(
                f"{kind} needs weights of the reverse direction where direction is "
                f"'bidirectional', and there alone, but got direction {direction!r} and weights of "
                f"{'both directions' if other[0] is not None else 'one direction'}"
            )
        if other[0] is not None:
            if _check_weights(kind, dtype, input_size, other) != hidden_size:
                raise ValueError(f"both directions of {kind} must have the same hidden size")
            for name, a, b in zip(PARAMETERS, own, other, strict=True):
                if (a is None) != (b is None):
                    raise ValueError(f"{kind} needs {name} of both directions, or of none")
        elif any(value is not None for value in other):
            raise ValueError(f"{kind} got parameters of a reverse direction without its weights")
        problem = cls(
            dtype=dtype,
            kind=kind,
            steps=steps,
            batch=batch,
            input_size=input_size,
            hidden_size=hidden_size,
            direction=direction,
            functions=_functions(kind, activations, direction),
            gate_order=one_of(gate_order, GATE_ORDERS, "gate_order"),
            layout=layout,
            state_layout=one_of(state_layout, STATE_LAYOUTS, "state_layout"),
            bias=bias_ih is not None or bias_hh is not None,
            lengths=lengths is not None,
            initial_h=initial_h is not None,
            initial_c=initial_c is not None,
            peepholes=peepholes is not None,
            clip=inf if clip is None else number(clip, "clip"),
            reset_after=flag(reset_after, "reset_after"),
            input_forget=flag(input_forget, "input_forget"),
        )
        if not problem.clip > 0:
            raise ValueError(f"clip must be greater than zero, but got {clip}")
        problem._check_states(initial_h, initial_c, lengths)
        return problem

    def _check_states(self, h: Any, c: Any, lengths: Any) -> None:
        for name, state in (("h", h), ("c", c)):
            if state is None:
                continue
            check_same_dtype(Spec((), self.dtype), state, ("input", f"initial_{name}"))
            if tuple(state.shape) != self.state_shape:
                raise ValueError(
                    f"Expected hidden[{'hc'.index(name)}] size {self.state_shape}, got "
                    f"{list(state.shape)}: initial_{name} of {self.kind} does not fit"
                )
        if lengths is not None:
            if np.dtype(lengths.dtype) != np.int32:
                raise TypeError(
                    f"lengths of {self.kind} has dtype {np.dtype(lengths.dtype).name}; accepted "
                    f"is int32"
                )
            if tuple(lengths.shape) != (self.batch,):
                raise ValueError(
                    f"lengths of {self.kind} must have shape [{self.batch}], one for each entry of "
                    f"the batch, but got {list(lengths.shape)}"
                )

    @property
    def name(self) -> str:
        return self.kind

    @property
    def directions(self) -> int:
        """How many directions there are: 1 or 2."""
        return 2 if self.direction == "bidirectional" else 1

    @property
    def gates(self) -> int:
        """Gates of a hidden unit."""
        return len(GATES[self.kind])

    @property
    def order(self) -> tuple[int, ...]:
        """Where the gates that kernels want first, second, ... are in weights and biases."""
        return GATES[self.kind] if self.gate_order == "torch" else tuple(range(self.gates))

    def backwards(self, direction: int) -> bool:
        """Return whether a direction's first step is the last of the input."""
        return direction == 1 or self.direction == "reverse"

    @property
    def input_shape(self) -> Shape:
        first = (self.batch, self.steps) if self.layout == "BTH" else (self.steps, self.batch)
        return (*first, self.input_size)

    @property
    def output_shape(self) -> Shape:
        units = self.directions * self.hidden_size
        return {
            "TBH": (self.steps, self.batch, units),
            "BTH": (self.batch, self.steps, units),
            "TDBH": (self.steps, self.directions, self.batch, self.hidden_size),
        }[self.layout]

    @property
    def state_shape(self) -> Shape:
        """Shape of a first or last state."""
        first = (self.directions, self.batch)
        return (*(first if self.state_layout == "DBH" else first[::-1]), self.hidden_size)

    @property
    def output_shapes(self) -> list[tuple[Shape, np.dtype[Any]]]:
        """Shape and dtype of the output and of each last state."""
        states = [(self.state_shape, self.dtype)] * (2 if self.kind == "lstm" else 1)
        return [(self.output_shape, self.dtype), *states]

    @property
    def input_count(self) -> int:
        """How many inputs there are, given or not: the last states' places follow them."""
        return 4

    @property
    def float_inputs(self) -> dict[int, Shape]:
        """Shapes of the inputs that are given and have the problem's dtype, by number."""
        states = {2: self.initial_h, 3: self.initial_c}
        return {0: self.input_shape} | {
            n: self.state_shape for n, is_there in states.items() if is_there
        }

    @property
    def sum_length(self) -> int:
        """Products summed into one gate."""
        return self.input_size + self.hidden_size

    @property
    def macs(self) -> int:
        rows = self.steps * self.batch * self.directions
        return rows * self.gates * self.hidden_size * self.sum_length

    @property
    def parameter_bytes(self) -> int:
        units = self.gates * (self.sum_length + 2 * self.bias) + 3 * self.peepholes
        return self.directions * self.hidden_size * units * self.dtype.itemsize

    @property
    def bytes(self) -> int:
        states = len(self.output_shapes) - 1 + self.initial_h + self.initial_c
        cells = self.directions * self.batch * self.hidden_size
        return super().bytes + states * cells * self.dtype.itemsize


def _check_weights(kind: str, dtype: np.dtype[Any], input_size: int, given: Any) -> int:
    """Check the parameters of one direction; return the hidden size."""
    gates = len(GATES[kind])
    for name, value in zip(PARAMETERS, given, strict=True):
        if value is not None:
            check_same_dtype(Spec((), dtype), value, ("input", name))
    weight_ih, weight_hh, *_ = given
    shape = tuple(weight_hh.shape)
    if len(shape) != 2 or shape[0] != gates * shape[1] or shape[1] < 1:
        raise ValueError(
            f"weight_hh of {kind} must have shape ({gates} * hidden_size, hidden_size), but got "
            f"{list(shape)}"
            + (
                "; an LSTM whose output is projected (proj_size) is not supported"
                if kind == "lstm" and len(shape) == 2 and shape[0] % 4 == 0
                else ""
            )
        )
    hidden_size = int(shape[1])
    rows = gates * hidden_size
    if tuple(weight_ih.shape) != (rows, input_size):
        raise ValueError(
            f"input.size(-1) must be equal to input_size: weight_ih of {kind} must have shape "
            f"[{rows}, {input_size}], but got {list(weight_ih.shape)}"
        )
    lengths = {"bias_ih": rows, "bias_hh": rows, "peepholes": 3 * hidden_size}
    for name, value in zip(PARAMETERS[2:], given[2:], strict=True):
        if value is not None and tuple(value.shape) != (lengths[name],):
            raise ValueError(
                f"{name} of {kind} must have shape [{lengths[name]}], but got {list(value.shape)}"
            )
    return hidden_size


def _functions(kind: str, given: Any, direction: str) -> tuple[Function, ...]:
    """Read the functions of each direction; those of one serve both."""
    defaults = DEFAULTS[kind]
    items = list(defaults) if given is None else items_of(given, "activations")
    directions = 2 if direction == "bidirectional" else 1
    if len(items) == len(defaults):
        items *= directions
    if len(items) != directions * len(defaults):
        raise ValueError(
            f"activations of {kind} must be {len(defaults)} a direction, but got {len(items)}"
        )
    return tuple(map(Function.of, items))
