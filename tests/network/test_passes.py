"""Each pass by itself: what it does to a program, and that the numbers stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.dispatch import Parameter
from fastconv.network import passes, turns
from fastconv.network.code import write_code
from fastconv.network.compiled import Shapes
from fastconv.network.executor import Executor
from fastconv.network.lowering import lower
from fastconv.network.memory import Buffer, arrange
from fastconv.network.passes.clean import (
    join_concatenations,
    lift_over_views,
    merge_views,
    remove_dead,
)
from fastconv.network.passes.fold import fold_affine, fold_padding
from fastconv.network.passes.fuse import (
    fuse_activation,
    fuse_light_activation,
    fuse_residual,
    fuse_scale,
)
from fastconv.network.passes.layout import channels_last, last_from
from fastconv.network.passes.recognise import recognise_activations
from fastconv.network.planner import plan_program
from fastconv.network.pointwise import erf
from fastconv.network.program import Call, Program, Solve, View
from fastconv.network.trace import trace
from fastconv.problem import ConvProblem, StridedProblem
from tests.network.random_networks import RandomNetwork

RNG = np.random.default_rng(11)
X = RNG.standard_normal((2, 4, 6, 7)).astype("f4")
W3 = Parameter(RNG.standard_normal((4, 4, 3, 3)).astype("f4") / 6)
WT = Parameter(RNG.standard_normal((4, 3, 3, 3)).astype("f4") / 6)
LINE = Parameter(RNG.standard_normal((5, 7)).astype("f4"))
MEAN, VAR, GAIN, SHIFT = (Parameter(RNG.uniform(0.5, 2, 4).astype("f4")) for _ in range(4))


def lowered(function: Callable[..., Any], x: Any = X) -> Program:
    """Return a function's program before any pass."""
    return lower(trace(function, [(x.shape, x.dtype)]))


def kinds(program: Program) -> list[str]:
    """Return each operation's problem by name, or its kind."""
    return [op.problem.name if isinstance(op, Solve) else type(op).__name__ for op in program.ops]


def moved(program: Program) -> int:
    """Count the operations that move cells about."""
    problems = [op.problem for op in program.ops if isinstance(op, Solve)]
    return sum(isinstance(problem, StridedProblem) for problem in problems)


def run(program: Program, x: Any = X) -> list[Any]:
    """Run a program."""
    return Executor(plan_program(program)).run([x])


def agree(before: Program, after: Program, x: Any = X, tolerance: float = 1e-5) -> None:
    """Hold two programs' outputs against each other."""
    for given, wanted in zip(run(after, x), run(before, x), strict=True):
        np.testing.assert_allclose(given, wanted, rtol=tolerance, atol=tolerance)


def conv(x: Any, bias: Any = None) -> Any:
    return F.conv2d(x, W3, bias, padding=1)


def batch_norm(x: Any) -> Any:
    return F.batch_norm(x, MEAN, VAR, GAIN, SHIFT)


AFFINE: dict[str, Callable[[Any], Any]] = {
    "batch norm": lambda x: batch_norm(conv(x)),
    "batch norm of a bias": lambda x: batch_norm(conv(x, MEAN)),
    "twice": lambda x: batch_norm(batch_norm(conv(x))),
    "transposed": lambda x: F.conv_transpose2d(x, WT) * np.float32(3),
    "transposed in groups": lambda x: batch_norm(F.conv_transpose2d(x, W3[:, :2], groups=2)),
    "linear": lambda x: F.linear(x, LINE) + np.arange(5, dtype="f4"),
    "times a number": lambda x: conv(x) * 2 + 1,
    "a channel's number": lambda x: np.asarray(GAIN).reshape(4, 1, 1) - conv(x),
    "over a number": lambda x: conv(x) / np.float32(3) - np.asarray(MEAN).reshape(1, 4, 1, 1),
}


