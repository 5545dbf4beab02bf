"""The kernels that pack parameters, against NumPy, and choices that count what packing takes."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.backends.native import plan
from fastconv.backends.native.conv.common import conv_tile
from fastconv.backends.native.conv.direct import Direct
from fastconv.backends.native.conv.separable import Separable
from fastconv.backends.native.conv.transposed import Transposed
from fastconv.backends.native.conv.winograd.layout import Layout
from fastconv.backends.native.conv.winograd.weights import packed_weights
from fastconv.backends.native.plan import Constant, Given, Weights
from fastconv.backends.native.weights import (
    packed_affine,
    packed_bias,
    packed_panels,
    packed_repeat,
    packed_rows,
)
from fastconv.dispatch import Parameter, algorithms, choose
from fastconv.dispatch.registry import LIBRARIES, backend_available
from fastconv.machine import get_machine
from fastconv.problem import ConvProblem, ConvTransposeProblem
from fastconv.problem.remember import Spec
from tests.libraries import ISAS

NAMES = [name for name in LIBRARIES if backend_available(name)]
Where = tuple[Any, str]


def drawn(*shape: int, dtype: Any = "f4", seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.fixture(params=list(itertools.product(NAMES, ISAS)), ids="-".join)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A library of kernels, at one of the instruction sets here."""
    import importlib

    name, isa = request.param
    monkeypatch.setenv("FASTCONV_ISA", isa)
    return importlib.import_module(f"fastconv.backends.{name}.library")


