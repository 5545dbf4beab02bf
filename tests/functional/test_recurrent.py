"""LSTM, GRU and RNN: against the reference in float64, on every backend and instruction set."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv import machine as machines
from fastconv.backends.native import arena
from fastconv.backends.native import recurrent as native
from fastconv.dispatch import algorithms
from fastconv.problem import RecurrentProblem
from fastconv.problem.recurrent import FUNCTIONS
from tests.libraries import ISAS
from tests.tolerance import Array, poisoned, sum_tolerance

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
BACKENDS = [a.backend for a in algorithms(RecurrentProblem) if a.backend != "reference"]
# (steps, batch, inputs, hidden units): tails of every vector, one step, several tiles of entries.
SIZES = [
    (3, 1, 4, 1),
    (5, 2, 3, 5),
    (1, 1, 64, 128),
    (4, 8, 3, 17),
    (3, 13, 5, 100),
    (2, 3, 7, 256),
]
LAYOUTS = [("TBH", "DBH"), ("BTH", "BDH"), ("TDBH", "DBH")]


def drawn(
    kind: str,
    sizes: tuple[int, int, int, int],
    direction: str = "forward",
    dtype: Any = "f4",
    seed: int = 0,
    **options: Any,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Draw the arguments of a call with all that it may have."""
    rng = np.random.default_rng(seed)
    steps, batch, inputs, hidden = sizes
    rows, count = GATES[kind] * hidden, 2 if direction == "bidirectional" else 1

    def some(*shape: int, scale: float = 1.0) -> Array:
        return (scale * rng.standard_normal(shape)).astype(dtype)

    last = options.get("layout", "TBH") == "BTH"
    x = some(*((batch, steps) if last else (steps, batch)), inputs)
    state = (count, batch, hidden)
    if options.get("state_layout", "DBH") == "BDH":
        state = (batch, count, hidden)
    named: dict[str, Any] = {"initial_h": some(*state), "direction": direction, **options}
    if kind == "lstm":
        named["initial_c"] = some(*state)
    for suffix in ("", "_reverse")[:count]:
        named[f"weight_ih{suffix}"] = some(rows, inputs, scale=max(1, inputs) ** -0.5)
        named[f"weight_hh{suffix}"] = some(rows, hidden, scale=hidden**-0.5)
        named[f"bias_ih{suffix}"], named[f"bias_hh{suffix}"] = some(rows), some(rows)
    return (x,), named


def tolerance(dtype: Any, sizes: tuple[int, int, int, int]) -> float:
    """Allow a gate's rounding at each step, each carried on by a half."""
    name = "f4" if np.dtype(dtype).itemsize == 2 else dtype
    own = 2 * sum_tolerance(name, sizes[2] + sizes[3] + 2) / (sizes[2] + sizes[3]) ** 0.5
    return own if name == dtype else own + 2 * float(np.finfo(np.float16).eps)


def assert_close(kind: str, call: Any, sizes: Any, dtype: Any, backend: str) -> None:
    (arguments, named) = call
    function = getattr(F, kind)
    wanted = function(*arguments, **named, backend="reference")
    arena.take(1 << 20)
    arena.poison()
    found = function(*arguments, **named, backend=backend)
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance(dtype, sizes))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_recurrent_sizes_close_to_reference(
    kind: str, sizes: tuple[int, int, int, int], backend: str
) -> None:
    for layout, state_layout in LAYOUTS:
        direction = "bidirectional" if layout != "TBH" else "reverse"
        options = {"layout": layout, "state_layout": state_layout}
        assert_close(kind, drawn(kind, sizes, direction, **options), sizes, "f4", backend)