@pytest.mark.parametrize("name", AFFINE)
def test_affine_steps_go_into_the_weights(name: str) -> None:
    before = lowered(AFFINE[name])
    after = remove_dead(fold_affine(lift_over_views(before)))
    expected = [n for n in kinds(before) if n.startswith(("conv", "linear")) or n == "View"]
    assert kinds(after) == expected
    agree(before, after, tolerance=3e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: batch_norm(F.relu(conv(x))),
        lambda x: conv(x) * np.arange(7, dtype="f4"),
        lambda x: 1 / conv(x),
        lambda x: F.conv2d(x, W3, padding=1, rtol=0) * np.float32(1.7),
        lambda x: (lambda y: batch_norm(y) + y)(conv(x)),
        lambda x: (lambda y: (y, batch_norm(y)))(conv(x)),
    ],
    ids=[
        "after an activation",
        "a number a pixel",
        "a quotient",
        "exact sums",
        "read twice",
        "an output",
    ],
)
def test_what_is_no_affine_step_of_one_reader_stays(function: Any) -> None:
    before = lowered(function)
    assert fold_affine(before) is before


def test_padding_goes_into_the_convolution() -> None:
    before = lowered(lambda x: F.conv2d(F.pad(x, (1, 2, 0, 3)), W3, padding=1))
    after = fold_padding(before)
    assert kinds(after) == ["conv2d"]
    assert after.ops[0].problem.padding == ((1, 4), (2, 3))  # type: ignore[attr-defined]
    agree(before, after, tolerance=0)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.conv2d(F.pad(x, (1, 1), value=2.0), W3),
        lambda x: F.conv2d(F.pad(x, (-1, 1)), W3),
        lambda x: F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), W3),
        lambda x: F.conv2d(F.pad(x, (0, 0, 0, 0, 1, 0))[:, 1:], W3),
        lambda x: F.max_pool2d(F.pad(x, (1, 1)), 2),
    ],
)
def test_other_padding_stays(function: Any) -> None:
    before = lowered(function)
    assert fold_padding(before) is before


def test_activations_end_the_operation_before() -> None:
    before = lowered(lambda x: F.leaky_relu(F.linear(F.tanh(conv(x)), LINE), 0.2))
    after = fuse_activation(lift_over_views(before))
    assert [n for n in kinds(after) if n != "View"] == ["conv2d", "linear"]
    agree(before, after)
    twice = lowered(lambda x: F.relu(F.tanh(conv(x))))
    assert kinds(fuse_activation(twice)) == ["conv2d", "relu"]
    shared = lowered(lambda x: (lambda y: F.relu(y) + y)(conv(x)))
    assert fuse_activation(shared) is shared


def test_a_factor_and_a_term_after_hardswish_are_its_own() -> None:
    def scaled(x: Any, *others: float) -> Any:
        value = F.hardswish(conv(x)) * np.float32(1.25) + np.float32(-0.5)
        for number in others:
            value = value + np.float32(number)
        return value

    before = lowered(scaled)
    after = fuse_scale(fuse_activation(before))
    assert kinds(after) == ["conv2d"]
    assert str(after.ops[0].problem.activation) == "hardswish(1.25, -0.5)"  # type: ignore[attr-defined]
    agree(before, after)
    # A second term stays: the rounding between both may be meant. So does a channel's own factor.
    more = fuse_scale(fuse_activation(lowered(lambda x: scaled(x, 0.5))))
    assert kinds(more) == ["conv2d", "add"]
    by_channel = lowered(lambda x: F.hardswish(conv(x)) * GAIN[:, None, None])
    assert kinds(fuse_scale(fuse_activation(by_channel))) == ["conv2d", "multiply"]


def test_activations_end_sums_and_normalisations_that_stay() -> None:
    before = lowered(lambda x: conv(F.relu(batch_norm(x))) + F.silu(x * GAIN[:, None, None]))
    after = fuse_light_activation(before)
    assert kinds(after) == ["batch_norm", "conv2d", "multiply", "add"]
    agree(before, after)
    passed = passes.run_passes(before, passes.rewrites(), last_from)[0]
    assert kinds(passed) == ["batch_norm", "multiply", "conv2d"]
    two = lowered(lambda x: F.relu6(F.leaky_relu(x + x[:, :1])))
    assert [str(op.problem.activation) for op in fuse_light_activation(two).ops[1:]] == [  # type: ignore[attr-defined]
        "leaky_relu(0.01)", "relu6",
    ]  # fmt: skip
    # A sum that a convolution can do is its own, and so is what follows it.
    shortcut = lowered(lambda x: F.relu(conv(x) + x))
    assert kinds(passes.run_passes(shortcut, passes.rewrites(), last_from)[0]) == ["conv2d"]


