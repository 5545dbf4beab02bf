"""Every type of problem has an algorithm on the GPU; none is forgotten when one is added."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv.problem
from fastconv import settings
from fastconv.dispatch.registry import ROWS
from fastconv.network.operations import operation
from fastconv.network.trace import trace

# What networks alone pose, and no kernel of the GPU's does yet: such a network says so.
CPU_ALONE = {
    "AttentionProblem", "CastProblem", "DeformProblem", "DequantizeProblem", "FunctionProblem",
    "GridSampleProblem", "MatmulProblem", "NonMaxSuppressionProblem", "QuantizeProblem",
    "RecurrentProblem", "ReduceProblem", "RoiAlignProblem", "TopKProblem",
}  # fmt: skip


def test_every_problem_has_a_row() -> None:
    names = {name for name, *_ in ROWS}
    on_card = {name for name, backend, *_ in ROWS if backend == "cuda"}
    assert names - on_card == CPU_ALONE
    public = {name for name in fastconv.problem.__all__ if name.endswith("Problem")}
    assert public - {"Problem"} <= names


def test_operations_traced_for_the_card_pose_no_problem_that_it_lacks() -> None:
    def posed() -> set[str]:
        spec = [((1, 2, 3, 4), np.float32)]
        sigmoid = functools.partial(operation("hard_sigmoid"), alpha=0.2, beta=0.5)
        functions: list[Callable[..., Any]] = [sigmoid, operation("reduce_mean")]
        traces = [trace(function, spec) for function in functions]
        return {type(step.problem).__name__ for each in traces for step in each.steps}

    assert {"FunctionProblem", "ReduceProblem"} <= posed()
    with settings.on_backend("cuda"):
        assert not posed() & CPU_ALONE