def packed(argument: Any, *parameters: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pack parameters into memory that was full of NaN, and return the bytes."""

    def poisoned(shape: Any, dtype: Any) -> Any:
        return np.full(shape, 0xFF, dtype)

    monkeypatch.setattr(plan, "aligned_zeros", poisoned)
    made = argument.weights.packed(parameters)
    assert isinstance(made, Constant)
    return made.array.reshape(-1).view(np.uint8)[argument.offset :]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [1, 3, 8, 12, 32])
@pytest.mark.parametrize(
    ("groups", "columns", "channels", "taps"),
    [(1, 1, 1, 1), (1, 37, 5, 9), (3, 12, 17, 1), (2, 33, 600, 1), (4, 1, 7, 5)],
)
def test_panels_hold_every_column_then_zeros(
    library: Any, dtype: str, width: int, groups: int, columns: int, channels: int, taps: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    weight = drawn(groups, columns, channels, taps, dtype=dtype)
    bias = drawn(groups * columns, dtype=dtype)
    sizes = {"groups": groups, "columns": columns, "width": width}
    panels = -(-columns // width)
    wanted = np.zeros((groups, panels * width, taps, channels), dtype)
    wanted[:, :columns] = weight.transpose(0, 1, 3, 2)
    wanted = wanted.reshape(groups, panels, width, taps, channels).transpose(0, 1, 3, 4, 2)
    argument = packed_panels(library, dtype, channels=channels, taps=taps, **sizes)
    found = packed(argument, weight, None, monkeypatch=monkeypatch).view(dtype)
    np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)
    argument = packed_bias(library, dtype, **sizes)
    wanted = np.zeros((groups, panels * width), dtype)
    found = packed(argument, weight, None, monkeypatch=monkeypatch).view(dtype)
    np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)
    wanted[:, :columns] = bias.reshape(groups, columns)
    found = packed(argument, weight, bias, monkeypatch=monkeypatch).view(dtype)
    np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [4, 32])
def test_rows_are_gathered_by_a_table(
    library: Any, dtype: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups, channels, columns, taps = 2, 30, 37, 6
    weight = drawn(groups, channels, columns, taps, dtype=dtype)
    chosen = np.array([1, 4, 5])
    places = (chosen[:, None] + np.arange(channels) * columns * taps).ravel()
    argument = packed_rows(
        library, dtype, groups=groups, columns=columns, width=width, places=places,
        group=channels * columns * taps, step=taps,
    )  # fmt: skip
    panels = -(-columns // width)
    wanted = np.zeros((groups, len(places), panels * width), dtype)
    rows = weight[..., chosen].transpose(0, 3, 1, 2)
    wanted[:, :, :columns] = rows.reshape(groups, len(places), columns)
    wanted = wanted.reshape(groups, len(places), panels, width).transpose(0, 2, 1, 3)
    found = packed(argument, weight, monkeypatch=monkeypatch).view(dtype)
    np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("run", "times"), [(1, 1), (3, 4)])
@pytest.mark.parametrize("given", list(itertools.product([True, False], repeat=4)))
def test_affine_is_a_batch_norms_scale_and_shift(
    library: Any, dtype: str, run: int, times: int, given: tuple[bool, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    arrays = [drawn(5, dtype=dtype, seed=i) for i in range(4)]
    arrays[1] = np.abs(arrays[1])
    parameters = [a if there else None for a, there in zip(arrays, given, strict=True)]
    wide = [
        np.full(5, v) if p is None else p.astype(np.float64)
        for p, v in zip(parameters, (0.0, 1.0, 1.0, 0.0), strict=True)
    ]
    scale = wide[2] / np.sqrt(wide[1] + 1e-5)
    shift = wide[3] - wide[0] * scale
    for argument, values in zip(
        packed_affine(library, dtype, 5, 1e-5, run, times), (scale, shift), strict=True
    ):
        found = packed(argument, *parameters, monkeypatch=monkeypatch)
        found = found[: 8 * 5 * run * times].view(np.float64)
        np.testing.assert_allclose(found, np.tile(np.repeat(values, run), times), rtol=1e-15)


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("widened", [False, True])
def test_repeat_stands_in_for_a_missing_parameter(
    library: Any, name: str, widened: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = "float64" if widened else name
    argument = packed_repeat(library, name, 0, 5, value=3.0, run=2, times=3, widened=widened)
    values = drawn(5, dtype=name)
    for parameter, wanted in ((values, values), (None, np.full(5, 3.0))):
        found = packed(argument, parameter, monkeypatch=monkeypatch).view(made)
        np.testing.assert_array_equal(found, np.tile(np.repeat(wanted, 2), 3).astype(made))


WINOGRAD = [
    # m, out, in, groups, kernel, stride
    (2, 40, 20, 1, (3, 3), 1), (4, 70, 33, 1, (3, 3), 1), (6, 16, 16, 1, (3, 3), 1),
    (4, 48, 32, 2, (3, 3), 1), (4, 24, 24, 6, (3, 3), 1), (4, 20, 17, 1, (1, 7), 1),
    (4, 33, 9, 1, (5, 5), 1), (4, 34, 18, 1, (3, 3), 2), (2, 17, 16, 1, (7, 7), 2),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", WINOGRAD, ids=str)
def test_transformed_weights_are_the_filters_products_with_their_matrices(
    library: Any, dtype: str, case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    m, out, channels, groups, kernel, stride = case
    weight = drawn(out, channels // groups, *kernel, dtype=dtype)
    x = Spec((1, channels, 12, 12), np.dtype(dtype))
    problem = ConvProblem.of(
        2, x, Spec(weight.shape, np.dtype(dtype)), None, groups=groups, padding=1, stride=stride
    )
    name = {2: "winograd"}.get(m, f"winograd{m}")
    algorithm = next(
        a for a in algorithms(ConvProblem) if a.name == name and a.backend == library.BACKEND
    )
    if algorithm.why_not(problem) is not None:
        pytest.skip("this instruction set has no such filter")
    layout = Layout.of(library, problem, m, get_machine())
    found = packed(packed_weights(library, layout), weight, None, monkeypatch=monkeypatch)
    np.testing.assert_allclose(
        found.view(dtype), transformed(layout, weight).ravel(),
        rtol=np.finfo(dtype).eps, atol=2e-14 if dtype == "float64" else 1e-14,
    )  # fmt: skip


def transformed(layout: Layout, weight: Any) -> Any:
    """Return the packed weights, in plain NumPy; NaN where no panel is."""
    problem, tile = layout.problem, layout.tile
    merged = problem.groups // layout.groups
    per_group, out = weight.shape[1], len(weight) // problem.groups
    depth = layout.channel_blocks * tile.lanes
    packed = np.full((layout.groups, layout.weights_group // tile.size), np.nan, weight.dtype)
    starts, sizes, *_ = (table.array // tile.size for table in layout.tables())
    last_width = (layout.tail or tile.vectors) * tile.lanes
    for frequency, phases in enumerate(layout.segments()):
        for panel in range(layout.panels):
            start = starts[frequency] + panel * sizes[frequency]
            width = last_width if panel == layout.panels - 1 else tile.columns
            packed[:, start : start + len(phases) * depth * width] = 0
    taps = weight.reshape(layout.groups, merged, out, per_group, layout.down.taps, -1)
    for frequency, phases in enumerate(layout.segments()):
        i, j = divmod(frequency, layout.across.n)
        for segment, phase in enumerate(phases):
            py, px = divmod(phase, layout.across.phases)
            row, column = layout.down.kernel(py)[i], layout.across.kernel(px)[j]
            values = np.einsum("gmocab,a,b->gmco", taps.astype(np.float64), row, column)
            for group, sub in itertools.product(range(layout.groups), range(merged)):
                for c, o in itertools.product(range(per_group), range(out)):
                    at, k = sub * out + o, segment * depth + sub * per_group + c
                    panel, lane = divmod(at, tile.columns)
                    last = panel == layout.panels - 1
                    width = last_width if last else tile.columns
                    place = starts[frequency] + panel * sizes[frequency] + k * width + lane
                    packed[group, place] = values[group, sub, c, o]
    return packed


@pytest.mark.parametrize("side", [1, 2, 3, 4, 14])
def test_weights_that_one_register_tile_meets_are_packed_where_they_are_multiplied(
    library: Any, side: int
) -> None:
    x, w = drawn(1, 24, side, side), drawn(40, 24, 1, 1, seed=1)
    problem = ConvProblem.of(2, Spec(x.shape, x.dtype), Spec(w.shape, w.dtype), None)
    tile = conv_tile(library, problem)
    if not library.has("gemm.fresh", tile):
        pytest.skip("no such kernel for this register tile")
    algorithm = Direct(library)
    made = algorithm.packing_plan(problem)
    assert any(isinstance(weights, Given) for weights in made.weights) == (side**2 <= tile.rows)
    expected = algorithm.plan(problem, w, None).run(x)
    np.testing.assert_array_equal(made.run(x, parameters=(w, None)), expected)


@pytest.mark.parametrize("name", NAMES)
def test_plain_and_frozen_weights_give_the_same_bits_by_the_same_algorithm(name: str) -> None:
    x, w, b = drawn(2, 16, 14, 14), drawn(24, 16, 3, 3, seed=1), drawn(24, seed=2)
    for algorithm in ("direct", "planar", "im2col", "winograd", "winograd4"):
        asked = {"padding": 1, "algorithm": algorithm, "backend": name, "rtol": 1e-3}
        plain = F.conv2d(x, w, b, **asked)
        np.testing.assert_array_equal(plain, F.conv2d(x, Parameter(w), Parameter(b), **asked))
        np.testing.assert_array_equal(plain[:1], F.conv2d(x[:1].copy(), w, b, **asked))
        for threads in (1, 2, 3):
            before = fastconv.get_num_threads()
            try:
                fastconv.set_num_threads(threads)
                np.testing.assert_array_equal(plain, F.conv2d(x, w, b, **asked))
            finally:
                fastconv.set_num_threads(before)


def test_packing_counts_for_plain_weights_alone() -> None:
    """512 channels on 7 x 7: transforming the weights takes longer than the filter saves."""
    x, w = Spec((1, 512, 7, 7), np.dtype("f4")), Spec((512, 512, 3, 3), np.dtype("f4"))
    problem = ConvProblem.of(2, x, w, None, padding=1)
    plain, frozen = choose(problem, frozen=False), choose(problem)
    costs = {str(c.algorithm): c for c in plain.candidates if c.cost is not None}
    for name, candidate in costs.items():
        if candidate.algorithm.backend == "reference" or candidate.algorithm.name == "skinny":
            continue
        assert candidate.seconds(frozen=False) > candidate.seconds(frozen=True), name
    best = min(
        (c for c in plain.candidates if c.why_not is None and c.algorithm.backend != "reference"),
        key=lambda c: c.seconds(frozen=False),
    )
    assert plain.algorithm is best.algorithm
    assert frozen.candidates[0].cost == plain.candidates[0].cost


def test_choice_depends_on_what_is_frozen_never_on_earlier_calls() -> None:
    x, w = drawn(1, 64, 14, 14), drawn(64, 64, 3, 3, seed=1)
    plain = F.conv2d(x, w, padding=1)
    frozen = F.conv2d(x, Parameter(w), padding=1)
    for _ in range(3):
        np.testing.assert_array_equal(F.conv2d(x, w, padding=1), plain)
        np.testing.assert_array_equal(F.conv2d(x, Parameter(w), padding=1), frozen)


def test_every_algorithm_of_ours_packs_by_kernels() -> None:
    dense = ConvProblem.of(
        2, Spec((1, 32, 20, 20), np.dtype("f4")), Spec((32, 32, 3, 3), np.dtype("f4")), None,
        padding=1,
    )  # fmt: skip
    planes = ConvProblem.of(
        2, Spec((1, 4, 40, 40), np.dtype("f4")), Spec((4, 1, 9, 9), np.dtype("f4")), None, groups=4
    )
    found = set()
    for problem in (dense, planes, dataclasses.replace(planes, separable=True)):
        for algorithm in algorithms(ConvProblem):
            if algorithm.backend not in LIBRARIES or algorithm.why_not(problem) is not None:
                continue
            # It reads weights as they are.
            if algorithm.name == "skinny":
                continue
            made: Any = algorithm.packing_plan(problem)
            assert made.weights
            # Minimal filters read weights as they are too, where infinities made them sum plainly.
            assert all(isinstance(w, (Weights, Given)) for w in made.weights), str(algorithm)
            assert any(isinstance(w, Weights) for w in made.weights), str(algorithm)
            found.add(algorithm.name)
    assert {"fft", "separable", "direct", "planar", "winograd", "depthwise"} <= found


def test_what_a_kept_plan_packs_by_counts_in_its_bytes(library: Any) -> None:
    """A transposed convolution gathers weights by tables, as long as the sums."""
    x, w = Spec((1, 256, 4, 4), np.dtype("f4")), Spec((256, 8, 3, 3), np.dtype("f4"))
    problem = ConvTransposeProblem.of(2, x, w, None)
    plan: Any = Transposed(library).packing_plan(problem)
    tables = {
        id(argument.array): argument.array.nbytes
        for weights in plan.weights
        for stage in weights.stages
        for argument in stage.arguments
        if isinstance(argument, Constant)
    }
    assert sum(tables.values()) >= 256 * 9 * 8
    assert plan.nbytes >= sum(tables.values())
    assert plan.packed((np.ones(w.shape, w.dtype), None)).nbytes >= 256 * 9 * 8 * 4


def test_outer_products_are_split_once_for_both_lines(library: Any) -> None:
    """Whatever each pass packs of them; the bias is the second pass's alone."""
    x, w, b = drawn(1, 2, 9, 9), drawn(2, 1, 3, 1) * drawn(2, 1, 1, 5, seed=1), drawn(2, seed=2)
    asked = {"padding": 1, "groups": 2, "backend": library.BACKEND}
    problem = ConvProblem.of(
        2, *(Spec(a.shape, a.dtype) for a in (x, w, b)), padding=1, groups=2
    )  # fmt: skip
    made: Any = Separable(library).packing_plan(dataclasses.replace(problem, separable=True))
    address = library.kernel("weights.lines", "float32")
    stages = [s for weights in made.weights for s in weights.stages if s.kernel == address]
    assert len(stages) == 1
    split = F.conv2d(x, w, b, algorithm="separable", **asked)
    whole = F.conv2d(x, w, b, algorithm="depthwise_planar", **asked)
    np.testing.assert_allclose(split, whole, rtol=1e-5, atol=1e-5)


def test_kernels_leave_long_doubles_alone(library: Any) -> None:
    """A compiler may move halves of vectors by registers that long doubles share."""
    x, w = drawn(1, 5, 9, 9, dtype="f8"), drawn(7, 5, 3, 3, dtype="f8")
    for algorithm in ("direct", "planar", "im2col"):
        F.conv2d(x, w, algorithm=algorithm, backend=library.BACKEND)
        F.batch_norm(x, drawn(5, dtype="f8"), np.ones(5), backend=library.BACKEND)
        numbers = np.arange(1, 30).astype(np.longdouble)
        assert float((numbers / 3).sum()) == 145.0