def test_the_later_convolution_adds_the_shortcut() -> None:
    def block(x: Any) -> Any:
        left = conv(conv(x))
        right = conv(x)
        return F.relu(left + right)

    before = lowered(block)
    after = fuse_activation(fuse_residual(before))
    assert kinds(after) == ["conv2d"] * 3
    assert [op.problem.residual for op in after.ops] == [False, False, True]  # type: ignore[attr-defined]
    agree(before, after)
    assert after.ops[-1].inputs[0] == after.inputs[0]
    wide = lowered(lambda x: conv(x) + x[:, :1])
    assert fuse_residual(wide) is wide
    twice = lowered(lambda x: (lambda y: y + y)(conv(x)))
    assert fuse_residual(twice) is twice


def test_maxima_and_minima_with_numbers_are_clamps() -> None:
    before = lowered(lambda x: np.minimum(np.maximum(x, np.float32(-1)), np.float32(0.5)))
    after = remove_dead(recognise_activations(before))
    assert kinds(after) == ["hardtanh"]
    with_nan = X.copy()
    with_nan[0, 0, 0, :3] = np.nan, np.inf, -np.inf
    agree(before, after, with_nan, tolerance=0)
    array = lowered(lambda x: np.maximum(x, np.arange(7, dtype="f4")))
    assert kinds(recognise_activations(array)) == ["maximum"]


def test_products_with_a_gate_are_activations() -> None:
    before = lowered(lambda x: (F.sigmoid(x) * x, x * F.hardsigmoid(x)))
    after = remove_dead(recognise_activations(before))
    assert kinds(after) == ["silu", "hardswish"]
    agree(before, after)
    other = lowered(lambda x: F.sigmoid(x) * (x + 1))
    assert kinds(recognise_activations(other)) == kinds(other)


ROOT = 2**0.5
# How people write activations out, and what each is.
WRITTEN: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "maximum": ("relu", lambda x: np.maximum(x, 0)),
    "clip": ("hardtanh(-1, 0.5)", lambda x: np.clip(x, -1, 0.5)),
    "crossed": ("hardtanh(1, 1)", lambda x: np.minimum(np.maximum(x, 5), 1)),
    "sixth": ("hardsigmoid", lambda x: F.relu6(x + 3) / 6),
    "sixth_twice": ("hardsigmoid", lambda x: np.maximum(np.minimum(x / 6 + 0.5, 1), 0)),
    "hardswish": ("hardswish", lambda x: x * np.clip(3 + x, 0, 6) * x.dtype.type(1 / 6)),
    "silu": ("silu", lambda x: x / (1 + np.exp(-x))),
    "mish": ("mish", lambda x: np.tanh(F.softplus(x)) * x),
    "gelu": ("gelu(0)", lambda x: x * 0.5 * (1 + erf(x / ROOT))),
    "gelu_tanh": (
        "gelu(1)",
        lambda x: 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))),
    ),
    "softsign": ("softsign", lambda x: x / (np.abs(x) + 1)),
    "leaky": ("leaky_relu(0.125)", lambda x: np.maximum(x, 0.125 * x)),
    "elu": ("elu(0.5)", lambda x: np.where(x > 0, x, 0.5 * np.expm1(np.minimum(x, 0)))),
}
# What is near an activation and none, and what is left of it.
UNLIKE: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "rounded": ("add relu6 multiply multiply", lambda x: x * F.relu6(x + 3) * 0.16667),
    "lower": ("add hardtanh(0, 5.999) divide", lambda x: np.clip(x + 3, 0, 5.999) / 6),
    "quick": ("multiply sigmoid multiply", lambda x: x * F.sigmoid(1.702 * x)),
    "limited": ("silu hardtanh(-inf, 100000)", lambda x: np.minimum(F.silu(x), 1e5)),
    "overflows": ("exp add log", lambda x: np.log(1 + np.exp(x))),
    "nan_to_zero": ("greater where", lambda x: np.where(x > 0, x, 0.0)),
    "steps": ("rint relu", lambda x: F.relu(np.rint(x))),
    "two": ("getitem sigmoid multiply", lambda x: x * F.sigmoid(x[:, ::-1])),
    "array": ("maximum", lambda x: np.maximum(x, np.arange(7, dtype=x.dtype))),
    "line": ("multiply add", lambda x: 2 * x + 1),
}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", WRITTEN)
def test_activations_that_are_written_out_are_recognised(name: str, dtype: str) -> None:
    wanted, function = WRITTEN[name]
    x = X.astype(dtype)
    before = lowered(lambda v: function(F.conv2d(v, W3.astype(v.dtype))), x)
    after = remove_dead(recognise_activations(before))
    assert [str(op.problem.activation) for op in after.ops] == ["None", wanted]  # type: ignore[attr-defined]
    agree(before, after, x)
    assert [op.problem.name for op in fuse_activation(after).ops] == ["conv2d"]  # type: ignore[attr-defined]


