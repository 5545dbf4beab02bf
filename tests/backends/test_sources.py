"""Parameters that are transposed, sliced or of 16 bits, packed from where they are."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import itertools
from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from fastconv.backends.native import arena, plan
from fastconv.backends.native.conv.fft.filters import packed_spectra
from fastconv.backends.native.conv.fft.layout import Blocks
from fastconv.backends.native.conv.separable import packed_lines
from fastconv.backends.native.conv.winograd.layout import Layout
from fastconv.backends.native.conv.winograd.weights import packed_weights
from fastconv.backends.native.gemm import tile_for, vector_tile
from fastconv.backends.native.plan import Packed, Weights
from fastconv.backends.native.sources import read_weights, source_of
from fastconv.backends.native.weights import (
    packed_affine,
    packed_bias,
    packed_panels,
    packed_rows,
)
from fastconv.dispatch import Parameter, algorithms, run
from fastconv.dispatch.registry import LIBRARIES, backend_available
from fastconv.machine import available_isas, get_machine
from fastconv.problem import ConvProblem, ConvTransposeProblem, LinearProblem
from fastconv.problem.remember import Spec

NAMES = [name for name in LIBRARIES if backend_available(name)]
# Numba compiles each kernel for each instruction set: one of them does.
PLACES = [(name, isa) for name in NAMES for isa in available_isas()[: None if name == "c" else 1]]
# It would compile whole algorithms for a look at what they pack.
COMPILED = [(name, isa) for name, isa in PLACES if name == "c"]


def drawn(rng: np.random.Generator, *shape: int, dtype: Any = "f4") -> Any:
    return rng.standard_normal(shape).astype(dtype)


def scattered(rng: np.random.Generator, values: Any) -> Any:
    """Return the same values in memory of another order, with gaps, some of it backwards."""
    order = rng.permutation(values.ndim)
    steps = rng.choice([1, 1, 1, 2, -1, -2], values.ndim)
    sizes = [
        (n - 1) * abs(s) + 1 + rng.integers(2) for n, s in zip(values.shape, steps, strict=True)
    ]
    memory = np.full([sizes[i] for i in order], np.nan, values.dtype)
    view = memory.transpose(np.argsort(order))
    slices = tuple(
        slice(0, (n - 1) * s + 1, s) if s > 0 else slice((n - 1) * -s, None, s)
        for n, s in zip(values.shape, steps, strict=True)
    )
    view = view[slices]
    view[...] = values
    np.testing.assert_array_equal(view, values)
    return view


def sixteen(name: str) -> Any:
    """Return a dtype by its name, of 16 bits or not."""
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if name == "bfloat16" else name)


def conv(x: tuple[int, ...], w: tuple[int, ...], dtype: str = "f4", **options: Any) -> Any:
    kind = np.dtype(dtype)
    made = ConvProblem.of(len(x) - 2, Spec(x, kind), Spec(w, kind), Spec((w[0],), kind), **options)
    return made, w, (w[0],)


def transposed(x: tuple[int, ...], w: tuple[int, ...], **options: Any) -> Any:
    kind, out = np.dtype("f4"), w[1] * options.get("groups", 1)
    made = ConvTransposeProblem.of(
        len(x) - 2, Spec(x, kind), Spec(w, kind), Spec((out,), kind), **options
    )
    return made, w, (out,)


def separable(*arguments: Any, **options: Any) -> Any:
    made, w, b = conv(*arguments, **options)
    return dataclasses.replace(made, separable=True), w, b


CASES: dict[str, Any] = {
    "dense": conv((1, 37, 9, 10), (35, 37, 3, 3), padding=1),
    "dense64": conv((1, 5, 9, 10), (19, 5, 3, 3), "f8", padding=1),
    "groups": conv((1, 24, 9, 10), (36, 8, 3, 3), padding=1, groups=3),
    "one": conv((1, 40, 3, 3), (17, 40, 1, 1)),
    "line": conv((1, 6, 50), (18, 6, 7), padding=3),
    "depthwise": conv((1, 20, 9, 10), (20, 1, 3, 3), padding=1, groups=20),
    "filter": conv((1, 2, 60, 60), (4, 1, 11, 12), groups=2, padding=5, dilation=(1, 2)),
    "rows64": conv((1, 1, 200), (3, 1, 31), "f8", dilation=2),
    "outer": separable((1, 3, 40, 40), (3, 1, 9, 7), groups=3, padding=3),
    "transposed": transposed((1, 12, 5, 6), (12, 9, 4, 3), groups=2, stride=2),
    "linear": (
        LinearProblem.of(Spec((3, 40), np.dtype("f4")), Spec((35, 40), np.dtype("f4")),
                         Spec((35,), np.dtype("f4"))),
        (35, 40), (35,),
    ),
}  # fmt: skip


@pytest.fixture(params=COMPILED, ids="-".join)
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """C kernels at one of the instruction sets here."""
    monkeypatch.setenv("FASTCONV_ISA", request.param[1])


@pytest.fixture(params=PLACES, ids="-".join)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A library of kernels, at one of the instruction sets here."""
    name, isa = request.param
    monkeypatch.setenv("FASTCONV_ISA", isa)
    return importlib.import_module(f"fastconv.backends.{name}.library")


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("case", CASES)
def test_scattered_parameters_give_the_bits_of_contiguous_copies(case: str) -> None:
    problem, *shapes = CASES[case]
    rng = np.random.default_rng(list(case.encode()))
    x = drawn(rng, *problem.input_shape, dtype=problem.dtype)
    found = 0
    for algorithm in algorithms(type(problem)):
        if algorithm.backend != "c" or algorithm.why_not(problem) is not None:
            continue
        for draw in range(3):
            weight, bias = (drawn(rng, *shape, dtype=problem.dtype) for shape in shapes)
            if getattr(problem, "separable", False):
                weight = weight[:, :, :, :1] * weight[:, :, :1]
            wanted = algorithm.packing_plan(problem).run(x, parameters=(weight, bias))
            given = tuple(scattered(rng, p) for p in (weight, bias))
            given = given if draw else (weight.T.copy().T, bias[::-1].copy()[::-1])
            made = algorithm.packing_plan(problem, tuple(map(source_of, given)))
            arena.poison()
            result = made.run(x, parameters=given)
            np.testing.assert_array_equal(result, wanted, err_msg=str(algorithm))
            assert not made.sources or not np.isnan(result).any()
            found += bool(made.sources)
    assert found > 0