@pytest.mark.skipif("c" not in BACKENDS, reason="C's kernels alone are compiled for all")
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", [*GATES, "reset"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_recurrent_instruction_set_close_to_reference(
    kind: str, isa: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTCONV_ISA", isa)
    options = {"reset_after": False} if kind == "reset" else {}
    name = "gru" if kind == "reset" else kind
    for sizes in SIZES:
        assert_close(name, drawn(name, sizes, dtype=dtype, **options), sizes, dtype, "c")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [*GATES, "reset"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_recurrent_lengths_clip_and_chunks_close_to_reference(
    kind: str, direction: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Chunks of a few steps, and tiles together in an item, as long sequences and large states have.
    monkeypatch.setattr(native, "CHUNK_BYTES", 2000)
    monkeypatch.setattr(native, "CHUNK_ROWS", 40)
    small = dataclasses.replace(machines.get_machine(), l2_bytes=1 << 10)
    monkeypatch.setattr(machines, "_describe", lambda _: small)
    name, sizes = "gru" if kind == "reset" else kind, (7, 20, 3, 18)
    options: dict[str, Any] = {"clip": 0.6}
    if kind == "reset":
        options["reset_after"] = False
    arguments, named = drawn(name, sizes, direction, **options)
    named["lengths"] = (np.arange(20) % 8).astype("i4")
    if kind == "lstm":
        rng = np.random.default_rng(1)
        for suffix in ("", "_reverse")[: 1 + (direction == "bidirectional")]:
            named[f"peepholes{suffix}"] = rng.standard_normal(3 * 18).astype("f4")
    assert_close(name, (arguments, named), sizes, "f4", backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("kind", GATES)
def test_recurrent_activation_close_to_reference(kind: str, name: str, backend: str) -> None:
    sizes = (2, 3, 4, 19)
    numbers = (0.7, 0.3)[: FUNCTIONS[name][0]]
    functions = ((name, *numbers),) * {"lstm": 3, "gru": 2, "rnn": 1}[kind]
    options: dict[str, Any] = {"activations": functions}
    if kind == "lstm":
        options["input_forget"] = True
    arguments, named = drawn(kind, sizes, **options)
    function = getattr(F, kind)
    wanted = function(*arguments, **named, backend="reference")
    found = function(*arguments, **named, backend=backend)
    for a, b in zip(found, wanted, strict=True):
        # Functions without limits carry errors of the size of what they give.
        size = max(1.0, float(np.abs(b).max()))
        np.testing.assert_allclose(a, b, rtol=0, atol=4 * size * tolerance("f4", sizes))


@pytest.mark.parametrize("dtype", ["f2", "bfloat16"])
@pytest.mark.parametrize("kind", GATES)
def test_recurrent_sixteen_bits_rounded_once(kind: str, dtype: str) -> None:
    if "numba" not in BACKENDS:
        pytest.skip("16-bit floats are carried by Numba")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    real = np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
    arguments, named = drawn(kind, (4, 3, 5, 17), "bidirectional", real)
    wide = {k: v.astype("f4") if isinstance(v, np.ndarray) else v for k, v in named.items()}
    function = getattr(F, kind)
    found = function(*arguments, **named, backend="numba")
    wanted = function(arguments[0].astype("f4"), **wide, backend="numba")
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == real
        np.testing.assert_array_equal(a, b.astype(real))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [*GATES, "reset"])
def test_recurrent_batch_and_threads_same_bits(kind: str, backend: str) -> None:
    name, options = ("gru", {"reset_after": False}) if kind == "reset" else (kind, {})
    arguments, named = drawn(name, (6, 11, 9, 70), "bidirectional", **options)
    function, threads = getattr(F, name), fastconv.get_num_threads()
    try:
        fastconv.set_num_threads(1)
        whole = function(*arguments, **named, backend=backend)
        fastconv.set_num_threads(3)
        for a, b in zip(function(*arguments, **named, backend=backend), whole, strict=True):
            np.testing.assert_array_equal(a, b)
    finally:
        fastconv.set_num_threads(threads)
    for first, count in ((0, 1), (3, 2), (5, 6)):
        some = slice(first, first + count)
        own = {k: v[:, some] if k.startswith("initial") else v for k, v in named.items()}
        part = function(arguments[0][:, some], **own, backend=backend)
        for a, b in zip(part, whole, strict=True):
            np.testing.assert_array_equal(a, b[:, some])


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
@pytest.mark.parametrize("kind", GATES)
def test_recurrent_no_steps_keeps_states(kind: str, backend: str) -> None:
    arguments, named = drawn(kind, (0, 3, 4, 5))
    output, h, *rest = getattr(F, kind)(*arguments, **named, backend=backend)
    assert output.shape == (0, 3, 5)
    np.testing.assert_array_equal(h, named["initial_h"])
    if kind == "lstm":
        np.testing.assert_array_equal(rest[0], named["initial_c"])
    bare = {k: v for k, v in named.items() if not k.startswith("initial")}
    assert not getattr(F, kind)(*arguments, **bare, backend=backend)[1].any()


@pytest.mark.parametrize("kind", GATES)
def test_recurrent_no_batch_empty_results(kind: str) -> None:
    arguments, named = drawn(kind, (3, 0, 4, 5))
    results = getattr(F, kind)(*arguments, **named)
    assert [r.shape for r in results] == [(3, 0, 5), *[(1, 0, 5)] * (len(results) - 1)]


def test_recurrent_nan_stays_in_its_entry() -> None:
    arguments, named = drawn("lstm", (4, 3, 5, 18))
    clean = F.lstm(*arguments, **named)[0]
    x = arguments[0].copy()
    x[1, 1, 2] = np.nan
    spoiled = F.lstm(x, **named)[0]
    np.testing.assert_array_equal(spoiled[:, [0, 2]], clean[:, [0, 2]])
    np.testing.assert_array_equal(spoiled[0], clean[0])
    assert np.isnan(spoiled[1:, 1]).all()


def test_recurrent_frozen_weights_packed_once_for_all_lengths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments, named = drawn("lstm", (9, 1, 5, 6))
    frozen = {
        k: fastconv.Parameter(v) if k.startswith(("weight", "bias")) else v
        for k, v in named.items()
    }
    whole = F.lstm(*arguments, **frozen)[0]
    packed: list[Any] = []
    before = native.HostWeights.packed
    monkeypatch.setattr(
        native.HostWeights, "packed", lambda self, p: packed.append(self) or before(self, p)
    )
    for steps in (1, 4, 7):
        np.testing.assert_array_equal(F.lstm(arguments[0][:steps], **frozen)[0], whole[:steps])
    assert not packed
    F.lstm(*arguments, **{**frozen, "weight_hh": fastconv.Parameter(named["weight_hh"])})
    assert packed


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"weight_ih": np.zeros((20, 3), "f4")}, ValueError, "input.size"),
        ({"weight_hh": np.zeros((20, 4), "f4")}, ValueError, "proj_size"),
        ({"weight_hh": np.zeros((20, 5))}, TypeError, "same dtype"),
        ({"bias_ih": np.zeros(19, "f4")}, ValueError, "bias_ih of lstm"),
        ({"initial_h": np.zeros((1, 2, 5), "f4")}, ValueError, "Expected hidden"),
        ({"lengths": np.array([1, 2, 4])}, ValueError, "between 0 and the 3 steps"),
        ({"lengths": np.array([1.0, 2.0, 3.0])}, TypeError, "int32"),
        ({"direction": "bidirectional"}, ValueError, "reverse direction"),
        ({"direction": "sideways"}, ValueError, "direction must be one of"),
        ({"clip": 0}, ValueError, "clip"),
        ({"activations": ("tanh",)}, ValueError, "3 a direction"),
        ({"activations": ("tanh", "cosine", "tanh")}, ValueError, "cosine"),
        ({"layout": "HBT"}, ValueError, "layout"),
    ],
)
def test_recurrent_what_does_not_fit_refused(change: Any, error: Any, words: str) -> None:
    arguments, named = drawn("lstm", (3, 3, 4, 5))
    with pytest.raises(error, match=words):
        F.lstm(*arguments, **{**named, **change})


def test_recurrent_results_wholly_written() -> None:
    arguments, named = drawn("lstm", (5, 4, 3, 7))
    named["lengths"] = np.array([5, 0, 2, 3], "i4")
    out = poisoned((5, 4, 7), "f4")
    problem_out = F.lstm(*arguments, **named)
    np.copyto(out, problem_out[0])
    assert np.isfinite(out).all()
    assert not out[2:, 2].any()
    assert not out[:, 1].any()
    np.testing.assert_array_equal(problem_out[1][0, 1], named["initial_h"][0, 1])