def test_constants_are_held_against_what_the_dtype_tells_apart() -> None:
    sixth = float(np.float32(1 / 6))
    for dtype, wanted in (("f4", ["hardswish"]), ("f8", ["relu6", "multiply", "multiply"])):
        before = lowered(lambda x: x * np.clip(x + 3, 0, 6) * sixth, X.astype(dtype))
        after = kinds(remove_dead(recognise_activations(before)))
        assert after[-len(wanted) :] == wanted


@pytest.mark.parametrize("name", UNLIKE)
def test_what_is_near_an_activation_is_left_alone(name: str) -> None:
    wanted, function = UNLIKE[name]
    before = lowered(lambda x: function(conv(x)))
    after = remove_dead(recognise_activations(before))
    problems = [getattr(op, "problem", None) for op in after.ops]
    activations = [getattr(problem, "activation", None) for problem in problems]
    names = [str(a or op.kind) for a, op in zip(activations, after.ops, strict=True)]
    assert " ".join(names[1:]) == wanted
    agree(before, after)


def test_what_an_activation_is_made_of_stays_for_others() -> None:
    def function(x: Any) -> Any:
        gate = np.maximum(np.minimum(x + 3, 6), 0)
        return x * gate / 6, gate

    before = lowered(function)
    after = remove_dead(recognise_activations(before))
    assert kinds(after) == ["add", "relu6", "hardswish"]
    agree(before, after)


def test_concatenations_begin_with_earlier_ones() -> None:
    def dense(x: Any) -> Any:
        one = conv(x)
        two = np.concatenate([x, one], 1)
        three = F.relu(two)
        return np.concatenate([x, one, three], 1)

    before = lowered(dense)
    after = join_concatenations(before)
    assert [len(op.inputs) for op in after.ops if op.kind == "concatenate"] == [2, 2]
    agree(before, after, tolerance=0)


def test_views_start_from_what_they_are_of() -> None:
    before = lowered(lambda x: x.reshape(2, 2, 2, 42)[:, 1].reshape(2, 84).T)
    after = remove_dead(merge_views(before))
    assert len(after.ops) < len(before.ops)
    agree(before, after, tolerance=0)


def test_views_of_views_begin_where_both_do() -> None:
    before = lowered(lambda x: F.relu(x[1][2].reshape(7, 6)[3:]))
    after = remove_dead(merge_views(before))
    assert kinds(after) == ["View", "relu"]
    agree(before, after, tolerance=0)


def test_runs_over_the_end_of_a_dimension_are_no_steps_along_it() -> None:
    # Rows 3, 4 and 5 of a channel, then row 0 of the next one, as two dimensions.
    before = lowered(lambda x: conv(x).reshape(-1)[21:49].reshape(2, 2, 7))
    agree(before, channels_last(merge_views(before)))


def test_a_batch_is_laid_out_as_one_image(monkeypatch: Any) -> None:
    seen: list[Program] = []
    monkeypatch.setattr(turns, "last_from", lambda program: seen.append(program) or 0)
    Shapes(lambda x: F.relu(conv(x))).run([X])
    (chosen_by,) = seen
    assert chosen_by.values[chosen_by.inputs[0]].shape == (1, *X.shape[1:])


