"""Recurrent layers over sequences: LSTM, GRU and plain networks.

Their inputs are (input, lengths, initial_h, initial_c); their parameters the weights, biases and
peepholes of each direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv.arrays import Array, as_array, as_optional_array
from fastconv.dispatch import solve
from fastconv.problem import RecurrentProblem
from fastconv.problem.recurrent import PARAMETERS


def lstm(
    input: ArrayLike,
    weight_ih: ArrayLike,
    weight_hh: ArrayLike,
    bias_ih: ArrayLike | None = None,
    bias_hh: ArrayLike | None = None,
    initial_h: ArrayLike | None = None,
    initial_c: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    peepholes: ArrayLike | None = None,
    weight_ih_reverse: ArrayLike | None = None,
    weight_hh_reverse: ArrayLike | None = None,
    bias_ih_reverse: ArrayLike | None = None,
    bias_hh_reverse: ArrayLike | None = None,
    peepholes_reverse: ArrayLike | None = None,
    *,
    direction: str = "forward",
    activations: Any = None,
    gate_order: str = "torch",
    layout: str = "TBH",
    state_layout: str = "DBH",
    clip: float | None = None,
    input_forget: bool = False,
    algorithm: str | None = None,
    backend: str | None = None,
) -> tuple[Array, Array, Array]:
    """Run one layer of an LSTM (Hochreiter, Schmidhuber, 1997; peepholes: Gers, 2000).

    Parameters
    ----------
    input : array, shape (steps, batch, input_size)
        float16, bfloat16, float32 or float64. With ``layout="BTH"`` (batch, steps, input_size).
        Without the batch it is (steps, input_size), and the results have none.
    weight_ih, weight_hh : array, shape (4 * hidden_size, input_size or hidden_size)
        Of the input and of the state before, gate by gate; the input's dtype.
    bias_ih, bias_hh : array, shape (4 * hidden_size,), optional
    initial_h, initial_c : array, shape (directions, batch, hidden_size), optional
        State and cell before the first step; zeros where not given.
    lengths : array of int32, shape (batch,), optional
        Steps of each entry, from 0 to ``steps``. What comes after is zero in the output and leaves
        the state as it is.
    peepholes : array, shape (3 * hidden_size,), optional
        Weights of the cell in the gates: input, output, forget.
    weight_ih_reverse, ... : array, optional
        The same of the reverse direction, where ``direction`` is "bidirectional".
    direction : {"forward", "reverse", "bidirectional"}
    activations : sequence, optional
        Three functions a direction, of the gates, the cell's input and its output: names, or names
        and parameters, such as ("leaky_relu", 0.1). Sigmoid, tanh, tanh where not given.
    gate_order : {"torch", "onnx"}
        Order of the gates in weights and biases: input, forget, cell, output; or input, output,
        forget, cell.
    layout : {"TBH", "BTH", "TDBH"}
        Axes of the output: steps (T), batch (B), directions (D), hidden units (H). Where D is not
        named the last axis has the units of all directions.
    state_layout : {"DBH", "BDH"}
        Axes of the states.
    clip : float, optional
        Sums are bounded to [-clip, clip] before gates' functions; the cell is not.
    input_forget : bool
        Make the forget gate one less the input gate.
    algorithm, backend : str, optional
        Ask for one; see `fastconv.explain`.

    Returns
    -------
    tuple of array
        Output, last state and last cell.

    Raises
    ------
    ValueError
        For shapes that do not fit or an unknown option.
    TypeError
        For a dtype that is not accepted, or dtypes that differ.
    """
    own = (weight_ih, weight_hh, bias_ih, bias_hh, peepholes)
    other = (
        weight_ih_reverse, weight_hh_reverse, bias_ih_reverse, bias_hh_reverse, peepholes_reverse,
    )  # fmt: skip
    return _run(  # type: ignore[return-value]
        "lstm", input, own, other, (initial_h, initial_c), lengths, algorithm, backend,
        direction=direction, activations=activations, gate_order=gate_order, layout=layout,
        state_layout=state_layout, clip=clip, input_forget=input_forget,
    )  # fmt: skip


def gru(
    input: ArrayLike,
    weight_ih: ArrayLike,
    weight_hh: ArrayLike,
    bias_ih: ArrayLike | None = None,
    bias_hh: ArrayLike | None = None,
    initial_h: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    weight_ih_reverse: ArrayLike | None = None,
    weight_hh_reverse: ArrayLike | None = None,
    bias_ih_reverse: ArrayLike | None = None,
    bias_hh_reverse: ArrayLike | None = None,
    *,
    direction: str = "forward",
    activations: Any = None,
    gate_order: str = "torch",
    layout: str = "TBH",
    state_layout: str = "DBH",
    clip: float | None = None,
    reset_after: bool = True,
    algorithm: str | None = None,
    backend: str | None = None,
) -> tuple[Array, Array]:
    """Run one layer of gated recurrent units (Cho et al., 2014).

    Parameters
    ----------
    input, weight_ih, weight_hh, bias_ih, bias_hh, initial_h, lengths : array
        As in `lstm`, with three gates.
    weight_ih_reverse, ... : array, optional
        Of the reverse direction.
    direction, layout, state_layout, clip, algorithm, backend
        As in `lstm`.
    activations : sequence, optional
        Two functions a direction: of the gates and of the candidate. Sigmoid and tanh where not
        given.
    gate_order : {"torch", "onnx"}
        Reset, update, candidate; or update, reset, candidate.
    reset_after : bool
        Whether the reset gate multiplies the state's product (as torch has it), or the state
        before it (as in the paper).

    Returns
    -------
    tuple of array
        Output and last state.

    Raises
    ------
    ValueError, TypeError
        As `lstm`.
    """
    own = (weight_ih, weight_hh, bias_ih, bias_hh, None)
    other = (weight_ih_reverse, weight_hh_reverse, bias_ih_reverse, bias_hh_reverse, None)
    return _run(  # type: ignore[return-value]
        "gru", input, own, other, (initial_h,), lengths, algorithm, backend,
        direction=direction, activations=activations, gate_order=gate_order, layout=layout,
        state_layout=state_layout, clip=clip, reset_after=reset_after,
    )  # fmt: skip


def rnn(
    input: ArrayLike,
    weight_ih: ArrayLike,
    weight_hh: ArrayLike,
    bias_ih: ArrayLike | None = None,
    bias_hh: ArrayLike | None = None,
    initial_h: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    weight_ih_reverse: ArrayLike | None = None,
    weight_hh_reverse: ArrayLike | None = None,
    bias_ih_reverse: ArrayLike | None = None,
    bias_hh_reverse: ArrayLike | None = None,
    *,
    direction: str = "forward",
    activations: Any = None,
    layout: str = "TBH",
    state_layout: str = "DBH",
    clip: float | None = None,
    algorithm: str | None = None,
    backend: str | None = None,
) -> tuple[Array, Array]:
    """Run one layer of a plain recurrent network (Elman, 1990).

    Parameters
    ----------
    input, weight_ih, weight_hh, bias_ih, bias_hh, initial_h, lengths : array
        As in `lstm`, with one gate.
    weight_ih_reverse, ... : array, optional
        Of the reverse direction.
    direction, layout, state_layout, clip, algorithm, backend
        As in `lstm`.
    activations : sequence, optional
        One function a direction; tanh where not given.

    Returns
    -------
    tuple of array
        Output and last state.

    Raises
    ------
    ValueError, TypeError
        As `lstm`.
    """
    own = (weight_ih, weight_hh, bias_ih, bias_hh, None)
    other = (weight_ih_reverse, weight_hh_reverse, bias_ih_reverse, bias_hh_reverse, None)
    return _run(  # type: ignore[return-value]
        "rnn", input, own, other, (initial_h,), lengths, algorithm, backend,
        direction=direction, activations=activations, layout=layout, state_layout=state_layout,
        clip=clip,
    )  # fmt: skip


def _run(
    kind: str,
    input: Any,
    own: tuple[Any, ...],
    other: tuple[Any, ...],
    states: tuple[Any, ...],
    lengths: Any,
    algorithm: str | None,
    backend: str | None,
    **options: Any,
) -> tuple[Array, ...]:
    x = as_array(input, "input")
    first = [
        as_optional_array(s, f"initial_{n}") for n, s in zip("hc", (*states, None), strict=False)
    ]
    single = len(x.shape) == 2
    if single:
        # The batch is an axis of the input, and of states whose directions come first or second.
        x = x.reshape(_with_one(x.shape, options["layout"] == "BTH"))
        before = options["state_layout"] == "BDH"
        first = [None if s is None else s.reshape(_with_one(s.shape, before)) for s in first]
    given = [
        as_array(p, name) if i < 2 else as_optional_array(p, name)
        for i, (name, p) in enumerate(zip(PARAMETERS, own, strict=True))
    ]
    reverse = [
        as_optional_array(p, f"{name}_reverse") for name, p in zip(PARAMETERS, other, strict=True)
    ]
    steps = _lengths(lengths)
    of: Any = RecurrentProblem.of
    problem: RecurrentProblem = of(
        kind, x, *given[:4], *first[:2], steps, given[4], *reverse, **options
    )
    _check_lengths(steps, problem)
    parameters = (*given, *reverse)[: len(PARAMETERS) * problem.directions]
    results: tuple[Array, ...] = solve(
        problem, (x, steps, *first[:2]), parameters, algorithm=algorithm, backend=backend
    )
    if not single:
        return results
    axes = (0 if options["layout"] == "BTH" else {"TBH": 1, "TDBH": 2}[options["layout"]],)
    state = 0 if options["state_layout"] == "BDH" else 1
    places = (*axes, *(state,) * (len(results) - 1))
    return tuple(
        r.reshape((*r.shape[:a], *r.shape[a + 1 :])) for r, a in zip(results, places, strict=True)
    )


def _with_one(shape: Any, first: bool) -> tuple[int, ...]:
    place = 0 if first else 1
    return (*shape[:place], 1, *shape[place:])


def _lengths(lengths: Any) -> Any:
    """Return lengths as int32; integers of another kind that are at hand are converted."""
    found = as_optional_array(lengths, "lengths")
    if isinstance(found, np.ndarray) and found.dtype.kind in "iu" and found.dtype != np.int32:
        return np.clip(found, -1, 2**31 - 1).astype(np.int32)
    return found


def _check_lengths(lengths: Any, problem: RecurrentProblem) -> None:
    """Refuse lengths that no entry can have; those that a network computes are bounded."""
    if not isinstance(lengths, np.ndarray) or lengths.size == 0:
        return
    if int(lengths.min()) < 0 or int(lengths.max()) > problem.steps:
        raise ValueError(
            f"lengths of {problem.kind} must be between 0 and the {problem.steps} steps of the "
            f"input, but got {lengths.tolist()[:8]}"
        )


def layers(
    kind: str,
    input: Any,
    parameters: Sequence[tuple[Any, ...]],
    initial_h: Any = None,
    initial_c: Any = None,
    *,
    num_layers: int,
    batch_first: bool,
    activations: Any = None,
) -> tuple[Any, ...]:
    """Run layers one after the other, as torch's modules do.

    ``parameters`` are those of each layer and direction: weights and perhaps biases. First and last
    states are those of all of them, in one axis. An input without a batch has none in its results.
    """
    run: Any = {"lstm": lstm, "gru": gru, "rnn": rnn}[kind]
    directions = len(parameters) // num_layers
    single = len(input.shape) == 2
    options: dict[str, Any] = {
        "layout": "BTH" if batch_first and not single else "TBH",
        "activations": activations,
        "direction": "bidirectional" if directions == 2 else "forward",
    }
    given = {"initial_h": initial_h, "initial_c": initial_c}
    states = {name: as_array(s, name) for name, s in given.items() if s is not None}
    for name, state in states.items():
        count = state.shape[0] if state.shape else 0
        if count != len(parameters):
            raise ValueError(
                f"Expected hidden size ({len(parameters)}, ...), got {list(state.shape)}: "
                f"{name} of {kind} has a state for each of {num_layers} layers and {directions} "
                f"directions"
            )
    output, lasts = input, []
    for layer in range(num_layers):
        first = layer * directions
        named = {name: state[first : first + directions] for name, state in states.items()}
        for suffix, own in zip(
            ("", "_reverse"), parameters[first : first + directions], strict=False
        ):
            named |= {f"{name}{suffix}": p for name, p in zip(PARAMETERS, own, strict=False)}
        output, *last = run(output, **named, **options)
        lasts.append(last)
    if num_layers == 1:
        return (output, *lasts[0])
    return (output, *(np.concatenate(each, axis=0) for each in zip(*lasts, strict=True)))
