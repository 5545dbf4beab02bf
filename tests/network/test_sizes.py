"""Networks that meet a new size at each call: what is done once, what is shared, what is kept."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
import fastconv.functional as F
from fastconv import models
from fastconv.backends.native.plan import Weights
from fastconv.dispatch import Parameter
from fastconv.machine import get_machine
from fastconv.network import Network, Port, passes
from fastconv.network.compiled import Compiled
from fastconv.network.kept import OPERATION_BYTES, KeptPrograms, totals
from fastconv.network.lowering import lower
from fastconv.network.passes import forms
from fastconv.network.program import Call, Program, Solve, View
from fastconv.network.trace import trace
from tests.network.random_networks import RandomNetwork
from tests.scripts import run_script

RNG = np.random.default_rng(31)


def drawn(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.standard_normal(shape).astype("f4")


def residual() -> Network:
    """Return a ResNet-18 whose images may have any size."""
    made = models.resnet18(10)
    return Network(
        made,
        [Port("x", ("n", 3, "h", "w"), "float32")],
        [Port("y", ("n", 10), "float32")],
    )


def light() -> Network:
    """Return a small network of convolutions whose images may have any size."""
    weights = [Parameter(drawn(*shape)) for shape in ((32, 8, 3, 3), (32, 32, 3, 3), (4, 32, 1, 1))]

    def function(x: Any) -> Any:
        for weight in weights:
            x = F.conv2d(x, weight, padding=weight.shape[2] // 2, activation="relu")
        return x

    ports = [[Port(name, ("n", n, "h", "w"), "float32")] for name, n in (("x", 8), ("y", 4))]
    return Network(function, *ports)


def recogniser(blocks: int = 8, mixings: int = 1) -> Network:
    """Return a small text recogniser, read from ONNX."""
    onnx = pytest.importorskip("onnx")
    from tests.network.recogniser import recogniser

    return fastconv.load(recogniser(onnx, blocks, mixings).SerializeToString())


def lines(network: Network, widths: tuple[int, ...]) -> Iterator[tuple[Any, Any]]:
    """Run a recogniser on lines of several widths: each with what it gives."""
    for width in widths:
        x = np.random.default_rng(width).standard_normal((1, 3, 48, width)).astype("f4")
        yield x, network(x)


def kept_by(network: Network) -> list[Compiled]:
    programs = network._shapes.kept
    return [found for key in programs if (found := programs.latest(key)) is not None]


# What is done once


def test_new_size_of_known_structure_runs_no_pass_that_looks_at_no_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: collections.Counter[str] = collections.Counter()

    def counted(name: str, function: Callable[..., Program]) -> Callable[..., Program]:
        def run(program: Program) -> Program:
            calls[name] += 1
            return function(program)

        run.__doc__ = function.__doc__
        return run

    once = tuple((name, counted(name, function)) for name, function in passes.ONCE)
    monkeypatch.setattr(passes, "ONCE", once)
    network = recogniser()
    list(lines(network, (208,)))
    assert set(calls) == {name for name, _ in once}
    calls.clear()
    list(lines(network, (216, 232, 248)))
    assert not calls


def test_new_size_chooses_no_layout_that_was_chosen_for_its_octave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fastconv.network import turns

    chosen: list[Program] = []
    choose = turns.last_from
    monkeypatch.setattr(turns, "last_from", lambda p: chosen.append(p) or choose(p))
    network = residual()
    for width in (64, 72, 80, 88):
        network(drawn(1, 3, 64, width))
    assert len(chosen) == 1
    network(drawn(1, 3, 64, 100))
    assert len(chosen) == 2


def test_weights_packed_in_one_way_are_packed_once_for_all_sizes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packings: collections.Counter[Any] = collections.Counter()
    packed = Weights.packed

    def counting(self: Weights, parameters: Any) -> Any:
        held = tuple(None if p is None else np.asarray(p).tobytes() for p in parameters)
        packings[self.key, held] += 1
        return packed(self, parameters)

    monkeypatch.setattr(Weights, "packed", counting)
    network = residual()
    for height, width, batch in ((128, 160, 1), (160, 128, 1), (128, 160, 2), (192, 136, 1)):
        network(drawn(batch, 3, height, width))
    assert packings
    assert max(packings.values()) == 1


# Bits


def test_a_size_has_the_bits_of_a_fresh_network_whatever_sizes_came_before() -> None:
    widths = (208, 320, 96, 248, 384, 100, 208, 328)
    network = recogniser()
    for x, y in lines(network, widths):
        assert recogniser()(x).tobytes() == y.tobytes(), x.shape
    sizes = ((64, 64), (40, 56), (96, 64), (64, 72))
    whole = residual()
    for size in sizes:
        x = drawn(1, 3, *size)
        fresh = Network(whole.function, whole.inputs, whole.outputs)
        assert fresh(x).tobytes() == whole(x).tobytes(), size


def test_an_image_of_any_size_has_the_same_bits_in_any_batch() -> None:
    network = residual()
    for size in ((48, 56), (64, 40)):
        x = drawn(3, 3, *size)
        whole = network(x)
        for i in range(3):
            np.testing.assert_array_equal(network(x[i : i + 1])[0], whole[i])


def described(program: Program) -> list[Any]:
    """Return all that an operation does, without what differs from trace to trace."""
    told: list[Any] = [program.inputs, dict(program.values)]
    for op in program.ops:
        inputs = tuple(v.tobytes() if isinstance(v, np.ndarray) else v for v in op.inputs)
        own: tuple[Any, ...] = (type(op), inputs, op.outputs, op.layer, op.kind, op.fused)
        if isinstance(op, Solve):
            held = tuple(None if p is None else np.asarray(p).tobytes() for p in op.arrays())
            own += (op.problem, held, op.algorithm, op.backend)
        elif isinstance(op, View):
            own += (op.start,)
        elif isinstance(op, Call):
            own += (op.pointwise, op.numbers)
        told.append(own)
    outputs = (v.tobytes() if isinstance(v, np.ndarray) else v for v in program.outputs)
    return [*told, *outputs]


# Sizes of which few are equal to numbers of channels by chance.
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32), batches=st.sampled_from(((1, 1), (3, 5), (1, 2))),
    size=st.sampled_from(((113, 139), (149, 113), (9, 11), (139, 139), (1, 211))),
)  # fmt: skip
def test_passes_done_again_for_other_sizes_give_what_they_give_there(
    seed: int, batches: tuple[int, int], size: tuple[int, int]
) -> None:
    network, known = RandomNetwork(seed), passes.rewrites()

    def program(batch: int, height: int, width: int) -> Program:
        return lower(trace(network, [((batch, 4, height, width), np.dtype("f4"))]))

    known.of(program(batches[0], 101, 127))
    again, _ = known.of(program(batches[1], *size))
    alone, _ = passes.rewrites().of(program(batches[1], *size))
    assert described(again) == described(alone)


def test_passes_of_a_recogniser_are_done_again_for_other_widths() -> None:
    shapes, known = recogniser()._shapes, passes.rewrites()
    dtype = np.dtype("f4")
    _, first = known.of(shapes._lowered([((1, 3, 48, 216), dtype)]))  # type: ignore[arg-type]
    for width in (232, 248, 424):
        program = shapes._lowered([((1, 3, 48, width), dtype)])
        assert program is not None
        again, by = known.of(program)
        assert by is first
        alone, _ = passes.rewrites().of(program)
        assert described(again) == described(alone)


def test_lengths_equal_by_chance_make_a_structure_of_their_own() -> None:
    weight = Parameter(drawn(1, 4, 1, 1))

    def network(x: Any, y: Any) -> Any:
        # Where y has one column, it is broadcast; where it has as many as x, it is a shortcut.
        return F.conv2d(x, weight) + y

    known = passes.rewrites()
    for columns, fused in ((1, False), (5, True), (1, False)):
        specs = [((1, 4, 6, 5), np.dtype("f4")), ((1, 1, 6, columns), np.dtype("f4"))]
        program, _ = known.of(lower(trace(network, specs)))
        assert (len(program.ops) == 1) is fused


# Memory


def counted_bytes(programs: list[Compiled]) -> int:
    """Count the memory of programs by their own accounts, what they share once."""
    arrays = {id(array): array for each in programs for array in each.arrays()}
    objects = sum(len(each.program.posed()) * OPERATION_BYTES for each in programs)
    return sum(array.nbytes for array in arrays.values()) + objects


def test_bytes_kept_are_those_of_the_programs_and_bounded() -> None:
    network = light()
    network(drawn(1, 8, 32, 40))
    limit = network._shapes.kept.nbytes
    network._shapes._kept = KeptPrograms(limit)
    images = [drawn(1, 8, 32 + 8 * i, 40) for i in range(12)]
    results = [network(x) for x in images]
    programs = kept_by(network)
    assert 1 < len(programs) < len(images)
    assert network._shapes.kept.nbytes == counted_bytes(programs)
    newest = counted_bytes(programs[-1:])
    assert network._shapes.kept.nbytes <= newest + limit
    assert totals()[1] >= network._shapes.kept.nbytes
    for x, y in zip(images, results, strict=True):
        assert network(x).tobytes() == y.tobytes()
    network._shapes.kept.clear()
    assert network._shapes.kept.nbytes == 0


def test_memory_after_many_sizes_is_near_that_after_one(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--guard-pages"):
        pytest.skip("between guard pages each plan has constants of its own")
    network = residual()
    network(drawn(1, 3, 224, 160))
    first = network._shapes.kept.nbytes
    for i in range(1, 16):
        network(drawn(1, 3, 224 + 8 * i, 160))
    assert len(network._shapes.kept) > 4
    assert network._shapes.kept.nbytes <= 1.3 * first


def test_heavy_weights_of_open_sizes_have_one_transformed_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if get_machine().isa == "amx":
        # Tiles would be chosen, which transform no weights.
        monkeypatch.setenv("FASTCONV_ISA", "avx512")
    heavy = Parameter(drawn(256, 256, 3, 3))
    assert heavy.nbytes >= forms.HEAVY_BYTES
    ports = [[Port(name, ("n", 256, "h", "w"), "float32")] for name in "xy"]
    network = Network(lambda x: F.conv2d(x, heavy, padding=1), *ports)
    keys = set()
    for size in (8, 9, 10, 13, 17, 24, 40):
        told = network.explain((1, 256, size, size))
        assert "transformed for F(4) alone" in " ".join(str(told).split())
        if told.algorithm.startswith("winograd"):
            plan = told.choices[0].algorithm.geometry_of(told.choices[0].problem)  # type: ignore[union-attr]
            keys |= {weights.key for weights in plan.weights}
    # The weight's, that of a bias of zeros, and the weight as it is, for infinities.
    assert len(keys) == 3
    closed = dataclasses.replace(ports[0][0], shape=("n", 256, 9, 9))
    told = Network(network.function, [closed], ports[1]).explain((1, 256, 9, 9))
    assert "transformed for F(4) alone" not in " ".join(str(told).split())


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no resource module")
def test_resident_memory_grows_little_with_sizes() -> None:
    code = """
    import resource
    import numpy as np
    import fastconv.functional as F
    from fastconv.dispatch import Parameter
    def most():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    from fastconv.network import Network, Port
    rng = np.random.default_rng(0)
    weights = [Parameter(rng.standard_normal((512, 512, 3, 3)).astype("f4")) for _ in range(3)]
    def function(x):
        for weight in weights:
            x = F.conv2d(x, weight, padding=1)
        return x
    ports = [[Port(name, ("n", 512, "h", "w"), "float32")] for name in "xy"]
    network = Network(function, *ports)
    network(np.zeros((1, 512, 8, 12), "f4"))
    first = most()
    for i in range(1, 16):
        network(np.zeros((1, 512, 8 + i, 12), "f4"))
    # Results and scratch memory of the largest image are some megabytes.
    assert most() <= 1.3 * first + 8e6, (first, most())
    """
    run_script(code)


def test_threads_at_different_sizes_with_programs_dropped_under_them_agree() -> None:
    network = light()
    images = [drawn(1, 8, 32 + 8 * i, 40) for i in range(4)]
    expected = [network(x) for x in images]
    network._shapes._kept = KeptPrograms(1)

    def check(number: int) -> bool:
        return bool(np.array_equal(network(images[number % 4]), expected[number % 4]))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(check, range(48)))
    assert len(network._shapes.kept) < 4


# Branches


def branching(onnx: Any, *, nested: bool) -> Any:
    """Return a model that filters at 16 kHz, else sums; nested: the sum too has two branches."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    info = helper.make_tensor_value_info
    weight = np.random.default_rng(4).standard_normal((5, 3, 7)).astype("f4")

    def graph(nodes: list[Any], name: str) -> Any:
        return helper.make_graph(nodes, name, [], [info("o" + name, 1, None)])

    filtered = graph([helper.make_node("Conv", ["x", "w"], ["of"])], "f")
    summed = [helper.make_node("ReduceMean", ["x"], ["os"], keepdims=1)]
    if nested:
        halves = [
            graph([helper.make_node("Relu", ["x"], ["oa"])], "a"),
            graph([helper.make_node("Neg", ["x"], ["ob"])], "b"),
        ]
        summed = [
            helper.make_node("Equal", ["rate", "eight"], ["c2"]),
            helper.make_node("If", ["c2"], ["os"], then_branch=halves[0], else_branch=halves[1]),
        ]
    nodes = [
        helper.make_node("Equal", ["rate", "sixteen"], ["c"]),
        helper.make_node("If", ["c"], ["v"], then_branch=filtered, else_branch=graph(summed, "s")),
        helper.make_node("Sigmoid", ["v"], ["y"]),
    ]
    constants = {
        "w": weight, "sixteen": np.array(16000, np.int64), "eight": np.array(8000, np.int64),
    }  # fmt: skip
    made = helper.make_graph(
        nodes, "g", [info("x", 1, ["n", 3, "t"]), info("rate", 7, [])], [info("y", 1, "abc")],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("nested", [False, True])
def test_branches_on_a_scalar_input_compile_for_each_value(nested: bool) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    made = branching(onnx, nested=nested)
    network, evaluator = fastconv.load(made.SerializeToString()), ReferenceEvaluator(made)
    for length in (40, 50):
        x = drawn(1, 3, length)
        for rate in (16000, 8000, 22050, 16000):
            given = np.array(rate, np.int64)
            (wanted,) = evaluator.run(None, {"x": x, "rate": given})
            # Single operations' roundings, of sums of 21 products.
            np.testing.assert_allclose(network(x, given), wanted, rtol=1e-5, atol=1e-5)
            own = network._shapes.deciding([x, given])
            assert own.compiled([(x.shape, x.dtype), (given.shape, given.dtype)]) is not None
            assert own.known((x, given)) is not None


def test_reports_of_a_network_with_branches_show_the_branch_that_runs() -> None:
    onnx = pytest.importorskip("onnx")
    network = fastconv.load(branching(onnx, nested=False).SerializeToString())
    shapes, x = ((1, 3, 40), ()), drawn(1, 3, 40)
    for rate, convolves in ((16000, True), (8000, False)):
        given = np.array(rate, np.int64)
        values = {"rate": rate}
        timed, spans = network.run_timed([x, given])
        np.testing.assert_array_equal(timed[0], network(x, given))
        reports = [
            [row.kind.lower() for row in network.profile(x, given, runs=1).rows],
            [step.kind.lower() for step in network.explain(shapes, values=values).steps],
            [step.kind.lower() for step in network.trace(shapes, values={"rate": given}).steps],
            [span.kind.lower() for span in spans],
        ]
        for kinds in reports:
            assert ("conv" in kinds) is convolves
            assert "branch" not in kinds
        assert ("conv" in str(network.summary(shapes, values=values)).lower()) is convolves
    for wrong, words in (
        (None, "'rate' decides which branch"),
        ({"rate": 0.5}, "takes int64"),
        ({"rate": 1, "x": 2}, "'x' decides no branch"),
    ):
        with pytest.raises(ValueError, match=words):
            network.explain(shapes, values=wrong)


def test_branches_on_data_run_as_written() -> None:
    onnx = pytest.importorskip("onnx")
    made = branching(onnx, nested=False)
    made.graph.node.insert(0, onnx.helper.make_node("Cast", ["x"], ["whole"], to=7))
    made.graph.node.insert(1, onnx.helper.make_node("ReduceMax", ["whole"], ["most"], keepdims=0))
    made.graph.node[2].input[1] = "most"
    network = fastconv.load(made.SerializeToString())
    x = np.full((1, 3, 40), 5, "f4")
    for rate in (5, 6):
        given = np.array(rate, np.int64)
        assert network(x, given).shape == ((1, 5, 34) if rate == 5 else (1, 1, 1))
    assert network._shapes.deciding([x, given]) is network._shapes