def test_channels_go_last_and_come_back() -> None:
    before = lowered(lambda x: F.max_pool2d(F.relu(conv(x)), 2).reshape(2, -1))
    after = channels_last(before)
    assert all(
        getattr(op.problem, "channels_last", True) for op in after.ops if isinstance(op, Solve)
    )
    assert moved(after) == 2
    agree(before, after)
    shuffled = lowered(
        lambda x: conv(conv(x).reshape(2, 2, 2, 6, 7).transpose(0, 2, 1, 3, 4).reshape(2, 4, 6, 7))
    )
    after = merge_views(channels_last(merge_views(shuffled)))
    # One to go last, one to shuffle in place, one to come back.
    assert moved(remove_dead(after)) == 3
    agree(shuffled, after)


def test_what_names_an_algorithm_for_channels_first_stays_so() -> None:
    filters = Parameter(RNG.standard_normal((4, 1, 5, 5)).astype("f4"))

    def network(x: Any) -> Any:
        return F.conv2d(conv(x), filters, padding=2, groups=4, algorithm="fft")

    before = lowered(network)
    after = channels_last(before)
    problems = [op.problem for op in after.ops if isinstance(op, Solve)]
    assert [p.channels_last for p in problems if isinstance(p, ConvProblem)] == [True, False]
    agree(before, after)
    np.testing.assert_allclose(fastconv.compile(network, X.shape)(X), network(X), atol=1e-5)


@pytest.mark.parametrize("begin", [0, 3, 6])
@pytest.mark.parametrize("seed", range(40))
def test_any_network_may_turn_anywhere(seed: int, begin: int, monkeypatch: Any) -> None:
    network = RandomNetwork(seed)
    before = lowered(network)
    monkeypatch.setattr(turns, "last_from", lambda program: begin)
    after, reports = passes.run_passes(before, passes.rewrites(), last_from)
    assert {report.name for report in reports} >= {name for name, _ in passes.ONCE}
    for given, wanted in zip(run(after), run(before), strict=True):
        np.testing.assert_allclose(given, wanted, rtol=0, atol=2e-4 * max(1, np.abs(wanted).max()))


def test_constants_are_worked_out_while_tracing() -> None:
    program = lowered(lambda x: x * (np.asarray(GAIN) * 2 + 1).reshape(4, 1, 1))
    assert kinds(program) == ["multiply"]


def test_what_numpy_alone_can_do_is_called() -> None:
    program = lowered(lambda x: F.relu(np.cos(np.sin(x)) @ np.ones((7, 3), "f4")))
    assert [type(op) for op in program.ops] == [Call, Call, Solve, Solve]
    agree(program, program)


def test_parts_of_a_batch_of_one_lie_in_their_concatenation() -> None:
    def joined(x: Any) -> Any:
        return F.relu(np.concatenate([conv(x), F.max_pool2d(x, 3, 1, 1), conv(conv(x))], 1))

    one = X[:1]
    program = lowered(joined, one)
    stages = len(write_code(plan_program(program)).parts[0].program.stages)  # type: ignore[union-attr]
    whole = len(write_code(plan_program(lowered(joined))).parts[0].program.stages)  # type: ignore[union-attr]
    assert whole - stages == 3
    np.testing.assert_array_equal(run(program, one)[0], joined(one))


def test_outputs_that_no_operation_writes_are_copied() -> None:
    given = np.arange(3, dtype="f4")
    program = lowered(lambda x: (x, x[0], given, x.reshape(-1), conv(x), conv(x)[1]))
    assert isinstance(program.ops[0], View)
    results = run(program)
    expected = (X, X[0], given, X.reshape(-1), conv(X), conv(X)[1])
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, wanted)
        assert not np.shares_memory(result, X)


@pytest.mark.parametrize("seed", range(30))
def test_buffers_that_live_together_lie_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    buffers = []
    for place in range(int(rng.integers(1, 40))):
        last = place + int(rng.integers(0, 6))
        buffers.append(Buffer(int(rng.integers(1, 5000)), place, last))
    layout = arrange(buffers)
    spans = list(zip(buffers, layout.offsets, strict=True))
    for i, (one, at) in enumerate(spans):
        assert at % 64 == 0
        assert at + one.size <= layout.size
        for other, there in spans[:i]:
            apart = one.last < other.first or other.last < one.first
            assert apart or at + one.size <= there or there + other.size <= at
    assert layout.live <= layout.size <= 1.3 * layout.live + 64
