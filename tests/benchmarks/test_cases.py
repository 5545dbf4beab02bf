from __future__ import annotations

import numpy as np
import pytest

from benchmarks import ours
from benchmarks.cases import CLIFFS, DTYPES, PLAIN, POOLS, Case, layers, suites

# The plain calls have tests of their own.
EVERY = {case.name: case for suite in suites() if suite not in PLAIN for case in suites()[suite]}


@pytest.mark.parametrize("suite", suites())
def test_a_suite_has_distinct_names_and_a_quick_part(suite: str) -> None:
    cases = suites()[suite]
    assert len({case.name for case in cases}) == len(cases)
    assert 0 < sum(case.quick for case in cases) < len(cases)


@pytest.mark.parametrize("case", EVERY.values(), ids=str)
def test_fastconv_takes_every_case_and_counts_as_the_case_does(case: Case) -> None:
    problem = ours.explained(case).steps[0].problem.for_one_image()
    assert problem.dtype == np.dtype(case.dtype)
    outputs = int(np.prod(problem.output_shape)) * case.shape[0]
    if case.weight_shape is not None:
        assert case.flops(outputs) == problem.flops * case.shape[0]
        assert case.out_channels == problem.out_channels
        if case.options.get("padding") != "same":
            assert case.pads == problem.padding
    assert case.bytes(outputs) > 0


def test_the_table_is_read_whole() -> None:
    assert len(layers()) == 30
    assert layers()[0].shape == (1, 3, 224, 224)
    assert layers()[0].each("stride") == (2, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "complex64", "int8", "uint8"])
def test_operands_have_the_dtype_and_a_variance_near_one(dtype: str) -> None:
    case = Case("c", "conv2d", (1, 16, 20, 20), (32, 16, 3, 3), {"padding": 1}, dtype)
    x, weight = case.operands()
    assert weight is not None
    assert x.dtype == weight.dtype == np.dtype(dtype)
    assert np.array_equal(x, case.operands()[0])
    if np.dtype(dtype).kind in "fc":
        assert 0.9 < np.var(x.astype("c16")) < 1.1
        assert 0.9 < np.var(weight.astype("c16")) * 16 * 9 < 1.1


def test_separable_weights_have_rank_one() -> None:
    case = next(case for case in CLIFFS if case.separable)
    weight = case.operands()[1]
    assert weight is not None
    sizes = np.linalg.svd(weight[0, 0], compute_uv=False)
    assert sizes[1] < 1e-5 * sizes[0]


def test_padding_words_become_pairs() -> None:
    causal = Case("c", "conv1d", (1, 1, 9), (1, 1, 3), {"padding": "causal", "dilation": 2})
    assert causal.pads == ((4, 0),)
    assert not causal.even_pads
    same = Case("s", "conv2d", (1, 1, 9, 9), (1, 1, 4, 3), {"padding": "same"})
    assert same.pads == ((1, 2), (1, 1))


def test_pools_step_by_their_window_and_count_its_cells() -> None:
    pool = next(case for case in POOLS if case.name == "max2s2")
    assert pool.each("stride") == (2, 2)
    assert pool.flops(10) == 40
    whole = next(case for case in POOLS if case.name == "global.avg")
    assert whole.flops(2048) == 2048 * 49


def test_every_kind_of_dtype_is_there() -> None:
    assert {np.dtype(case.dtype).kind for case in DTYPES} == {"f", "c", "i"}