def weights_of(library: Any, dtype: str) -> dict[str, tuple[Weights, tuple[int, ...]]]:
    """Return what is packed, and the shape of the parameter that it is packed of."""
    rows = (np.array([2, 0])[:, None] + 21 * np.arange(5)).ravel()
    panels = packed_panels(library, dtype, groups=2, columns=19, width=16, channels=21, taps=6)
    layout_of, _, _ = conv((1, 21, 9, 10), (19, 21, 3, 3), dtype, padding=1)
    filters, shape, _ = conv((1, 2, 60, 60), (4, 1, 9, 10), dtype, groups=2)
    lines, _, _ = conv((1, 2, 60), (4, 1, 31), dtype, groups=2)
    tile = vector_tile(tile_for(library, np.dtype(dtype), get_machine()))
    found = {
        "panels": (panels, (38, 21, 2, 3)),
        "bias": (packed_bias(library, dtype, groups=2, columns=19, width=16), (38,)),
        "rows": (packed_rows(library, dtype, groups=2, columns=7, width=8, places=rows, group=105,
                             step=3), (10, 7, 3)),
        "winograd": (packed_weights(library, Layout.of(library, layout_of, 4, get_machine())),
                     (19, 21, 3, 3)),
        "affine": (packed_affine(library, dtype, 33, 1e-5)[0], (33,)),
    }  # fmt: skip
    for name, problem in (("spectra", filters), ("spectra of rows", lines)):
        blocks = Blocks.of(problem, get_machine())
        assert blocks is not None
        found[name] = packed_spectra(library, blocks, tile), problem.weight_shape
    whole = [Weights(4 * 8 * n, ()) for n in shape[2:]]
    outer, _ = packed_lines(library, filters, *whole)
    found["lines"] = Packed(outer), shape
    return {name: (packed.weights, size) for name, (packed, size) in found.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_scattered_parameters_are_packed_to_the_bytes_of_contiguous_copies(
    library: Any, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(shape: Any, dtype: Any) -> Any:
        return np.full(shape, 0xFF, dtype)

    monkeypatch.setattr(plan, "aligned_zeros", poisoned)
    wide = dtype if dtype in ("float32", "float64") else "float32"
    rng = np.random.default_rng(7)
    for name, (weights, shape) in weights_of(library, wide).items():
        values = np.abs(drawn(rng, *shape)).astype(sixteen(dtype))
        number = 1 if name == "bias" else 0
        given = [None, None, None, None]
        given[number] = values.astype(wide)
        wanted = weights.packed(given)
        # Contiguous, the other way round (HWIO), and in any order.
        for given[number] in (
            values,
            values.T.copy().T,
            *[scattered(rng, values) for _ in range(3)],
        ):
            sources = tuple(map(source_of, given))
            if not any(sources):
                continue
            read = read_weights(weights, sources, library, wide)
            found = read.packed(given)
            bits = [c.array.reshape(-1).view(np.uint8)[: weights.nbytes] for c in (wanted, found)]
            np.testing.assert_array_equal(*bits, err_msg=name)


HALVES = ["float16", "bfloat16"]


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("case", ["dense", "one", "line", "depthwise", "transposed", "linear"])
def test_sixteen_bits_are_packed_as_their_float32_numbers(case: str, name: str) -> None:
    problem, *shapes = CASES[case]
    rng = np.random.default_rng(list(case.encode()))
    x = drawn(rng, *problem.input_shape)
    for algorithm in algorithms(type(problem)):
        if algorithm.backend != "c" or algorithm.why_not(problem) is not None:
            continue
        # The algorithm itself, without the casts of its inputs.
        own = getattr(algorithm, "algorithm", algorithm)
        short = [drawn(rng, *shape).astype(sixteen(name)) for shape in shapes]
        wanted = own.packing_plan(problem).run(x, parameters=tuple(p.astype("f4") for p in short))
        for given in (tuple(short), tuple(scattered(rng, p) for p in short)):
            plan = own.packing_plan(problem, tuple(map(source_of, given)))
            assert plan.sources
            arena.poison()
            np.testing.assert_array_equal(
                plan.run(x, parameters=given), wanted, err_msg=str(algorithm)
            )


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("step", [1, 3])
def test_every_number_of_sixteen_bits_is_widened_exactly(
    library: Any, name: str, step: int
) -> None:
    """Infinities and subnormal numbers too; a NaN stays one."""
    kind = sixteen(name)
    words = np.zeros((1 << 16) * step, np.uint16)
    words[::step] = np.arange(1 << 16)
    weight = words.view(kind)[::step].reshape(-1, 64)
    # PReLU with slopes for inputs of -1: what comes out is -slope.
    problem_of = importlib.import_module("fastconv.problem").PreluProblem
    algorithm = next(a for a in algorithms(problem_of) if a.backend == library.BACKEND)
    own = getattr(algorithm, "algorithm", algorithm)
    flat = weight.reshape(-1)
    problem = problem_of.of(Spec((1, 1 << 16), np.dtype("f4")), Spec(flat.shape, np.dtype("f4")))
    plan = own.packing_plan(problem, (source_of(flat),))
    assert plan.sources
    found = -plan.run(np.full((1, 1 << 16), -1, "f4"), parameters=(flat,))
    wanted = flat.astype("f4").reshape(1, -1)
    # Kernels flush subnormal float32 numbers: bfloat16 has such.
    wanted[np.abs(wanted) < np.finfo("f4").tiny] = 0
    np.testing.assert_array_equal(found, wanted)


CALLS: dict[str, Any] = {
    "conv2d": ((2, 8, 9, 9), (16, 8, 3, 3), (16,), functools.partial(F.conv2d, padding=1)),
    "conv1d": ((2, 8, 30), (16, 8, 5), (16,), F.conv1d),
    "linear": ((3, 20), (7, 20), (7,), F.linear),
    "transposed": ((2, 8, 6, 6), (8, 5, 4, 4), (5,), F.conv_transpose2d),
    "prelu": ((2, 8, 6, 6), (8,), None, lambda x, w, b: F.prelu(x, w)),
    "batch_norm": ((2, 8, 6, 6), (8,), (8,), lambda x, w, b: F.batch_norm(x, w, b * b, w, b)),
    "layer_norm": ((2, 8, 6), (8, 6), (8, 6), lambda x, w, b: F.layer_norm(x, (8, 6), w, b)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("call", "name"),
    [*((call, "float32") for call in CALLS), *itertools.product(["linear", "prelu"], HALVES)],
)
def test_calls_with_scattered_parameters_equal_those_with_copies(call: str, name: str) -> None:
    if name != "float32" and "numba" not in NAMES:
        pytest.skip("16-bit floats need Numba")
    x, w, b, function = CALLS[call]
    rng = np.random.default_rng(list(call.encode()))
    kind = np.dtype(name) if name == "float32" else sixteen(name)
    values = [None if s is None else drawn(rng, *s).astype(kind) for s in (x, w, b)]
    wanted = function(*values)
    for _ in range(3):
        given = [values[0], *(None if v is None else scattered(rng, v) for v in values[1:])]
        for _ in range(2):
            arena.poison()
            np.testing.assert_array_equal(function(*given), wanted)
        frozen = Parameter(values[1])
        np.testing.assert_array_equal(
            function(given[0], frozen, given[2]), function(values[0], frozen, values[2])
        )


@pytest.mark.parametrize("name", ["float32", "float16"])
@pytest.mark.parametrize("frozen", [1, 2, 6, 9, 15])
def test_batch_norm_of_some_frozen_parameters_equals_that_of_plain_ones(
    name: str, frozen: int
) -> None:
    """One scale is made of several parameters, of which some may be held by the plan."""
    if name != "float32" and "numba" not in NAMES:
        pytest.skip("16-bit floats need Numba")
    rng = np.random.default_rng(frozen)
    kind = np.dtype(name) if name == "float32" else sixteen(name)
    x, *given = (np.abs(drawn(rng, *s)).astype(kind) for s in ((2, 8, 5, 5), *((8,),) * 4))
    some = [Parameter(p) if frozen >> i & 1 else scattered(rng, p) for i, p in enumerate(given)]
    np.testing.assert_array_equal(F.batch_norm(x, *some), F.batch_norm(x, *given))


def test_weights_of_one_shape_and_other_strides_take_plans_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    x, whole = drawn(rng, 3, 24), drawn(rng, 24, 48)
    plans = []
    find = run.find_packing_plan

    def counted(*arguments: Any, **options: Any) -> Any:
        plans.append(find(*arguments, **options))
        return plans[-1]

    monkeypatch.setattr(run, "find_packing_plan", counted)
    weights = [whole[:, :24], whole[:, ::2], whole[:, 24:].T, whole[::-1, :24], whole[:, 23::-1]]
    for _, weight in itertools.product(range(3), weights):
        np.testing.assert_array_equal(F.linear(x, weight), F.linear(x, weight.copy()))
    # Each is found again by its strides, which the contiguous ones share.
    assert len(plans) == len(weights) + 1
