"""LSTM, GRU and plain recurrent layers as ONNX and torch define them, step by step in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.reference.activation import clamp, elu, sigmoid, softplus
from fastconv.backends.reference.common import Reference, narrow, wide
from fastconv.problem import RecurrentProblem
from fastconv.problem.recurrent import PARAMETERS, Function

FUNCTIONS: dict[str, Callable[[Array, float, float], Array]] = {
    "sigmoid": lambda x, a, b: sigmoid(x),
    "tanh": lambda x, a, b: np.tanh(x),
    "relu": lambda x, a, b: np.where(x < 0, 0, x),
    "affine": lambda x, a, b: a * x + b,
    "leaky_relu": lambda x, a, b: np.where(x < 0, a * x, x),
    "thresholded_relu": lambda x, a, b: np.where(x < a, 0, x),
    "scaled_tanh": lambda x, a, b: a * np.tanh(b * x),
    "hard_sigmoid": lambda x, a, b: clamp(a * x + b, 0, 1),
    "elu": lambda x, a, b: elu(x, a),
    "softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "softplus": lambda x, a, b: softplus(x),
}


class Recurrent(Reference):
    """Direction by direction, step by step."""

    def compute(self, problem: RecurrentProblem, parameters: Any, *inputs: Any) -> Any:
        input, lengths, *states = (*inputs, None, None, None)[:4]
        x = wide(input).reshape(problem.input_shape)
        x = x.swapaxes(0, 1) if problem.layout == "BTH" else x
        ends = np.full(problem.batch, problem.steps) if lengths is None else lengths
        shape = (problem.steps, problem.directions, problem.batch, problem.hidden_size)
        outputs = np.zeros(shape)
        first = [self._state(problem, s) for s in states]
        each = len(PARAMETERS)
        for d in range(problem.directions):
            own = [None if p is None else wide(p) for p in parameters[d * each : (d + 1) * each]]
            cell = _Cell(problem, d, own)
            h, c = first[0][d], first[1][d]
            steps = range(problem.steps)
            for t in reversed(steps) if problem.backwards(d) else steps:
                new_h, new_c = cell(x[t], h, c)
                lasts = (t < ends)[:, None]
                h, c = np.where(lasts, new_h, h), np.where(lasts, new_c, c)
                outputs[t, d] = np.where(lasts, new_h, 0)
            first[0][d], first[1][d] = h, c
        if problem.layout != "TDBH":
            outputs = outputs.swapaxes(1, 2)
        if problem.layout == "BTH":
            outputs = outputs.swapaxes(0, 1)
        results = [outputs.reshape(problem.output_shape)]
        for state in first[: len(problem.output_shapes) - 1]:
            results.append(state if problem.state_layout == "DBH" else state.swapaxes(0, 1))
        return tuple(narrow(result, problem.dtype) for result in results)

    def _state(self, problem: RecurrentProblem, state: Any) -> Array:
        shape = (problem.directions, problem.batch, problem.hidden_size)
        if state is None:
            return np.zeros(shape)
        first = wide(state).reshape(problem.state_shape)
        return (first if problem.state_layout == "DBH" else first.swapaxes(0, 1)).copy()


class _Cell:
    """One step of one direction."""

    def __init__(self, problem: RecurrentProblem, direction: int, parameters: list[Any]) -> None:
        self._problem = problem
        weight_ih, weight_hh, bias_ih, bias_hh, peepholes = parameters
        hidden, gates = problem.hidden_size, problem.gates

        def ordered(value: Any) -> Array:
            if value is None:
                return np.zeros((gates, hidden))
            split: Array = value.reshape(gates, hidden, *value.shape[1:])
            return split[list(problem.order)]

        self._w, self._r = ordered(weight_ih), ordered(weight_hh)
        self._wb, self._rb = ordered(bias_ih), ordered(bias_hh)
        self._peepholes = np.zeros((3, hidden)) if peepholes is None else peepholes.reshape(3, -1)
        each = len(problem.functions) // problem.directions
        self._functions = problem.functions[direction * each : (direction + 1) * each]

    def _gate(self, which: int, x: Array) -> Array:
        function: Function = self._functions[which]
        # What an LSTM's cell holds is not clipped.
        bounded = x if which == 2 else clamp(x, -self._problem.clip, self._problem.clip)
        return FUNCTIONS[function.name](bounded, function.alpha, function.beta)

    def __call__(self, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        kind = self._problem.kind
        own = np.einsum("bi,ghi->gbh", x, self._w) + self._wb[:, None]
        step: tuple[Array, Array] = getattr(self, f"_{kind}")(own, h, c)
        return step

    def _from_state(self, gate: int, h: Array) -> Array:
        result: Array = h @ self._r[gate].T + self._rb[gate]
        return result

    def _rnn(self, own: Array, h: Array, c: Array) -> tuple[Array, Array]:
        return self._gate(0, own[0] + self._from_state(0, h)), c

    def _gru(self, own: Array, h: Array, c: Array) -> tuple[Array, Array]:
        update = self._gate(0, own[0] + self._from_state(0, h))
        reset = self._gate(0, own[1] + self._from_state(1, h))
        if self._problem.reset_after:
            added = reset * self._from_state(2, h)
        else:
            added = self._from_state(2, reset * h)
        candidate = self._gate(1, own[2] + added)
        return (1 - update) * candidate + update * h, c

    def _lstm(self, own: Array, h: Array, c: Array) -> tuple[Array, Array]:
        sums = [own[g] + self._from_state(g, h) for g in range(4)]
        of_input, of_output, of_forget = self._peepholes
        entry = self._gate(0, sums[0] + of_input * c)
        forget = self._gate(0, sums[2] + of_forget * c)
        if self._problem.input_forget:
            forget = 1 - entry
        cell = forget * c + entry * self._gate(1, sums[3])
        output = self._gate(0, sums[1] + of_output * cell)
        return output * self._gate(2, cell), cell
