"""Images read between cells, long lines resized, reductions: kernels against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv.backends.native import arena
from fastconv.backends.native import line as lines
from fastconv.backends.native import plan as engine_plan
from fastconv.dispatch import find_plan, solve
from fastconv.dispatch.plans import plans
from fastconv.network.operations import operation
from fastconv.problem import (
    DeformProblem,
    GridSampleProblem,
    InterpolateProblem,
    ReduceProblem,
)
from fastconv.problem.sample import MODES, PADDINGS
from tests.libraries import LIBRARIES, use

Array = np.ndarray[Any, Any]
DTYPES = ("float32", "float64")
# Numba compiles for seconds: it shows what its kernels do in one dtype.
PAIRS = [(x, y) for x in LIBRARIES for y in DTYPES if (x, y) != ("numba", "float64")]
# Image and output of one to three dimensions; more points and channels than an item has.
GRIDS = [((7,), (300,), 3), ((5, 6), (20, 30), 70), ((3, 4, 5), (4, 5, 6), 2)]


def solved(problem: Any, arrays: tuple[Array, ...], backend: str) -> Array:
    """Solve where nothing is left over from before."""
    arena.take(1 << 20)
    arena.poison()
    result: Array = solve(problem, arrays, backend=backend)
    return result


@pytest.mark.parametrize(("library", "dtype"), PAIRS)
def test_grid_sample_kernels_agree_with_float64(library: str, dtype: str, monkeypatch: Any) -> None:
    backend, rng = use(library, monkeypatch), np.random.default_rng(0)
    for size, out, channels in GRIDS:
        x = rng.standard_normal((2, channels, *size)).astype(dtype)
        grid = rng.uniform(-1.7, 1.7, (2, *out, len(size))).astype(dtype)
        grid.reshape(-1)[:3] = (1, -1, 0)
        for mode in MODES:
            for padding in PADDINGS:
                for corners in (False, True):
                    problem = GridSampleProblem.of(
                        x, grid, mode=mode, padding=padding, align_corners=corners
                    )
                    given = solved(problem, (x, grid), backend)
                    wanted = solve(problem, (x, grid), backend="reference")
                    # A rounding of each weight and product, of cells of size 5 or less, and of
                    # cubic weights whose sizes add up to 1.5 a dimension.
                    bound = 5 * 1.5**3 * np.finfo(dtype).eps * 4 * np.log2(2 + problem.taps)
                    np.testing.assert_allclose(
                        given, wanted, rtol=0, atol=bound, err_msg=f"{size} {mode} {padding}"
                    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_grid_sample_cells_outside_count_as_zero_even_infinite_ones(
    library: str, monkeypatch: Any
) -> None:
    backend = use(library, monkeypatch)
    x = np.full((1, 1, 2, 2), np.inf, np.float32)
    grid = np.float32([[[[-5, 0], [np.nan, 0], [np.inf, 0], [1e30, 1e30]]]])
    for mode in MODES:
        problem = GridSampleProblem.of(x, grid, mode=mode)
        np.testing.assert_array_equal(solved(problem, (x, grid), backend), 0)


# Size, kernel, stride, dilation, padding before, groups of offsets.
WINDOWS = [
    ((9,), (3,), (2,), (1,), (1,), 1), ((9, 40), (3, 2), (1, 2), (2, 1), (1, 0), 2),
    ((4, 5, 6), (2, 2, 2), (1, 1, 1), (1, 1, 2), (0, 1, 0), 1),
]  # fmt: skip


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("library", "dtype"), PAIRS)
def test_deformed_windows_agree_with_float64(
    library: str, dtype: str, masked: bool, monkeypatch: Any
) -> None:
    backend, rng = use(library, monkeypatch), np.random.default_rng(0)
    for size, kernel, stride, dilation, before, groups in WINDOWS:
        sizes = zip(size, before, dilation, kernel, stride, strict=True)
        out = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in sizes)
        taps = int(np.prod(kernel))
        x = rng.standard_normal((2, 6, *size)).astype(dtype)
        offset = rng.uniform(-2, 2, (2, groups * taps * len(size), *out)).astype(dtype)
        mask = rng.uniform(0, 1, (2, groups * taps, *out)).astype(dtype) if masked else None
        problem = DeformProblem.of(
            x, offset, mask, kernel_size=kernel, stride=stride, before=before, dilation=dilation,
            groups=groups,
        )  # fmt: skip
        arrays = (x, offset) if mask is None else (x, offset, mask)
        given = solved(problem, arrays, backend)
        wanted = solve(problem, arrays, backend="reference")
        np.testing.assert_allclose(given, wanted, rtol=0, atol=5 * 16 * np.finfo(dtype).eps)


@pytest.mark.parametrize("library", LIBRARIES)
def test_sampling_has_the_same_bits_for_any_threads_and_batch(
    library: str, monkeypatch: Any
) -> None:
    backend, rng = use(library, monkeypatch), np.random.default_rng(0)
    monkeypatch.setattr(engine_plan, "SERIAL_SECONDS", 0)
    x = rng.standard_normal((3, 70, 9, 8)).astype("f4")
    grid = rng.uniform(-1.2, 1.2, (3, 30, 20, 2)).astype("f4")
    before, found = fastconv.settings._threads, []
    try:
        for threads in (1, 3):
            fastconv.settings.set_num_threads(threads)
            problem = GridSampleProblem.of(x, grid)
            found.append(solve(problem, (x, grid), backend=backend))
    finally:
        fastconv.settings._threads = before
    np.testing.assert_array_equal(*found)
    alone = GridSampleProblem.of(x[1:2], grid[1:2])
    one = solve(alone, (x[1:2], grid[1:2]), backend=backend)
    np.testing.assert_array_equal(one[0], found[0][1])


def test_sampling_of_what_does_not_fit_is_refused() -> None:
    x, grid = np.zeros((1, 2, 4, 4), "f4"), np.zeros((1, 3, 3, 2), "f4")
    with pytest.raises(ValueError, match="expected grid to have size 2 in last dimension"):
        GridSampleProblem.of(x, grid[..., :1])
    with pytest.raises(ValueError, match="expected grid and input to have same batch size"):
        GridSampleProblem.of(x, np.repeat(grid, 2, 0))
    with pytest.raises(ValueError, match="expected input to have non-empty spatial dimensions"):
        GridSampleProblem.of(x[..., :0], grid)
    with pytest.raises(ValueError, match="offset of deform_conv must have sizes"):
        DeformProblem.of(x, grid.reshape(1, 2, 3, 3), None, kernel_size=(3, 3))


def test_integers_are_sampled_as_numbers() -> None:
    x = np.arange(16, dtype=np.int64).reshape(1, 1, 4, 4) + 2**60
    grid = np.float32([[[[-1, -1], [1, 1], [0, 0]]]])
    options = {"padding": "border", "align_corners": True}
    found = operation("grid_sample")(x, grid, mode="nearest", **options)
    np.testing.assert_array_equal(found.reshape(-1), x.reshape(-1)[[0, 15, 10]])
    small = (x - 2**60).astype(np.uint8)
    found = operation("grid_sample")(small, grid, mode="linear", **options)
    np.testing.assert_array_equal(found.reshape(-1), [0, 15, 7])


@pytest.mark.parametrize("library", LIBRARIES)
def test_long_lines_have_the_bits_of_tables(library: str, monkeypatch: Any) -> None:
    backend, rng = use(library, monkeypatch), np.random.default_rng(0)
    dtypes = ("float32",) if library == "numba" else ("float32", "float64", "int8")
    for length, out in ((5000, 17001), (40000, 20000), (16384, 16384), (1, 20000)):
        for mode, corners in (("linear", None), ("linear", True), ("nearest", None),
                              ("nearest-exact", None)):  # fmt: skip
            for layout in ("NCW", "NWC"):
                for dtype in dtypes[: 2 if mode == "linear" else 3]:
                    shape = (2, 3, length) if layout == "NCW" else (2, length, 3)
                    x = (rng.standard_normal(shape) * 9).astype(dtype)
                    problem = InterpolateProblem.of(
                        x, out, None, mode=mode, align_corners=corners, layout=layout
                    )
                    assert lines.is_long(problem)
                    given = solved(problem, (x,), backend)
                    with monkeypatch.context() as short:
                        short.setattr(lines, "LONG", 1 << 60)
                        plans.clear()
                        wanted = solved(problem, (x,), backend)
                    plans.clear()
                    np.testing.assert_array_equal(given, wanted, f"{length} {mode} {layout}")


def test_plans_of_long_lines_hold_no_tables() -> None:
    for mode in ("linear", "nearest"):
        problem = InterpolateProblem.of(np.zeros((1, 1, 1 << 20), "f4"), None, 2.0, mode=mode)
        plan: Any = find_plan(problem)
        assert plan.nbytes < 1 << 12


@pytest.mark.parametrize(("library", "dtype"), PAIRS)
def test_reductions_agree_with_float64(library: str, dtype: str, monkeypatch: Any) -> None:
    backend, rng = use(library, monkeypatch), np.random.default_rng(0)
    shapes = [((3, 5), 1, 2), ((2, 56, 7), 1, 2), ((4, 3000), 1, 2), ((2, 2500, 200), 1, 2),
              ((70001,), 0, 1), ((300, 33), 0, 2)]  # fmt: skip
    for shape, first, last in shapes:
        x = rng.uniform(-1, 2, shape).astype(dtype)
        for function in ("sum", "min", "max"):
            problem = ReduceProblem.of(x, function, first, last)
            given = solved(problem, (x,), backend)
            wanted = solve(problem, (x,), backend="reference")
            # Sums of blocks of at most 1,024 numbers in order, and the result's own rounding.
            terms = min(1024, problem.extents[1])
            size = np.sum(np.abs(x), axis=tuple(range(first, last)), keepdims=True)
            bound = (terms + 1) * np.finfo(dtype).eps * size if function == "sum" else 0
            assert (np.abs(given - wanted) <= bound).all(), (shape, function)
            x.reshape(-1)[x.size // 2] = np.nan
            lost = solved(problem, (x,), backend)
            np.testing.assert_array_equal(
                np.isnan(lost), np.isnan(x).any(tuple(range(first, last)), keepdims=True)
            )
            x.reshape(-1)[x.size // 2] = 1
